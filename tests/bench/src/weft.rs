//! A federation of three gateways, all of them voters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;
use weft_nemesis::{Operator, Told, Trio};
use weft_test_support::{SOON, eventually};

/// Its processes.
pub(crate) struct Weft {
    trio: Trio,
    values: Arc<AtomicU64>,
}

impl Weft {
    pub(crate) fn start(runtime: &Runtime) -> Result<Self> {
        Ok(Self {
            trio: Trio::start(runtime)?,
            values: Arc::new(AtomicU64::new(1)),
        })
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.trio.pids()
    }

    /// Writers at the leader.
    pub(crate) fn writers(&self, runtime: &Runtime, count: usize) -> Result<Vec<Writer>> {
        let access = self.trio.access();
        let leader = eventually("weft leads", SOON, || runtime.block_on(access.leader(1)))?;
        runtime.block_on(async {
            let mut writers = Vec::new();
            for number in 0..count {
                writers.push(Writer {
                    operator: access.connect(leader).await?,
                    key: format!("bench-{number}"),
                    values: Arc::clone(&self.values),
                });
            }
            Ok(writers)
        })
    }
}

/// A client with a connection and a record of its own.
pub(crate) struct Writer {
    operator: Operator,
    key: String,
    values: Arc<AtomicU64>,
}

impl Writer {
    pub(crate) async fn write(&mut self) -> Result<()> {
        // Another value each time: what changes nothing is no entry.
        let value = self.values.fetch_add(1, Ordering::Relaxed);
        let told = self.operator.write(&self.key, value).await;
        ensure!(told == Told::Done, "{told:?}");
        Ok(())
    }
}
