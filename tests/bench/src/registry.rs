//! The registry beside etcd: three nodes each, synced logs, one client and sixty-four.

use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::etcd::Etcd;
use crate::load::{Sample, Writer, measure};
use crate::table::Table;
use crate::weft::Weft;

/// How many clients write at once.
const CLIENTS: [usize; 2] = [1, 64];

/// Runs both at once, and has them written to in turn.
pub(crate) fn run(runtime: &Runtime, rounds: usize, length: Duration) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let etcd = Etcd::start(folder.path())?;
    let weft = Weft::start(runtime)?;
    let pids = [etcd.pids(), weft.pids(), vec![std::process::id()]].concat();
    let of_etcd = |clients| -> Result<Sample> {
        let writers = etcd.writers(runtime, clients)?;
        let writers = writers.into_iter().map(Writer::Etcd).collect();
        runtime.block_on(measure(writers, &etcd.pids(), &pids, length))
    };
    let of_weft = |clients| -> Result<Sample> {
        let writers = weft.writers(runtime, clients)?;
        let writers = writers.into_iter().map(Writer::Weft).collect();
        runtime.block_on(measure(writers, &weft.pids(), &pids, length))
    };
    let mut table = Table::default();
    for round in 0..rounds {
        for clients in CLIENTS {
            // Whoever is first finds other caches than the second: they take turns.
            let (etcd, weft) = if round % 2 == 0 {
                let etcd = of_etcd(clients)?;
                (etcd, of_weft(clients)?)
            } else {
                let weft = of_weft(clients)?;
                (of_etcd(clients)?, weft)
            };
            table.note(clients, etcd, weft);
        }
    }
    println!("{table}");
    Ok(())
}
