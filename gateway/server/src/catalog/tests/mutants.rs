//! What peers, sidecars and the disk tell the catalog, with its bytes changed: taken in or refused,
//! and no panic.

use std::time::SystemTime;

use prost::Message;
use tokio::io::sink;
use weft_model::{Carried, Digest, DigestRow, Flow, FlowClass, Served, TapFilter, WallTime};
use weft_mutants::Decoder;
use weft_plan::catalog::Epoch;
use weft_proto::catalog as wire;
use weft_proto::catalog::peer_frame::Frame;
use weft_proxy::TapId;
use weft_proxy::catalog::wire as convert;

use super::*;
use crate::catalog::disk;
use crate::catalog::link::{LinkError, frame};
use crate::catalog::session::interest;

const EPOCH: [u8; 16] = [7; 16];

fn digest() -> Digest {
    let row = |zone: Option<&str>| (checkout(), zone.map(name), Some(name("v1")));
    let counted = DigestRow {
        ready: 3,
        capacity: 300,
    };
    Digest {
        rows: [(row(None), counted), (row(Some("eu-west-1a")), counted)].into(),
    }
}

fn clamps() -> wire::ClampList {
    let clamp = weft_model::Clamp {
        id: weft_model::ClampId([4; 16]),
        release: name("shop/v2"),
        run: weft_model::Index(9),
        region: name("us-east"),
        cluster: name(US),
        gateway: name("gw"),
        weight: weft_model::Percent::NONE,
        made: WallTime(1_700_000_000_123),
        by: name("ana"),
    };
    wire::ClampList {
        clamps: vec![crate::clamps::write(&clamp)],
    }
}

/// All that a peer of another cluster says in one stream.
fn stream() -> Vec<u8> {
    let hello = wire::PeerHello {
        cluster: US.into(),
        gateway: "gw".into(),
        epoch: EPOCH.to_vec().into(),
        recovering: true,
    };
    let asked = wire::PeerInterest {
        interest: Some(wire::Interest {
            services: vec![convert::to_service_key(&checkout())],
            everything: false,
        }),
        revision: 1,
        epoch: EPOCH.to_vec().into(),
        hash: 5,
    };
    let frames = [
        Frame::Hello(hello.clone()),
        Frame::Interest(asked),
        Frame::Snapshot(wire::SnapshotBegin { revision: 0 }),
        Frame::Endpoint(convert::to_endpoint(&endpoint(US, 1))),
        Frame::Endpoint(convert::to_endpoint(&endpoint(US, 2))),
        Frame::Mark(wire::Mark {
            hash: 7,
            ..wire::Mark::default()
        }),
        Frame::Digest(frame::to_digest(&digest())),
        Frame::EndpointRetracted(vec![2; 16].into()),
        Frame::EndpointWithdrawn(wire::Withdraw {
            id: vec![1; 16].into(),
            sequence: 3,
        }),
        Frame::Clamps(clamps()),
        Frame::Hello(wire::PeerHello {
            recovering: false,
            ..hello
        }),
        Frame::Resync(wire::Resync {}),
    ];
    let framed = frames.into_iter().flat_map(|frame| {
        let body = wire::PeerFrame { frame: Some(frame) }.encode_to_vec();
        let length = u32::try_from(body.len()).unwrap();
        length.to_be_bytes().into_iter().chain(body)
    });
    framed.collect()
}

/// What a sidecar says, frame by frame.
fn upstream() -> Vec<wire::Upstream> {
    use wire::upstream::Frame;
    let flow = Flow {
        service: checkout(),
        served: Some(Served {
            cluster: name(EU),
            version: Some(name("v1")),
            identity: identity(EU),
        }),
        carried: Carried::Request,
        class: FlowClass::Success,
    };
    let mut tally = weft_model::Tally::default();
    tally.latencies.record(Duration::from_millis(80));
    let wanted = wire::Interest {
        services: vec![convert::to_service_key(&checkout())],
        everything: false,
    };
    let tapped = wire::TapEvent {
        at_ms: 1_700_000_000_123,
        latency_us: 80_000,
        service: Some(convert::to_service_key(&checkout())),
        method: "GET".into(),
        path: "/pay".into(),
        status: 200,
        ..wire::TapEvent::default()
    };
    let frames = [
        Frame::Hello(wire::Hello {
            interest: Some(wanted.clone()),
            stream: EPOCH.to_vec().into(),
            position: 9,
        }),
        Frame::Put(convert::to_endpoint(&endpoint(EU, 1))),
        Frame::Withdraw(wire::Withdraw {
            id: vec![1; 16].into(),
            sequence: 3,
        }),
        Frame::Interest(wanted),
        Frame::Report(wire::Report {
            flows: vec![client::to_flow(&flow, &tally)],
            left_out: 2,
        }),
        Frame::TapEvents(wire::TapEvents {
            id: EPOCH.to_vec().into(),
            events: vec![tapped],
            dropped: 1,
        }),
    ];
    let frame = |frame| wire::Upstream { frame: Some(frame) };
    frames.into_iter().map(frame).collect()
}

