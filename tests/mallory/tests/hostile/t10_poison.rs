//! T10: what does not read, what is too long, and what reads and may not be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use rand::random;
use serde_json::json;
use weft_mallory::raw::{Hello, Welcome, greet};
use weft_mallory::{CLUSTER, GATEWAYS, door};
use weft_model::{Command, ExportSpec, FormatLevel};
use weft_proto::catalog as wire;
use weft_proto::catalog::peer_frame::Frame;
use weft_proto::identity::enrolment_client::EnrolmentClient;
use weft_proto::identity::{EnrolRequest, JoinRequest};
use weft_proto::peer::{RaftEntry, RaftMessage};
use weft_registry::{METHOD_DIGESTS, METHOD_PROPOSE, METHOD_TRANSFER, ProposeError};

use crate::Stage;
use crate::t01_owner::{endpoint, export, hello};

/// Bytes that are no message of anybody's.
fn nonsense() -> Vec<Bytes> {
    let own = Bytes::from(vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let text = Bytes::from_static(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n");
    let deep = Bytes::from([0x0a, 0x7f].repeat(5_000));
    let blank = Bytes::new();
    let big = Bytes::from(vec![0x12; 300 << 10]);
    let noise = Bytes::from((0..4096).map(|_| random()).collect::<Vec<u8>>());
    vec![own, text, deep, blank, big, noise]
}

/// By calls, Raft, catalog, hello, enrolment, and the plain ports.
pub(crate) fn unreadable(stage: &Stage<'_>) -> Result<()> {
    let mallory = &stage.mallory;
    for (cluster, gateway) in GATEWAYS {
        let to = mallory.node_of(cluster, gateway)?;
        calls(stage, to)?;
        raft(stage, to)?;
        catalog(stage, to)?;
        hellos(stage, cluster, gateway)?;
        enrolment(stage, cluster, gateway)?;
        let gateway = stage.dev.gateway(cluster, gateway)?;
        let relay = gateway.api.replace(":7444", ":7445");
        for address in [&gateway.api, &relay, &gateway.console] {
            plain(address)?;
        }
    }
    Ok(())
}

fn calls(stage: &Stage<'_>, to: weft_model::NodeId) -> Result<()> {
    for method in ["registry.", "", "no.such.method", &"x".repeat(1_000)] {
        let answer = stage.mallory.call(to, method, Bytes::from_static(b"?"));
        ensure!(answer.is_err(), "{method:?} is answered");
    }
    for body in nonsense() {
        let answer = stage.mallory.call(to, METHOD_PROPOSE, body);
        ensure!(answer.is_err(), "a proposal that does not read is answered");
    }
    for method in [
        METHOD_DIGESTS,
        METHOD_TRANSFER,
        "observe.window",
        "observe.tap",
    ] {
        for body in nonsense() {
            // An answer to what happens to read does no harm.
            let _ = stage.mallory.call(to, method, body);
        }
    }
    Ok(())
}

fn raft(stage: &Stage<'_>, to: weft_model::NodeId) -> Result<()> {
    let mallory = &stage.mallory;
    let own = mallory.id().0;
    let raft = &mallory.registry.status().raft;
    let (term, commit) = (raft.leadership.term, raft.commit.0);
    let message = |kind, from, to| RaftMessage {
        r#type: kind,
        from,
        to,
        term,
        ..RaftMessage::default()
    };
    let entry = |index, data: Vec<u8>| RaftEntry {
        term,
        index,
        data: data.into(),
        ..RaftEntry::default()
    };
    let mut said: Vec<RaftMessage> = [0, 1, 2, 10, 11, 12, 13, 19, 99, u32::MAX]
        .into_iter()
        .map(|kind| message(kind, own, to.0))
        .collect();
    said.extend([message(9, to.0, own), message(9, 1, to.0), message(9, 0, 0)]);
    for number in [u64::MAX, 1 << 60] {
        said.push(RaftMessage {
            term: number,
            ..message(4, own, to.0)
        });
        said.push(RaftMessage {
            index: number,
            ..message(4, own, to.0)
        });
    }
    said.push(RaftMessage {
        index: commit + 1_000,
        ..message(4, own, to.0)
    });
    said.push(RaftMessage {
        entries: vec![
            entry(commit + 1, vec![0; 300 << 10]),
            entry(commit + 9, vec![]),
        ],
        index: commit,
        log_term: term,
        ..message(3, own, to.0)
    });
    said.push(message(15, own, to.0));
    mallory.say_raft(to, said);
    Ok(())
}

fn catalog(stage: &Stage<'_>, to: weft_model::NodeId) -> Result<()> {
    let mallory = &stage.mallory;
    let identity = "spiffe://mallory-1.dev.weft.internal/ns/evil/sa/own";
    let good = || endpoint(random::<[u8; 16]>().to_vec(), CLUSTER, "own", identity);
    let bad = [
        wire::Endpoint {
            id: vec![1; 3].into(),
            ..good()
        },
        wire::Endpoint {
            service: None,
            ..good()
        },
        wire::Endpoint {
            cluster: "No Cluster".into(),
            ..good()
        },
        wire::Endpoint {
            identity: "spiffe://".into(),
            ..good()
        },
        wire::Endpoint {
            identity: String::new(),
            ..good()
        },
        wire::Endpoint {
            address: "nowhere".into(),
            ..good()
        },
        wire::Endpoint {
            version: "\u{0}".into(),
            ..good()
        },
        wire::Endpoint {
            zone: "x".repeat(10_000),
            ..good()
        },
        wire::Endpoint {
            hostname: "-".into(),
            ..good()
        },
        wire::Endpoint {
            health: 99,
            ..good()
        },
    ];
    let mut frames: Vec<Frame> = bad.into_iter().map(Frame::Endpoint).collect();
    frames.push(Frame::EndpointRetracted(Bytes::from_static(b"short")));
    frames.push(Frame::EndpointWithdrawn(wire::Withdraw::default()));
    frames.push(Frame::Digest(wire::Digest {
        rows: vec![wire::DigestRow::default()],
    }));
    frames.push(Frame::Clamps(wire::ClampList {
        clamps: vec![wire::Clamp::default()],
    }));
    for frame in frames {
        let mut stream = mallory.open_catalog(to)?;
        mallory.tell(&mut stream, Frame::Hello(hello(CLUSTER)))?;
        mallory.tell(&mut stream, frame)?;
        // Whoever is not cut off for that is answered this.
        let _ = mallory.tell(&mut stream, Frame::Interest(wire::PeerInterest::default()));
        drain(stage, &mut stream);
    }
    for body in nonsense() {
        let mut stream = mallory.open_catalog(to)?;
        mallory.tell(&mut stream, Frame::Hello(hello(CLUSTER)))?;
        let said = weft_gateway::tunnel::write_frame(&mut stream.send, body);
        mallory.wait(said)?;
        // The peer may have cut her off by now.
        let _ = mallory.tell(&mut stream, Frame::Interest(wire::PeerInterest::default()));
        drain(stage, &mut stream);
    }
    // A frame that announces 4 GiB.
    let mut stream = mallory.open_catalog(to)?;
    mallory.wait(stream.send.write_all(&[0xff; 64]))?;
    drain(stage, &mut stream);
    Ok(())
}

/// Reads to the stream's end, or until the peer has said what it says at first.
fn drain(stage: &Stage<'_>, stream: &mut weft_gateway::tunnel::PeerStream) {
    while let Ok(Some(said)) = stage.mallory.hear(stream) {
        if matches!(said, Frame::Mark(_)) {
            return;
        }
    }
}

fn hellos(stage: &Stage<'_>, cluster: &str, gateway: &str) -> Result<()> {
    let mallory = &stage.mallory;
    let to = stage.dev.gateway(cluster, gateway)?.tunnel.parse()?;
    let honest = Hello {
        version: 1,
        node: mallory.id().0,
        gateway: "gw-1".into(),
        incarnation: random(),
        purpose: 2,
        worker: 0,
    };
    let odd = [
        Hello {
            version: 2,
            ..honest.clone()
        },
        Hello {
            gateway: "No Name".into(),
            ..honest.clone()
        },
        Hello {
            gateway: "x".repeat(2_000),
            ..honest.clone()
        },
        Hello {
            purpose: 9,
            ..honest.clone()
        },
        Hello {
            worker: u32::MAX,
            ..honest.clone()
        },
        Hello {
            node: 0,
            ..honest.clone()
        },
        Hello {
            node: u64::MAX,
            ..honest
        },
    ];
    for hello in odd {
        let svid = mallory.loot.svid();
        match mallory.wait(greet(to, &svid, mallory.bundles(), &hello))? {
            Welcome::Out(_) => {}
            Welcome::In(_) => bail!("{hello:?} is welcome"),
        }
    }
    Ok(())
}

fn enrolment(stage: &Stage<'_>, cluster: &str, gateway: &str) -> Result<()> {
    let address = stage.dev.gateway(cluster, gateway)?.api.parse()?;
    let mallory = &stage.mallory;
    let state = mallory.state();
    let member = state.cluster(&cluster.parse()?).context("a member")?;
    let roots: Vec<_> = member.bundle.iter().map(|der| der.clone().into()).collect();
    let hash = weft_identity::bundle_hash(&roots);
    let channel = mallory.wait(door::knock_bare(address, hash))?;
    let mut client = EnrolmentClient::new(channel);
    for entry in nonsense() {
        let csr = Bytes::new();
        let joined = mallory.wait(client.join(door::ask(JoinRequest { entry, csr })));
        ensure!(joined.is_err(), "nonsense joins");
    }
    for token in [String::new(), "weft-".repeat(2_000), "\u{0}".into()] {
        let csr = Bytes::new();
        let enrolled = mallory.wait(client.enrol(door::ask(EnrolRequest { token, csr })));
        ensure!(enrolled.is_err(), "nonsense enrols");
    }
    Ok(())
}

/// Bytes at a port that expects TLS, a preamble or HTTP: it hangs up, or says no.
fn plain(address: &str) -> Result<()> {
    for said in nonsense() {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        stream.set_write_timeout(Some(Duration::from_secs(15)))?;
        // It may hang up in the middle.
        let _ = stream.write_all(&said);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.take(1 << 16).read_to_end(&mut answer);
        ensure!(!answer.starts_with(b"HTTP/1.1 5"), "{address}: {answer:?}");
    }
    Ok(())
}

/// Signed by herself, and well formed: each is refused, and so by every replica.
pub(crate) fn beyond_bounds(stage: &Stage<'_>) -> Result<()> {
    let loot = &stage.mallory.loot;
    let ports = |count: u16| -> Result<ExportSpec> {
        let ports: Vec<_> = (1..=count)
            .map(|port| json!({ "name": format!("p{port}"), "port": port }))
            .collect();
        Ok(serde_json::from_value(
            json!({ "ports": ports, "exportTo": ["*"] }),
        )?)
    };
    let state = stage.mallory.state();
    let node = state.node(stage.mallory.id()).context("her node")?;
    let mut other_name = node.gateway.clone();
    other_name.name = "gw-2".parse()?;
    let mut other_format = node.gateway.clone();
    other_format.format = FormatLevel(0);
    let put = |name: &str, spec: ExportSpec| -> Result<Command> {
        Ok(Command::PutExport(
            CLUSTER.parse()?,
            name.parse()?,
            Box::new(spec),
        ))
    };
    let mut portless = export()?;
    portless.ports.clear();
    let commands = [
        put("evil/wide", ports(2_000)?)?,
        put("evil/none", portless)?,
        Command::PutBundle(CLUSTER.parse()?, vec![vec![1; 17 << 10]]),
        Command::PutBundle(CLUSTER.parse()?, vec![vec![1]; 9]),
        Command::PutGateway(other_name),
        Command::PutGateway(other_format),
    ];
    for (count, command) in (0..).zip(commands) {
        let what = format!("{command:?}");
        let what = what.chars().take(80).collect::<String>();
        match stage
            .mallory
            .propose(loot.sign(loot.author(), (1 << 41) + count, command))
        {
            Err(ProposeError::Refused(_) | ProposeError::TooLarge { .. }) => {}
            other => bail!("{what}: {other:?}"),
        }
    }
    // Longer than an entry may be: not even decoded.
    let long = stage.mallory.loot.sign(
        stage.mallory.loot.author(),
        1 << 42,
        put("evil/long", ports(20_000)?)?,
    );
    let bytes = long.encode();
    ensure!(bytes.len() > 256 << 10, "too short to show anything");
    ensure!(stage.mallory.forward(bytes).is_err(), "too long, and taken");
    Ok(())
}
