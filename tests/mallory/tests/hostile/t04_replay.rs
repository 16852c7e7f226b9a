//! T4: what others signed, said again: a member hears the whole log.

use anyhow::{Result, ensure};
use bytes::Bytes;
use weft_model::Command;
use weft_registry::wire;
use weft_test_support::Dev;

use crate::Stage;

/// What is replayed: an export that has changed since, and one that is gone.
pub(crate) fn prepare(dev: &Dev) -> Result<()> {
    let export = |name: &str, port: u16| {
        format!(
            "
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: {{ namespace: shop, name: {name} }}
spec:
  ports: [{{ name: http, port: {port}, appProtocol: http }}]
  exportTo: ['*']
"
        )
    };
    dev.apply("us-east-1", &export("changed", 80))?;
    dev.apply("us-east-1", &export("changed", 81))?;
    dev.apply("us-east-1", &export("gone", 80))?;
    let gone = ["-n", "shop", "delete", "serviceexport", "gone"];
    dev.weft(["--cluster", "us-east-1"].into_iter().chain(gone))?
        .ok()?;
    Ok(())
}

/// Every entry of the log that she has heard.
pub(crate) fn entries(stage: &Stage<'_>) -> Result<()> {
    let heard = stage.mallory.heard();
    let entries: Vec<_> = heard
        .into_values()
        .filter(|data| wire::decode(data.clone()).is_ok())
        .collect();
    let is_export = |data: &&Bytes| {
        let said = wire::decode((*data).clone()).map(|decoded| decoded.entry.command);
        let said = said.as_ref();
        said.is_ok_and(|said| matches!(said, Command::PutExport(..) | Command::DeleteExport(..)))
    };
    let exports: Vec<&Bytes> = entries.iter().filter(is_export).collect();
    ensure!(exports.len() >= 4, "she heard {} exports", exports.len());
    // Oldest first, then what matters most newest first.
    for data in entries.iter().chain(exports.into_iter().rev()) {
        // Taken or not: what counts is that it changes nothing.
        stage.mallory.forward(data.clone())?;
    }
    // After all of that has been applied at every victim.
    let last = stage.mallory.wait(stage.mallory.registry.read_index())?;
    stage.mallory.await_index(last)
}
