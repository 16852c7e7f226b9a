//! Clamps among gateways.

use weft_model::fixture::name;
use weft_model::{Clamp, ClampId, Index, Percent, WallTime};

use super::{EU, US, join, start, until};
use crate::catalog::CatalogHandle;

/// A clamp that gateway `gw` of `cluster` made for callers of `region`.
fn clamp(id: u8, cluster: &str, region: &str) -> Clamp {
    Clamp {
        id: ClampId([id; 16]),
        release: name("shop/v2"),
        // A run that none of these replicas has seen.
        run: Index(1_000_000),
        region: name(region),
        cluster: name(cluster),
        gateway: name("gw"),
        weight: Percent::NONE,
        made: WallTime(1),
        by: name("ana"),
    }
}

async fn make(gateway: &CatalogHandle, clamp: Clamp) {
    let federation = gateway.surroundings().federation;
    let made = gateway.clamps().make(clamp, &federation).await;
    made.unwrap();
}

fn known(gateway: &CatalogHandle) -> Vec<u8> {
    let known = gateway.clamps().known();
    known.iter().map(|clamp| clamp.id.0[0]).collect()
}

#[tokio::test]
async fn a_clamp_reaches_every_gateway_at_connect_and_on_change() {
    let (us, eu) = (start(US, "gw", None).0, start(EU, "gw", None).0);
    make(&eu, clamp(1, EU, "eu-west")).await;
    let linked = join(&eu, &us);
    until("told at connect", || (known(&us) == [1]).then_some(())).await;
    make(&eu, clamp(2, EU, "eu-west")).await;
    until("told on change", || (known(&us) == [1, 2]).then_some(())).await;
    linked.abort();
    let ap = start("ap-south-1", "gw", None).0;
    let _linked = join(&us, &ap);
    make(&us, clamp(3, US, "us-east")).await;
    until("it tells of its own, and of no other", || {
        (known(&ap) == [3]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_gateway_lowers_another_region() {
    let (us, eu) = (start(US, "gw", None).0, start(EU, "gw", None).0);
    make(&us, clamp(1, US, "eu-west")).await;
    make(&us, clamp(2, EU, "eu-west")).await;
    make(&us, clamp(3, US, "us-east")).await;
    let _linked = join(&eu, &us);
    until("what is its own arrives", || {
        (!known(&eu).is_empty()).then_some(())
    })
    .await;
    assert_eq!(known(&eu), [3]);
}
