//! Asking the federation, for as long as a person does not notice.

use std::time::Duration;

use crate::args::Global;
use crate::client::Client;
use crate::problem::Problem;

use super::words::Words;

/// How long somebody who pressed TAB waits at the most.
const PATIENCE: Duration = Duration::from_millis(500);

/// What `ask` finds out; nothing if it does not in time, or at all.
pub(super) fn ask<T: Default>(
    ask: impl AsyncFnOnce(&mut Client, &Global) -> Result<T, Problem>,
) -> T {
    let global = Global {
        timeout: PATIENCE,
        ..Words::of_shell().global()
    };
    let asking = async {
        let mut client = Client::connect(&global).await?;
        ask(&mut client, &global).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    // No answer is no candidate: what could be said of it would land in the middle of the line.
    let Ok(runtime) = runtime else {
        return T::default();
    };
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, asking).await });
    // A name that still resolves on a thread would hold up the end.
    runtime.shutdown_background();
    match answer {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => T::default(),
    }
}
