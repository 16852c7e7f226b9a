//! T9: catalog streams, endpoints and calls without pause. That others go on decides, and no time
//! does: hers, theirs and all gateways share a machine. So it is at one gateway, and by
//! `cargo xtask mallory` (`WEFT_MALLORY_LOAD`) at one of each other cluster.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use prost::Message;
use rand::random;
use serde_json::json;
use tokio::task::JoinSet;
use weft_gateway::tunnel::{PeerStream, read_frame, write_frame};
use weft_mallory::{CLUSTER, GATEWAYS, Node};
use weft_model::{Command, NodeId, ServiceKey};
use weft_proto::catalog as wire;
use weft_proto::catalog::PeerFrame;
use weft_proto::catalog::peer_frame::Frame;
use weft_test_support::{Load, RecordType, SOON, Target, ask, eventually};

use crate::t01_owner::{endpoint, export, hello};
use crate::{Stage, metric};

/// Endpoints on each stream before she opens the next one, and how often she says each of them, always
/// changed.
const ENDPOINTS: usize = 1_000;
const TIMES: u64 = 2;
/// The longest frame that she reads, in bytes.
const FRAME_MAX: usize = 4 << 20;
/// For how long she waits to be read.
const PATIENCE: Duration = Duration::from_secs(60);
/// More calls than a gateway answers one cluster at a time.
const CALLS: usize = 256;
/// It does not count unless there was so much of each at each gateway.
const HEARD_MIN: u64 = 1_000;
const STREAMS_MIN: usize = 2;
const CALLS_MIN: usize = 1_000;
/// How many of her endpoints a gateway knows.
const HERS: &str = "weft_endpoints{cluster=\"mallory-1\",service=\"shop/flood\",state=\"ready\"}";
/// For how long she goes on at most.
const LONGEST: Duration = Duration::from_secs(180);

/// What she did to one gateway.
#[derive(Debug, Default)]
struct Sent {
    streams: AtomicUsize,
    words: AtomicUsize,
    /// Answered, or declined.
    calls: AtomicUsize,
}

/// Others' requests go on, their endpoints come and go, names are answered, leases are held.
pub(crate) fn without_pause(stage: &Stage<'_>) -> Result<()> {
    let (mallory, loot) = (&stage.mallory, &stage.mallory.loot);
    let key: ServiceKey = "shop/flood".parse()?;
    let put = Command::PutExport(CLUSTER.parse()?, key.clone(), Box::new(export()?));
    mallory.await_index(mallory.propose(loot.sign(loot.author(), 1 << 50, put))?)?;
    let flooded = match std::env::var_os(weft_mallory::LOAD) {
        Some(_) => &GATEWAYS[..],
        None => &GATEWAYS[2..],
    };
    let nodes = flooded
        .iter()
        .map(|(cluster, gateway)| mallory.node_of(cluster, gateway));
    let nodes: Vec<NodeId> = nodes.collect::<Result<_>>()?;
    let load = Load::start(targets(stage)?);
    let stop = AtomicBool::new(false);
    let sent: Vec<Sent> = nodes.iter().map(|_| Sent::default()).collect();
    let lived = std::thread::scope(|scope| {
        for (node, sent) in nodes.into_iter().zip(&sent) {
            let stop = &stop;
            scope.spawn(move || mallory.wait(words(mallory, node, sent, stop)));
            scope.spawn(move || mallory.wait(calls(mallory, node, sent, stop)));
        }
        let lived = live(stage, &load, flooded, &sent);
        stop.store(true, Ordering::Relaxed);
        lived
    });
    let figures = load.end()?;
    say(&format!("under {sent:?}: {figures:?}"));
    lived?;
    ensure!(figures.failed.is_empty(), "{:?}", figures.failed);
    let gone = Command::DeleteExport(CLUSTER.parse()?, key);
    mallory.await_index(mallory.propose(loot.sign(loot.author(), (1 << 50) + 1, gone))?)
}

/// From every cluster to another one.
fn targets(stage: &Stage<'_>) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (from, to) in [(0, 1), (1, 2), (2, 0)].map(|(a, b)| (GATEWAYS[a].0, GATEWAYS[b].0)) {
        let sidecar = stage.dev.workload(from, "shop/web")?.outbound;
        let host = format!("checkout.shop.svc.{to}.cluster.weft.internal");
        let target = Target::through_sidecar(&sidecar, &host)?;
        eventually(&target.name, SOON, || target.get())?;
        targets.push(target);
    }
    Ok(targets)
}

/// What the others do meanwhile, until she has done enough.
fn live(stage: &Stage<'_>, load: &Load, flooded: &[(&str, &str)], sent: &[Sent]) -> Result<()> {
    let begun = Instant::now();
    loop {
        come_and_go(stage)?;
        for (cluster, gateway) in GATEWAYS {
            names(stage, cluster, gateway)?;
            leases(stage, &format!("{cluster}/{gateway}"))?;
        }
        for (cluster, _) in flooded {
            heard(stage, cluster)?;
        }
        load.all_go_on()?;
        let enough = |sent: &Sent| {
            sent.streams.load(Ordering::Relaxed) >= STREAMS_MIN
                && sent.calls.load(Ordering::Relaxed) >= CALLS_MIN
        };
        if sent.iter().all(enough) {
            return Ok(());
        }
        ensure!(begun.elapsed() < LONGEST, "too little of hers: {sent:?}");
    }
}

/// An endpoint of one cluster is known at the others, and then is not.
fn come_and_go(stage: &Stage<'_>) -> Result<()> {
    let begun = Instant::now();
    let entry = "
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: diary-2 }
spec:
  service: diary
  address: 127.1.0.2
  ports: { http: 9099 }