/// As a session takes it.
fn take(handle: &CatalogHandle, bytes: &[u8]) -> Result<(), String> {
    use wire::upstream::Frame;
    let text = |why: convert::WireError| why.to_string();
    let said = wire::Upstream::decode(bytes).map_err(|why| why.to_string())?;
    let source = identity(EU);
    let session = weft_plan::catalog::SessionId(EPOCH);
    let now = handle.now();
    let mut state = handle.inner.state();
    let federation = Arc::clone(&state.federation);
    match said.frame.ok_or("nothing")? {
        Frame::Hello(hello) => drop(interest(hello.interest.as_ref()).map_err(text)?),
        Frame::Interest(wanted) => drop(interest(Some(&wanted)).map_err(text)?),
        Frame::Put(endpoint) => {
            let endpoint = convert::endpoint(&endpoint).map_err(text)?;
            state.catalog.open_session(session, source, now);
            let taken = state.catalog.put(session, endpoint, &federation, now);
            taken.map_err(|why| why.to_string())?;
        }
        Frame::Withdraw(word) => {
            let id = convert::endpoint_id(&word.id).map_err(text)?;
            let _ = state.catalog.withdraw(session, id, word.sequence, now);
        }
        Frame::Report(report) => {
            handle.observatory().report(now, &source, &report);
            let _ = handle.observatory().window(now, Duration::from_secs(60));
        }
        Frame::TapEvents(seen) => {
            client::tap_id(&seen.id).map_err(text)?;
            let taps = handle.observatory().taps();
            let _ = taps.read(TapId(EPOCH), &TapFilter::default());
            taps.arrived(&source, &seen);
        }
        Frame::Heartbeat(_) | Frame::Resync(_) => {}
    }
    Ok(())
}

#[test]
fn no_mutant_of_what_the_catalog_is_told_panics() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    let handle = start(EU, "gw", None).0;
    let file = wire::ViewFile {
        format: 1,
        cluster: EU.into(),
        endpoints: vec![convert::to_endpoint(&endpoint(US, 1))],
        last_heard: vec![wire::LastHeard {
            cluster: US.into(),
            heard_ms: 1_700_000_000_123,
            covered: Some(frame::to_interest(&Interest::Everything)),
            digest: Some(frame::to_digest(&digest())),
        }],
        change: 3,
    };
    let link = |bytes: &[u8]| {
        // All these streams in a moment are more than one gateway may have.
        handle.inner.paces.forget();
        let run = Builder::new_current_thread().enable_time().build().unwrap();
        let ended = run.block_on(handle.link(name(US), name("gw"), bytes, sink()));
        match ended {
            // It said all of it, and hung up.
            Err(LinkError::Stream(_)) => Ok(()),
            other => other,
        }
    };
    let upstream = upstream();
    weft_mutants::check(&[
        Decoder::new("the stream of another gateway", [stream()], link).fewer(2),
        Decoder::new(
            "a frame of a sidecar",
            upstream.iter().map(Message::encode_to_vec),
            |bytes| take(&handle, bytes),
        ),
        Decoder::new(
            "the last view on the disk",
            [file.encode_to_vec()],
            |bytes| disk::decode(bytes, &name(EU), SystemTime::now()),
        ),
        Decoder::new("an epoch", [EPOCH.to_vec()], |bytes| {
            Epoch::from_slice(bytes).ok_or("no epoch")
        }),
    ]);
}
