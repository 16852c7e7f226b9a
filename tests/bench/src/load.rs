//! Clients that write as fast as they are answered, and what that took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::cpu::{self, Machine};
use crate::etcd;
use crate::weft;

/// A client of one of the systems, on a connection of its own, with a record of its own.
pub(crate) enum Writer {
    Etcd(etcd::Writer),
    Weft(weft::Writer),
}

impl Writer {
    async fn write(&mut self) -> Result<()> {
        match self {
            Self::Etcd(writer) => writer.write().await,
            Self::Weft(writer) => writer.write().await,
        }
    }
}

/// What was measured in one round.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Of the three processes together, for each write.
    pub(crate) cpu_per_write: Duration,
    /// The share of the machine that was busy, 0 to 1.
    pub(crate) busy: f64,
    /// The part of it that was busy with neither system nor their clients, 0 to 1.
    pub(crate) others: f64,
}

/// Has them write for so long to the system of `pids`. Writes of the first part are not counted.
/// `all` are the processes of the benchmark.
pub(crate) async fn measure(
    writers: Vec<Writer>,
    pids: &[u32],
    all: &[u32],
    length: Duration,
) -> Result<Sample> {
    let (writers, _) = go_on(writers, length / 5).await?;
    let (machine, own, cpu) = (Machine::now()?, cpu::of(all)?, cpu::of(pids)?);
    let begun = Instant::now();
    let (_, mut latencies) = go_on(writers, length).await?;
    let took = begun.elapsed();
    let cpu = cpu::of(pids)?.saturating_sub(cpu);
    let own = Duration::from_nanos(cpu::of(all)?.saturating_sub(own));
    let busy = Machine::now()?.busy_since(machine);
    let processors = std::thread::available_parallelism()?.get() as f64;
    let own = own.as_secs_f64() / took.as_secs_f64() / processors;
    latencies.sort_unstable();
    let writes = latencies.len().max(1);
    let quantile = |part: usize| latencies.get(writes * part / 100).copied();
    Ok(Sample {
        per_second: latencies.len() as f64 / took.as_secs_f64(),
        p50: quantile(50).context("no write was done")?,
        p99: quantile(99).context("no write was done")?,
        cpu_per_write: Duration::from_nanos(cpu / writes as u64),
        busy,
        others: (busy - own).max(0.0),
    })
}

async fn go_on(writers: Vec<Writer>, length: Duration) -> Result<(Vec<Writer>, Vec<Duration>)> {
    let end = Instant::now() + length;
    let mut all = JoinSet::new();
    for mut writer in writers {
        all.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                writer.write().await?;
                latencies.push(begun.elapsed());
            }
            anyhow::Ok((writer, latencies))
        });
    }
    let (mut writers, mut latencies) = (Vec::new(), Vec::new());
    while let Some(ended) = all.join_next().await {
        let (writer, taken) = ended??;
        writers.push(writer);
        latencies.extend(taken);
    }
    Ok((writers, latencies))
}
