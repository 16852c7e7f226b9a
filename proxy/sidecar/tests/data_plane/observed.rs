//! What a sidecar counts of what it sends, and what it shows to who asks.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_model::{FlowClass, TapFilter};
use weft_proxy::{Seen, TapId, Value};

use crate::app;
use crate::client::{HOST, call, get, request, text};
use crate::world::{Side, World, closed_port, local, unique, until};

/// Requests by class, with those that went to another endpoint than the first one chosen.
fn counted(client: &Side) -> BTreeMap<FlowClass, (u64, u64)> {
    let mut sums = BTreeMap::new();
    for (flow, tally) in client.metrics.traffic().take().flows {
        assert_eq!(flow.service.to_string(), "shop/checkout");
        assert_eq!(flow.served.is_none(), flow.class == FlowClass::Failed);
        let (count, rerouted) = sums.entry(flow.class).or_default();
        *count += tally.count();
        *rerouted += tally.rerouted;
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_counted_once_as_its_client_saw_it() {
    let world = World::new();
    let good = world.server(app::constant(200, "good").await, "http");
    let client = world.client();
    let mut gone = good.endpoint();
    gone.id.0 = unique();
    gone.address = Some(closed_port());
    client.sees([local(good.endpoint()), local(gone)]);
    for _ in 0..30 {
        let answer = call(client.addresses.outbound, request("POST", "/", "once")).await;
        assert_eq!(text(answer).await, "good");
    }
    let sums = counted(&client);
    assert_eq!(sums.keys().collect::<Vec<_>>(), [&FlowClass::Success]);
    let (count, rerouted) = sums[&FlowClass::Success];
    assert_eq!(count, 30);
    assert!((1..30).contains(&rerouted), "{rerouted} rerouted");
    assert_eq!(counted(&client), BTreeMap::new(), "told once");

    client.sees([]);
    assert_eq!(get(client.addresses.outbound).await.status(), 503);
    assert_eq!(counted(&client), [(FlowClass::Failed, (1, 0))].into());
    for (status, class) in [(404, FlowClass::ClientError), (500, FlowClass::ServerError)] {
        let server = world.server(app::constant(status, "bad").await, "http");
        client.sees([local(server.endpoint())]);
        let answer = call(client.addresses.outbound, request("POST", "/", "")).await;
        assert_eq!(answer.status(), status);
        assert_eq!(counted(&client), [(class, (1, 0))].into());
    }
}

/// What the one open tap saw.
fn shown(client: &Side) -> Seen {
    let mut taps = client.metrics.traffic().taps().take("test");
    assert_eq!(taps.len(), 1);
    taps.remove(0).1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_shows_who_answered_or_why_nobody_did() {
    let world = World::new();
    let server = world.server(app::constant(200, "good").await, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let taps = client.metrics.traffic().taps();
    let ask = async |path: &str| {
        let request = http::Request::get(path)
            .header("host", HOST)
            .header("authorization", "Bearer secret")
            .header("user-agent", "test")
            .body(http_body_util::Full::from(""))
            .unwrap();
        call(client.addresses.outbound, request).await.status()
    };
    assert_eq!(ask("/unseen").await, 200);
    let filter = TapFilter {
        path: Some("/pay".to_owned()),
        ..TapFilter::default()
    };
    taps.open(TapId([1; 16]), filter, "test", Duration::from_secs(60));
    assert_eq!(ask("/pay?card=4111").await, 200);
    assert_eq!(ask("/other").await, 200);
    client.sees([]);
    assert_eq!(ask("/pay").await, 503);

    let mut seen = Seen::default();
    until("both are shown", || {
        let more = shown(&client);
        seen.events.extend(more.events);
        seen.events.len() >= 2
    })
    .await;
    let [answered, refused] = &seen.events[..] else {
        panic!("{seen:?}");
    };
    let served = answered.served.as_ref().unwrap();
    assert_eq!(served.endpoint, server.endpoint().id);
    assert_eq!((answered.status, answered.path.as_str()), (200, "/pay"));
    assert_eq!(answered.host, HOST);
    assert_eq!((refused.status, &refused.served), (503, &None));
    assert_eq!(refused.reason.as_deref(), Some("no_endpoints"));
    let service = refused.service.as_ref().unwrap();
    assert_eq!(service.to_string(), "shop/checkout");
    let told = |name: &str| {
        let header = answered.headers.iter().find(|header| header.name == name);
        header.unwrap().value.clone()
    };
    assert_eq!(told("user-agent"), Value::Told("test".to_owned()));
    assert_eq!(told("authorization"), Value::Redacted);
}
