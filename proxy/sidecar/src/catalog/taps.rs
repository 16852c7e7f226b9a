//! Taps between their wire and their own form.

use std::time::Duration;

use weft_model::{TapFilter, WallTime};
use weft_proto::catalog as wire;

use super::wire::{WireError, endpoint_id, parse, parse_optional, service_key, to_service_key};
use crate::tap::{Seen, TapEvent, TapHeader, TapId, TapServed, Value};

/// Events of one frame: far below what a gateway reads at once, however long their headers are.
const FRAME: usize = 64;

/// Reads a tap's id.
pub fn tap_id(bytes: &[u8]) -> Result<TapId, WireError> {
    let id = bytes.try_into();
    id.map(TapId)
        .map_err(|_| WireError::new("tap.id", "has not 16 bytes"))
}

/// What is to be shown.
pub fn to_filter(filter: &TapFilter) -> wire::TapFilter {
    wire::TapFilter {
        service: filter.service.as_ref().map(to_service_key),
        clusters: filter.clusters.as_ref().map(|clusters| wire::Names {
            names: clusters.iter().map(ToString::to_string).collect(),
        }),
        status: filter.status.map(|s| s.to_string()).unwrap_or_default(),
        method: filter.method.clone().unwrap_or_default(),
        path: filter.path.clone().unwrap_or_default(),
    }
}

/// Reads what is to be shown.
pub fn filter(from: &wire::TapFilter) -> Result<TapFilter, WireError> {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let clusters = from.clusters.as_ref().map(|clusters| {
        let names = clusters.names.iter();
        names.map(|name| parse("tap.clusters", name)).collect()
    });
    Ok(TapFilter {
        service: match &from.service {
            None => None,
            named => Some(service_key(named.as_ref())?),
        },
        clusters: clusters.transpose()?,
        status: parse_optional("tap.status", &from.status)?,
        method: text(&from.method),
        path: text(&from.path),
    })
}

/// Frames of what one tap saw; none if that is nothing.
pub(super) fn to_frames(id: TapId, seen: &Seen) -> Vec<wire::TapEvents> {
    let frame = |events: &[TapEvent]| wire::TapEvents {
        id: id.0.to_vec().into(),
        events: events.iter().map(to_event).collect(),
        dropped: 0,
    };
    let mut frames: Vec<_> = seen.events.chunks(FRAME).map(frame).collect();
    if seen.dropped > 0 {
        frames.push(wire::TapEvents {
            dropped: seen.dropped,
            ..frame(&[])
        });
    }
    frames
}

/// An event.
pub fn to_event(event: &TapEvent) -> wire::TapEvent {
    let served = event.served.as_ref();
    wire::TapEvent {
        at_ms: event.at.0,
        latency_us: u64::try_from(event.latency.as_micros()).unwrap_or(u64::MAX),
        service: event.service.as_ref().map(to_service_key),
        endpoint: served
            .map(|served| served.endpoint.0.to_vec().into())
            .unwrap_or_default(),
        cluster: served
            .map(|served| served.cluster.to_string())
            .unwrap_or_default(),
        version: served
            .and_then(|served| served.version.as_ref())
            .map(ToString::to_string)
            .unwrap_or_default(),
        method: event.method.clone(),
        host: event.host.clone(),
        path: event.path.clone(),
        status: u32::from(event.status),
        reason: event.reason.clone().unwrap_or_default(),
        headers: event.headers.iter().map(to_header).collect(),
    }
}

fn to_header(header: &TapHeader) -> wire::TapHeader {
    wire::TapHeader {
        name: header.name.clone(),
        value: match &header.value {
            Value::Told(value) => Some(value.clone()),
            Value::Redacted => None,
        },
    }
}

/// Reads an event.
pub fn event(from: &wire::TapEvent) -> Result<TapEvent, WireError> {
    let served = match parse_optional("event.cluster", &from.cluster)? {
        None => None,
        Some(cluster) => Some(TapServed {
            endpoint: endpoint_id(&from.endpoint)?,
            cluster,
            version: parse_optional("event.version", &from.version)?,
        }),
    };
    let header = |header: &wire::TapHeader| TapHeader {
        name: header.name.clone(),
        value: header.value.clone().map_or(Value::Redacted, Value::Told),
    };
    Ok(TapEvent {
        at: WallTime(from.at_ms),
        latency: Duration::from_micros(from.latency_us),
        service: match &from.service {
            None => None,
            named => Some(service_key(named.as_ref())?),
        },
        served,
        method: from.method.clone(),
        host: from.host.clone(),
        path: from.path.clone(),
        status: u16::try_from(from.status)
            .map_err(|_| WireError::new("event.status", "is no status"))?,
        reason: (!from.reason.is_empty()).then(|| from.reason.clone()),
        headers: from.headers.iter().map(header).collect(),
    })
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::name;

    use super::*;
    use crate::tap::sample_event;

    #[test]
    fn filters_and_events_read_back_as_they_were_written() {
        let some = TapFilter {
            service: Some(name("shop/checkout")),
            clusters: Some([name("eu-west-1"), name("us-east-1")].into()),
            status: Some("5xx".parse().unwrap()),
            method: Some("GET".to_owned()),
            path: Some("/pay".to_owned()),
        };
        let nowhere = TapFilter {
            clusters: Some([].into()),
            ..TapFilter::default()
        };
        for of in [TapFilter::default(), some, nowhere] {
            assert_eq!(filter(&to_filter(&of)), Ok(of));
        }
        let unanswered = TapEvent {
            served: None,
            service: None,
            reason: Some("no_route".to_owned()),
            status: 404,
            ..sample_event()
        };
        for of in [sample_event(), unanswered] {
            assert_eq!(event(&to_event(&of)), Ok(of));
        }
    }

    #[test]
    fn what_is_not_lawful_is_refused_by_name() {
        let wrong = |change: fn(&mut wire::TapEvent)| {
            let mut wrong = to_event(&sample_event());
            change(&mut wrong);
            event(&wrong).map_err(|error| error.field)
        };
        assert_eq!(wrong(|event| event.status = 70_000), Err("event.status"));
        assert_eq!(
            wrong(|event| event.cluster = "-".into()),
            Err("event.cluster")
        );
        assert_eq!(wrong(|event| event.endpoint = vec![1].into()), Err("id"));
        assert_eq!(tap_id(&[1; 15]).map_err(|error| error.field), Err("tap.id"));
        let filtered = wire::TapFilter {
            status: "often".to_owned(),
            ..wire::TapFilter::default()
        };
        assert_eq!(filter(&filtered).map_err(|e| e.field), Err("tap.status"));
    }
}
