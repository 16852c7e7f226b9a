//! Reports of traffic between their wire and their own form.

use weft_model::{Carried, Flow, FlowClass, LatencyBucket, Served, Tally};
use weft_proto::catalog as wire;

use super::wire::{WireError, parse, parse_optional, service_key, to_service_key};
use crate::Taken;

/// A report of what was counted; none of nothing.
pub fn to_report(taken: &Taken) -> Option<wire::Report> {
    let is_empty = taken.flows.is_empty() && taken.left_out == 0;
    (!is_empty).then(|| wire::Report {
        flows: taken.flows.iter().map(|(f, t)| to_flow(f, t)).collect(),
        left_out: taken.left_out,
    })
}

/// A flow with its counts.
pub fn to_flow(flow: &Flow, tally: &Tally) -> wire::FlowCount {
    let served = flow.served.as_ref();
    let text = |of: fn(&Served) -> String| served.map(of).unwrap_or_default();
    let buckets = tally.latencies.buckets();
    let (buckets, counts) = buckets.map(|(b, count)| (b.number() as u32, count)).unzip();
    let carried = match flow.carried {
        Carried::Request => wire::FlowCarried::Request,
        Carried::Connection => wire::FlowCarried::Connection,
    };
    let class = match flow.class {
        FlowClass::Success => wire::FlowClass::Success,
        FlowClass::ClientError => wire::FlowClass::ClientError,
        FlowClass::ServerError => wire::FlowClass::ServerError,
        FlowClass::Failed => wire::FlowClass::Failed,
    };
    wire::FlowCount {
        service: Some(to_service_key(&flow.service)),
        cluster: text(|served| served.cluster.to_string()),
        version: text(|served| {
            served
                .version
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()
        }),
        identity: text(|served| served.identity.to_string()),
        carried: carried.into(),
        class: class.into(),
        rerouted: tally.rerouted,
        buckets,
        counts,
    }
}

/// Reads a flow with its counts.
pub fn flow(from: &wire::FlowCount) -> Result<(Flow, Tally), WireError> {
    let served = match parse_optional("flow.cluster", &from.cluster)? {
        None => None,
        Some(cluster) => Some(Served {
            cluster,
            version: parse_optional("flow.version", &from.version)?,
            identity: parse("flow.identity", &from.identity)?,
        }),
    };
    let unknown = |field| WireError::new(field, "is none that is known here");
    let carried = match from.carried() {
        wire::FlowCarried::Request => Carried::Request,
        wire::FlowCarried::Connection => Carried::Connection,
        wire::FlowCarried::Unspecified => return Err(unknown("flow.carried")),
    };
    let class = match from.class() {
        wire::FlowClass::Success => FlowClass::Success,
        wire::FlowClass::ClientError => FlowClass::ClientError,
        wire::FlowClass::ServerError => FlowClass::ServerError,
        wire::FlowClass::Failed => FlowClass::Failed,
        wire::FlowClass::Unspecified => return Err(unknown("flow.class")),
    };
    if from.buckets.len() != from.counts.len() {
        return Err(WireError::new("flow.counts", "are not as many as buckets"));
    }
    let mut tally = Tally {
        rerouted: from.rerouted,
        ..Tally::default()
    };
    for (number, count) in from.buckets.iter().zip(&from.counts) {
        let bucket = LatencyBucket::new(*number).ok_or_else(|| unknown("flow.buckets"))?;
        tally.latencies.add(bucket, *count);
    }
    let flow = Flow {
        service: service_key(from.service.as_ref())?,
        served,
        carried,
        class,
    };
    Ok((flow, tally))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weft_model::fixture::name;

    use super::*;

    fn sample(served: bool, class: FlowClass, carried: Carried) -> (Flow, Tally) {
        let mut tally = Tally {
            rerouted: 3,
            ..Tally::default()
        };
        for millis in [1, 1, 80, 90_000] {
            tally.latencies.record(Duration::from_millis(millis));
        }
        let flow = Flow {
            service: name("shop/checkout"),
            served: served.then(|| Served {
                cluster: name("us-east-1"),
                version: Some(name("v2")),
                identity: "spiffe://us-east-1.fed.example.org/ns/shop/sa/checkout"
                    .parse()
                    .unwrap(),
            }),
            carried,
            class,
        };
        (flow, tally)
    }

    #[test]
    fn a_flow_reads_back_as_it_was_written() {
        for class in [
            FlowClass::Success,
            FlowClass::ClientError,
            FlowClass::ServerError,
            FlowClass::Failed,
        ] {
            for carried in [Carried::Request, Carried::Connection] {
                let (of, tally) = sample(class != FlowClass::Failed, class, carried);
                assert_eq!(flow(&to_flow(&of, &tally)), Ok((of, tally)));
            }
        }
    }

    #[test]
    fn what_is_not_lawful_is_refused_by_name() {
        let check = |change: fn(&mut wire::FlowCount), field: &str| {
            let (of, tally) = sample(true, FlowClass::Success, Carried::Request);
            let mut wrong = to_flow(&of, &tally);
            change(&mut wrong);
            assert_eq!(flow(&wrong).map_err(|error| error.field), Err(field));
        };
        check(|flow| flow.identity.clear(), "flow.identity");
        check(|flow| flow.class = 99, "flow.class");
        check(|flow| flow.carried = 0, "flow.carried");
        check(|flow| flow.buckets[0] = 162, "flow.buckets");
        check(|flow| flow.counts.push(1), "flow.counts");
        check(|flow| flow.service = None, "service");
    }
}
