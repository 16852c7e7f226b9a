//! T9: entries beyond her share. Here counts decide; `cargo xtask mallory` also has the others'
//! times judged (`WEFT_MALLORY_LOAD`, seconds), with her and without in turns, so that what else
//! the machine does meets both. Her program then steps back behind all others.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use prost::Message;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use weft_mallory::door;
use weft_model::Command;
use weft_proto::api::admin_client::AdminClient;
use weft_proto::api::{DeleteRequest, PutRequest};
use weft_proto::peer::ProposeAnswer;
use weft_registry::METHOD_PROPOSE;

use crate::Stage;

/// Ten times what a leader takes of one cluster.
const AT_ONCE: usize = 640;
/// Writes of an honest cluster, with her and without.
const WRITES: usize = 8;
/// How often it is measured without her and with her.
const TURNS: u32 = 6;
/// How much slower others may be for it.
const RATIO_MAX: f64 = 2.0;

/// What became of what she sent.
#[derive(Default)]
struct Sent {
    taken: AtomicUsize,
    /// Declined by the leader, or not read.
    left: AtomicUsize,
}

/// Her entries are well signed, and refused when they are applied: they take room in the log.
pub(crate) fn entries(stage: &Stage<'_>) -> Result<()> {
    let seconds: Option<u32> = match std::env::var(weft_mallory::LOAD) {
        Ok(seconds) => Some(seconds.parse()?),
        Err(_) => None,
    };
    let (turns, window) = match seconds {
        Some(seconds) => (TURNS, Duration::from_secs(seconds.into()) / TURNS),
        None => (1, Duration::ZERO),
    };
    let mut honest = Honest::new(stage)?;
    let sent = Sent::default();
    let (mut quiet, mut noisy) = (Side::default(), Side::default());
    for _ in 0..turns {
        quiet.add(|| honest.writes(window))?;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                weft_mallory::step_back();
                flood(stage, &sent, &stop)
            });
            let written = noisy.add(|| honest.writes(window));
            stop.store(true, Ordering::Relaxed);
            let flooded = flood.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
            flooded.and(written)
        })?;
    }
    honest.clean()?;
    let (taken, left) = (
        sent.taken.load(Ordering::Relaxed),
        sent.left.load(Ordering::Relaxed),
    );
    ensure!(taken > 0, "she wrote nothing, and so showed nothing");
    ensure!(left > taken, "{taken} of hers taken, {left} left");
    let ratio = noisy.at(99).as_secs_f64() / quiet.at(99).as_secs_f64();
    say(&format!(
        "p99 of an honest write: {quiet}; under the flood: {noisy}; {ratio:.1} times; {taken} of hers taken, {left} left"
    ));
    ensure!(
        seconds.is_none() || ratio <= RATIO_MAX,
        "{ratio:.1} times slower"
    );
    Ok(())
}

/// What was measured with her, or without.
#[derive(Default)]
struct Side {
    took: Vec<Duration>,
    /// Of the processors' time, in ticks: all of it, and what nobody used.
    ticks: (u64, u64),
}

impl Side {
    fn add(&mut self, measure: impl FnOnce() -> Result<Vec<Duration>>) -> Result<()> {
        let before = ticks()?;
        self.took.extend(measure()?);
        let after = ticks()?;
        self.ticks.0 += after.0 - before.0;
        self.ticks.1 += after.1 - before.1;
        Ok(())
    }

    fn at(&self, percent: usize) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let at = (took.len() * percent).div_ceil(100).saturating_sub(1);
        took.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, (all, idle)) = (self.at(50), self.at(99), self.ticks);
        let free = 100 * idle / all.max(1);
        let count = self.took.len();
        write!(
            f,
            "{p99:.1?} (median {p50:.1?} of {count}; processors {free} % free)"
        )
    }
}

/// Ticks of all processors since the machine started, and of those the idle ones (proc(5)).
fn ticks() -> Result<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("no processors")?;
    let ticks = line.split_whitespace().skip(1).take(8).map(str::parse);
    let ticks: Vec<u64> = ticks.collect::<Result<_, _>>()?;
    let idle = ticks.get(3).context("no idle time")?;
    Ok((ticks.iter().sum(), *idle))
}

/// Sends ten times her share, over and over.
fn flood(stage: &Stage<'_>, sent: &Sent, stop: &AtomicBool) -> Result<()> {
    let (mallory, loot) = (&stage.mallory, &stage.mallory.loot);
    while !stop.load(Ordering::Relaxed) || sent.left.load(Ordering::Relaxed) == 0 {
        let leader = mallory.leader().context("no leader")?;
        let bodies: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let steal = Command::RemoveCluster("us-east-1".parse()?);
                Ok(loot.sign(loot.author(), 1, steal).encode())
            })
            .collect::<Result<_>>()?;
        mallory.wait(async {
            let mut asked = JoinSet::new();
            for body in bodies {
                let tunnels = mallory.tunnels.clone();
                let deadline = Instant::now() + Duration::from_secs(5);
                asked.spawn(
                    async move { tunnels.call(leader, METHOD_PROPOSE, body, deadline).await },
                );
            }
            while let Some(answer) = asked.join_next().await {
                let answer = answer.ok().and_then(Result::ok);
                let answer = answer.and_then(|body| ProposeAnswer::decode(body).ok());
                match answer.is_some_and(|answer| answer.taken) {
                    true => sent.taken.fetch_add(1, Ordering::Relaxed),
                    false => sent.left.fetch_add(1, Ordering::Relaxed),
                };
            }
        });
    }
    Ok(())
}

/// A cluster that writes as it should.
struct Honest {
    /// Its own: it waits for no thread of hers.
    runtime: Runtime,
    admin: AdminClient<Channel>,
    count: u16,
}

impl Honest {
    fn new(stage: &Stage<'_>) -> Result<Self> {
        let founder = weft_mallory::founder(stage.dev)?;
        let hands = weft_mallory::operator(&founder, "hands")?;
        let address = stage.dev.gateway("eu-west-1", "gw-1")?.api.parse()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let bundles = stage.mallory.bundles();
        let channel = runtime.block_on(door::knock(address, &hands, bundles))?;
        Ok(Self {
            runtime,
            admin: AdminClient::new(channel),
            count: 1,
        })
    }

    /// Writes for so long, and a few times at least; none may fail. How long each took.
    fn writes(&mut self, length: Duration) -> Result<Vec<Duration>> {
        let begun = Instant::now();
        let mut took = Vec::new();
        while took.len() < WRITES || begun.elapsed() < length {
            self.count += 1;
            let resource = json!({
                "apiVersion": "weft.dev/v1",
                "kind": "ServiceExport",
                "metadata": { "namespace": "shop", "name": "honest" },
                "spec": { "ports": [{ "name": "http", "port": self.count }] },
            });
            let put = PutRequest {
                kind: "ServiceExport".into(),
                resource_json: resource.to_string().into_bytes().into(),
                ..PutRequest::default()
            };
            let asked = Instant::now();
            self.runtime.block_on(self.admin.put(door::ask(put)))?;
            took.push(asked.elapsed());
        }
        Ok(took)
    }

    fn clean(mut self) -> Result<()> {
        let delete = DeleteRequest {
            kind: "ServiceExport".into(),
            namespace: "shop".into(),
            name: "honest".into(),
            ..DeleteRequest::default()
        };
        self.runtime
            .block_on(self.admin.delete(door::ask(delete)))?;
        Ok(())
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the test program captures and shows it"
)]
fn say(text: &str) {
    println!("{text}");
}