";
    stage.dev.apply("us-east-1", entry)?;
    known(stage, 2)?;
    let came = begun.elapsed();
    let delete = ["--cluster", "us-east-1", "-n", "shop", "delete"];
    stage
        .dev
        .weft(delete.into_iter().chain(["workloadentry", "diary-2"]))?
        .ok()?;
    known(stage, 1)?;
    say(&format!(
        "an endpoint was known everywhere after {came:.1?}, and gone after {:.1?}",
        begun.elapsed()
    ));
    Ok(())
}

fn known(stage: &Stage<'_>, count: usize) -> Result<()> {
    for (cluster, gateway) in GATEWAYS {
        let at = format!("{cluster}/{gateway}");
        eventually("the others know of it", SOON, || {
            let asked = json!({ "service": "shop/diary" });
            let listed = stage.victims.question(&at, "endpoints", &asked)?;
            let listed = listed["items"].as_array().context("endpoints")?.len();
            ensure!(listed == count, "{at}: {listed}");
            Ok(())
        })?;
    }
    Ok(())
}

fn names(stage: &Stage<'_>, cluster: &str, gateway: &str) -> Result<()> {
    let server = stage.dev.gateway(cluster, gateway)?.dns;
    eventually("a name is answered", SOON, || {
        let answer = ask(&server, "checkout.shop.svc.clusterset.local", RecordType::A)?;
        ensure!(answer.code == 0 && !answer.data.is_empty(), "{answer:?}");
        Ok(())
    })
}

fn leases(stage: &Stage<'_>, at: &str) -> Result<()> {
    eventually("the others hold their leases", SOON, || {
        let status = stage.victims.status(at)?;
        let clusters = status["clusters"].as_array().context("clusters")?;
        for cluster in clusters.iter().filter(|cluster| cluster["name"] != CLUSTER) {
            ensure!(cluster["lease"] == "held", "as {at} sees it: {cluster}");
        }
        Ok(())
    })
}

/// What she says is taken in.
fn heard(stage: &Stage<'_>, cluster: &str) -> Result<()> {
    eventually("her endpoints are known", SOON, || {
        let known = metric(stage, cluster, HERS)?;
        ensure!(known >= HEARD_MIN, "{known} endpoints");
        Ok(())
    })
}

/// Streams one after the other, each full of endpoints that nobody has heard of, and read to its end.
async fn words(mallory: &Node, to: NodeId, sent: &Sent, stop: &AtomicBool) {
    let mut paths = mallory.tunnels.watch_paths();
    while !stop.load(Ordering::Relaxed) {
        let Some(control) = mallory.tunnels.control(to) else {
            // Until there is a path again; whether she shall stop is looked at now and then.
            let _ = tokio::time::timeout(Duration::from_secs(1), paths.changed()).await;
            continue;
        };
        if let Ok(stream) = control.open_catalog().await {
            sent.streams.fetch_add(1, Ordering::Relaxed);
            // Whoever is cut off begins anew.
            let _ = talk(stream, sent, stop).await;
        }
    }
}

async fn talk(mut stream: PeerStream, sent: &Sent, stop: &AtomicBool) -> Result<()> {
    let identity = "spiffe://mallory-1.dev.weft.internal/ns/shop/sa/flood";
    let begin = [
        Frame::Hello(hello(CLUSTER)),
        Frame::Snapshot(wire::SnapshotBegin::default()),
    ];
    let ids = std::iter::repeat_with(random::<[u8; 16]>).take(ENDPOINTS);
    let ids: Vec<[u8; 16]> = ids.collect();
    let endpoints = (1..=TIMES).flat_map(|sequence| {
        ids.iter().map(move |id| {
            Frame::Endpoint(wire::Endpoint {
                sequence,
                zone: format!("zone-{sequence}"),
                ..endpoint(id.to_vec(), CLUSTER, "flood", identity)
            })
        })
    });
    // It has been read once all is asked for again: it does not hash to one.
    let end = Frame::Mark(wire::Mark {
        hash: 1,
        ..wire::Mark::default()
    });
    for frame in begin.into_iter().chain(endpoints).chain([end]) {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let body = PeerFrame { frame: Some(frame) }.encode_to_vec();
        let write = write_frame(&mut stream.send, Bytes::from(body));
        tokio::time::timeout(PATIENCE, write).await??;
        sent.words.fetch_add(1, Ordering::Relaxed);
    }
    while !stop.load(Ordering::Relaxed) {
        let read = read_frame(&mut stream.recv, FRAME_MAX);
        let said = tokio::time::timeout(PATIENCE, read).await??;
        let said = PeerFrame::decode(said.context("it hung up")?)?;
        if matches!(said.frame, Some(Frame::Resync(_))) {
            break;
        }
    }
    Ok(())
}

/// The question that costs a gateway most, many at once.
async fn calls(mallory: &Node, to: NodeId, sent: &Sent, stop: &AtomicBool) {
    let question = wire::WindowQuestion { span_ms: 300_000 };
    let question = Bytes::from(question.encode_to_vec());
    while !stop.load(Ordering::Relaxed) {
        let mut asked = JoinSet::new();
        for _ in 0..CALLS {
            let (tunnels, body) = (mallory.tunnels.clone(), question.clone());
            let deadline = Instant::now() + Duration::from_secs(5);
            asked.spawn(async move { tunnels.call(to, "observe.window", body, deadline).await });
        }
        while asked.join_next().await.is_some() {
            sent.calls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the test program captures and shows it"
)]
fn say(text: &str) {
    println!("{text}");
}
