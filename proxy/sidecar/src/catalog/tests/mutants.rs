//! What gateways and the disk tell a sidecar, with its bytes changed: taken in or refused, and no
//! panic.

use bytes::Bytes;
use prost::Message;
use weft_mutants::Decoder;

use super::super::disk;
use super::super::mirror::Mirror;
use super::super::releases::Releases;
use super::super::session::greet_parts;
use super::super::taps::{event, filter, tap_id, to_event, to_filter};
use super::*;
use crate::tap::sample_event;

fn mark() -> wire::Mark {
    wire::Mark {
        applied_index: 300,
        hash: 5,
        recovering: true,
    }
}

/// A stream of a gateway, frame by frame.
fn frames() -> Vec<wire::Downstream> {
    use wire::downstream::Frame;
    let welcome = wire::Welcome {
        stream: vec![1; 16].into(),
        cluster: EU.into(),
        region: "eu-west".into(),
        gateway: "gw-1".into(),
        preamble_key: vec![2; 32].into(),
        session: vec![3; 16].into(),
        relay: "10.0.0.1:7445".into(),
        resumed: true,
    };
    let tap = wire::TapOrder {
        id: vec![4; 16].into(),
        filter: Some(to_filter(&weft_model::TapFilter {
            service: Some(checkout()),
            status: Some("5xx".parse().unwrap()),
            ..weft_model::TapFilter::default()
        })),
        lasting_ms: 10_000,
    };
    let gone = wire::item::Item::ServiceGone(convert::to_service_key(&checkout()));
    let frames = [
        Frame::Welcome(welcome),
        Frame::Snapshot(wire::SnapshotBegin::default()),
        Frame::Item(service()),
        Frame::Item(item(&endpoint(EU, 1, 3))),
        Frame::Item(path(true, 80_000)),
        Frame::Item(convert::encode_item(gone)),
        Frame::Mark(mark()),
        Frame::Leave(wire::Leave {
            counters: vec![1, 300],
        }),
        Frame::Tap(tap),
    ];
    let frame = |(position, frame)| wire::Downstream {
        position,
        frame: Some(frame),
    };
    (7..).zip(frames).map(frame).collect()
}

/// As a session takes it, into a mirror that knows something.
fn take(bytes: &[u8]) -> Result<(), String> {
    use wire::downstream::Frame;
    let text = |why: convert::WireError| why.to_string();
    let down = wire::Downstream::decode(bytes).map_err(|why| why.to_string())?;
    let mut mirror = Mirror::default();
    mirror.begin_snapshot();
    mirror.apply(1, item(&endpoint(US, 2, 3))).unwrap();
    // Its hash is another one: the state is taken in all the same.
    let _ = mirror.mark(2, &mark());
    match down.frame.ok_or("nothing")? {
        Frame::Welcome(welcome) => drop(greet_parts(&welcome).map_err(text)?),
        Frame::Item(item) => {
            mirror
                .apply(down.position, item)
                .map_err(|why| why.to_string())?;
        }
        Frame::Mark(mark) => drop(mirror.mark(down.position, &mark)),
        Frame::Tap(order) => {
            tap_id(&order.id).map_err(text)?;
            filter(&order.filter.unwrap_or_default()).map_err(text)?;
        }
        Frame::Snapshot(_) | Frame::Refused(_) | Frame::Leave(_) => {}
    }
    Ok(())
}

#[test]
fn no_mutant_of_what_gateways_or_the_disk_say_panics() {
    let frames = frames();
    let mut mirror = Mirror::default();
    mirror.begin_snapshot();
    for item in [service(), item(&endpoint(EU, 1, 3)), path(true, 80_000)] {
        mirror.apply(1, item).unwrap();
    }
    let _ = mirror.mark(2, &mark());
    let state = disk::encode(&mirror, &Releases::default(), &place());
    let seen = to_event(&sample_event()).encode_to_vec();
    weft_mutants::check(&[
        Decoder::new(
            "a frame of a gateway",
            frames.iter().map(Message::encode_to_vec),
            take,
        ),
        Decoder::new("the last state on the disk", [state], |bytes| {
            disk::decode(Bytes::copy_from_slice(bytes), &place())
        }),
        Decoder::new("an event of a tap", [seen], |bytes| {
            let seen = wire::TapEvent::decode(bytes).map_err(|why| why.to_string())?;
            event(&seen).map_err(|why| why.to_string())
        }),
    ]);
}
