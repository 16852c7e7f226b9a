//! T6: more traffic than is hers: a name that others serve too, and numbers without measure.

use anyhow::{Context, Result, ensure};
use rand::random;
use serde_json::{Value, json};
use weft_mallory::{CLUSTER, GATEWAYS};
use weft_model::{Command, EndpointId, ServiceKey};
use weft_proto::catalog as wire;
use weft_proto::catalog::peer_frame::Frame;
use weft_test_support::{SOON, eventually};

use crate::Stage;
use crate::t01_owner::{VICTIM, endpoint, export, hello};

/// Requests to each victim's service while she offers the same.
const REQUESTS: usize = 10;

/// Whoever has endpoints near by goes on using them; where she is, an administrator said, and how
/// far, each measures.
pub(crate) fn weights(stage: &Stage<'_>) -> Result<()> {
    let (mallory, loot) = (&stage.mallory, &stage.mallory.loot);
    let key: ServiceKey = "shop/checkout".parse()?;
    let put = Command::PutExport(CLUSTER.parse()?, key.clone(), Box::new(export()?));
    mallory.await_index(mallory.propose(loot.sign(loot.author(), 1 << 45, put))?)?;
    let identity = "spiffe://mallory-1.dev.weft.internal/ns/shop/sa/checkout";
    let mut streams = Vec::new();
    for (cluster, gateway) in GATEWAYS {
        let mut stream = mallory.open_catalog(mallory.node_of(cluster, gateway)?)?;
        mallory.tell(&mut stream, Frame::Hello(hello(CLUSTER)))?;
        mallory.tell(&mut stream, Frame::Snapshot(wire::SnapshotBegin::default()))?;
        // T1: the first is under an id of a victim's, of which nobody has heard. It is not taken.
        let theirs = EndpointId::of_cluster(&VICTIM.parse()?, random()).0;
        let own = std::iter::repeat_with(random::<[u8; 16]>).take(20);
        for id in std::iter::once(theirs).chain(own) {
            let heavy = wire::Endpoint {
                weight: u32::MAX,
                ..endpoint(id.to_vec(), CLUSTER, "checkout", identity)
            };
            mallory.tell(&mut stream, Frame::Endpoint(heavy))?;
        }
        let row = |zone: &str, service: &str| wire::DigestRow {
            service: Some(wire::ServiceKey {
                namespace: "shop".into(),
                name: service.into(),
            }),
            zone: zone.into(),
            ready: u32::MAX,
            capacity: u64::MAX,
            ..wire::DigestRow::default()
        };
        let rows = [
            ("a", "checkout"),
            ("b", "checkout"),
            ("a", "payments"),
            ("b", "payments"),
        ];
        let digest = wire::Digest {
            rows: rows.map(|(zone, service)| row(zone, service)).into(),
        };
        mallory.tell(&mut stream, Frame::Digest(digest))?;
        streams.push(stream);
        let at = format!("{cluster}/{gateway}");
        eventually("her endpoints are listed", SOON, || {
            let asked = json!({ "service": "shop/checkout" });
            let listed = stage.victims.question(&at, "endpoints", &asked)?;
            let items = listed["items"].as_array().cloned().unwrap_or_default();
            let hers = items
                .iter()
                .filter(|item| item["cluster"] == CLUSTER)
                .count();
            ensure!(hers == 20, "{hers} of hers");
            Ok(())
        })?;
        // What she counts of services that she does not offer counts nowhere.
        let services = stage.victims.question(&at, "services", &json!({}))?;
        let items = services["items"].as_array().context("services")?;
        let payments = items
            .iter()
            .find(|service| service["name"] == "shop/payments");
        let payments = payments.context("payments")?;
        ensure!(!payments.to_string().contains(CLUSTER), "{payments}");
    }
    for (cluster, region) in [("us-east-1", "us-east"), ("eu-west-1", "eu-west")] {
        let web = stage.dev.workload(cluster, "shop/web")?;
        for _ in 0..REQUESTS {
            let answer = stage.dev.curl(&web, "http://checkout.shop/")?;
            let answer: Value = serde_json::from_str(&answer)?;
            ensure!(answer["region"] == region, "from {cluster}: {answer}");
        }
    }
    let gone = Command::DeleteExport(CLUSTER.parse()?, key);
    mallory.await_index(mallory.propose(loot.sign(loot.author(), (1 << 45) + 1, gone))?)
}
