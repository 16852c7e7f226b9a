//! What gateways ask one another of what they observe, and answer, with its bytes changed: read or
//! refused, and no panic.

use bytes::Bytes;
use prost::Message;
use weft_model::{Carried, Flow, FlowClass, Served, Tally, TapFilter};
use weft_mutants::Decoder;
use weft_plan::traffic::{Heard, Regions, edges, regions, services};
use weft_proto::catalog as wire;
use weft_proxy::catalog::{filter, tap_id, to_filter, to_flow};

use super::observatory::heard;
use super::tap::reading;

const SOURCE: &str = "spiffe://eu-west-1.fed.example.org/ns/shop/sa/web";

fn window() -> wire::Window {
    let flow = Flow {
        service: "shop/checkout".parse().unwrap(),
        served: Some(Served {
            cluster: "us-east-1".parse().unwrap(),
            version: Some("v2".parse().unwrap()),
            identity: "spiffe://us-east-1.fed.example.org/ns/shop/sa/checkout"
                .parse()
                .unwrap(),
        }),
        carried: Carried::Request,
        class: FlowClass::ServerError,
    };
    let mut tally = Tally {
        rerouted: 3,
        ..Tally::default()
    };
    tally.latencies.record(std::time::Duration::from_millis(80));
    let row = wire::SourceFlow {
        source: SOURCE.into(),
        flow: Some(to_flow(&flow, &tally)),
    };
    wire::Window {
        cluster: "eu-west-1".into(),
        gateway: "gw".into(),
        covered_ms: 60_000,
        age_ms: Some(900),
        rows: vec![row.clone(), row],
        left_out: 4,
    }
}

fn tapped() -> wire::TapAnswer {
    let event = wire::TapEvent {
        at_ms: 1_700_000_000_123,
        latency_us: 80_000,
        method: "GET".into(),
        host: "checkout.shop".into(),
        path: "/pay".into(),
        status: 503,
        reason: "no_endpoint".into(),
        ..wire::TapEvent::default()
    };
    wire::TapAnswer {
        events: vec![wire::SentEvent {
            source: SOURCE.into(),
            event: Some(event),
        }],
        dropped: 7,
    }
}

/// All sums over it, with a second window of the same.
fn summed(heard: &Heard) {
    let both = [heard.clone(), heard.clone()];
    let places = [("eu-west-1", "eu-west"), ("us-east-1", "us-east")];
    let places =
        places.map(|(cluster, region)| (cluster.parse().unwrap(), region.parse().unwrap()));
    let places = Regions::from(places);
    let sums = services(&both, &places).into_iter().map(|it| it.sum);
    let sums = sums.chain(regions(&both, &places).into_iter().map(|it| it.sum));
    let sums = sums.chain(edges(&both, &places).into_iter().map(|it| it.sum));
    for sum in sums {
        let _ = (sum.success(), sum.local_share(), sum.rerouted_share());
    }
}

#[test]
fn no_mutant_of_what_is_observed_panics() {
    let question = wire::TapQuestion {
        id: vec![4; 16].into(),
        filter: Some(to_filter(&TapFilter {
            service: Some("shop/checkout".parse().unwrap()),
            clusters: Some(["eu-west-1".parse().unwrap()].into()),
            status: Some("5xx".parse().unwrap()),
            method: Some("GET".into()),
            path: Some("/pay".into()),
        })),
    };
    weft_mutants::check(&[
        Decoder::new("a window", [window().encode_to_vec()], |bytes| {
            let window = wire::Window::decode(bytes).map_err(|error| error.to_string())?;
            let (cluster, gateway) = ("eu-west-1".parse().unwrap(), "gw".parse().unwrap());
            let heard = heard(cluster, gateway, &window).map_err(|error| error.to_string())?;
            summed(&heard);
            Ok::<_, String>(())
        }),
        Decoder::new("an answer of a tap", [tapped().encode_to_vec()], |bytes| {
            reading(Bytes::copy_from_slice(bytes))
        }),
        Decoder::new(
            "a question for a tap",
            [question.encode_to_vec()],
            |bytes| {
                let wanted = wire::TapQuestion::decode(bytes).map_err(|error| error.to_string())?;
                tap_id(&wanted.id).map_err(|error| error.to_string())?;
                filter(&wanted.filter.unwrap_or_default()).map_err(|error| error.to_string())
            },
        ),
    ]);
}
