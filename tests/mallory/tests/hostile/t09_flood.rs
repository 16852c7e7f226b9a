//! T9: more than her share. Here counts decide; `cargo xtask mallory` also has the others' times
//! judged (`WEFT_MALLORY_LOAD`, seconds).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use prost::Message;
use serde_json::json;
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
    let seconds: Option<u64> = match std::env::var("WEFT_MALLORY_LOAD") {
        Ok(seconds) => Some(seconds.parse()?),
        Err(_) => None,
    };
    let length = Duration::from_secs(seconds.unwrap_or(0));
    let mut honest = Honest::new(stage)?;
    let quiet = honest.writes(length)?;
    let (sent, stop) = (Sent::default(), AtomicBool::new(false));
    let noisy = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(stage, &sent, &stop));
        let noisy = honest.writes(length);
        stop.store(true, Ordering::Relaxed);
        let flooded = flood.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
        flooded.and(noisy)
    })?;
    honest.clean()?;
    let (taken, left) = (
        sent.taken.load(Ordering::Relaxed),
        sent.left.load(Ordering::Relaxed),
    );
    ensure!(taken > 0, "she wrote nothing, and so showed nothing");
    ensure!(left > taken, "{taken} of hers taken, {left} left");
    let (before, after) = (p99(quiet), p99(noisy));
    let ratio = after.as_secs_f64() / before.as_secs_f64();
    say(&format!(
        "p99 of an honest write {before:.1?}, under the flood {after:.1?} ({ratio:.1} times); {taken} of hers taken, {left} left"
    ));
    ensure!(
        seconds.is_none() || ratio <= RATIO_MAX,
        "{ratio:.1} times slower"
    );
    Ok(())
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
struct Honest<'a> {
    stage: &'a Stage<'a>,
    admin: AdminClient<Channel>,
    count: u16,
}

impl<'a> Honest<'a> {
    fn new(stage: &'a Stage<'a>) -> Result<Self> {
        let founder = weft_mallory::founder(stage.dev)?;
        let hands = weft_mallory::operator(&founder, "hands")?;
        let address = stage.dev.gateway("eu-west-1", "gw-1")?.api.parse()?;
        let mallory = &stage.mallory;
        let channel = mallory.wait(door::knock(address, &hands, mallory.bundles()))?;
        Ok(Self {
            stage,
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
            self.stage.mallory.wait(self.admin.put(door::ask(put)))?;
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
        self.stage
            .mallory
            .wait(self.admin.delete(door::ask(delete)))?;
        Ok(())
    }
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    let at = (took.len() * 99).div_ceil(100).saturating_sub(1);
    took.get(at).copied().unwrap_or_default()
}

#[expect(
    clippy::print_stdout,
    reason = "the test program captures and shows it"
)]
fn say(text: &str) {
    println!("{text}");
}
