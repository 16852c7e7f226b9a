//! What sidecars report of their traffic.

use std::time::Duration;

use weft_model::fixture::name;
use weft_model::{Carried, Flow, FlowClass, Served};
use weft_proxy::Traffic;

use super::{EU, Gateway, checkout, gateway, identity, sidecar, until};

fn count(traffic: &Traffic, requests: u64) {
    for request in 0..requests {
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
        traffic.count(flow, Duration::from_millis(request % 100));
    }
}

/// Requests that a gateway has heard of, all of them from the one sidecar.
fn heard(gateway: &Gateway) -> u64 {
    let handle = &gateway.handle;
    let span = Duration::from_secs(300);
    let window = handle.observatory().window(handle.now(), span);
    assert!(window.rows.iter().all(|row| row.source == identity(EU)));
    window.rows.iter().map(|row| row.tally.count()).sum()
}

#[tokio::test]
async fn one_gateway_is_told_each_request_once_and_another_one_when_it_is_gone() {
    let gateways = [
        gateway(EU, "gw-1", None, None).await,
        gateway(EU, "gw-2", None, None).await,
    ];
    let traffic = Traffic::default();
    let client = sidecar(EU, &[&gateways[0], &gateways[1]], None);
    client.report(traffic.clone());
    count(&traffic, 1000);
    let told = until("the first requests are reported", || {
        let heard = [heard(&gateways[0]), heard(&gateways[1])];
        assert!(heard.contains(&0), "both are told: {heard:?}");
        heard.iter().position(|requests| *requests == 1000)
    })
    .await;

    let mut gateways = Vec::from(gateways);
    drop(gateways.remove(told));
    let other = gateways.remove(0);
    // What is on its way to a gateway that dies is lost: only what is counted later must arrive.
    until("the other one is told", || {
        count(&traffic, 1);
        (heard(&other) > 0).then_some(())
    })
    .await;
    let before = heard(&other);
    count(&traffic, 500);
    until("the next requests are reported", || {
        (heard(&other) >= before + 500).then_some(())
    })
    .await;
}
