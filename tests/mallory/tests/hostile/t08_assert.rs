//! T8: the identity of another cluster's caller, asserted by her.

use anyhow::{Context, Result, ensure};
use prost::Message;
use serde_json::json;
use weft_mallory::CLUSTER;
use weft_proto::catalog as wire;

use crate::Stage;

/// In what she reports of traffic: only callers of her own cluster count.
pub(crate) fn edges(stage: &Stage<'_>) -> Result<()> {
    let own = "spiffe://mallory-1.dev.weft.internal/ns/evil/sa/own";
    let others = [
        "spiffe://us-east-1.dev.weft.internal/ns/shop/sa/web",
        "spiffe://eu-west-1.dev.weft.internal/gateway/gw-1",
        "spiffe://dev.weft.internal/user/eyes",
    ];
    let row = |source: &str| wire::SourceFlow {
        source: source.into(),
        flow: Some(wire::FlowCount {
            service: Some(wire::ServiceKey {
                namespace: "shop".into(),
                name: "payments".into(),
            }),
            cluster: "us-east-1".into(),
            version: "v1".into(),
            identity: "spiffe://us-east-1.dev.weft.internal/ns/shop/sa/payments".into(),
            carried: wire::FlowCarried::Request.into(),
            class: wire::FlowClass::ServerError.into(),
            rerouted: 0,
            buckets: vec![100],
            counts: vec![1_000_000],
        }),
    };
    let window = wire::Window {
        cluster: "us-east-1".into(),
        gateway: "gw-1".into(),
        covered_ms: 300_000,
        rows: others.into_iter().chain([own]).map(row).collect(),
        left_out: u64::MAX,
        age_ms: Some(0),
    };
    stage.mallory.lie("observe.window", window.encode_to_vec());
    let asked = json!({ "windowMs": 300_000 });
    let edges = stage.victims.question("us-east-1/gw-1", "edges", &asked)?;
    let edges = edges["items"].as_array().context("edges")?;
    let from_her: Vec<_> = edges
        .iter()
        .filter(|edge| edge["sourceCluster"] == CLUSTER)
        .collect();
    ensure!(!from_her.is_empty(), "not even her own: {edges:?}");
    for edge in from_her {
        ensure!(edge["sourceIdentity"] == own, "{edge}");
    }
    Ok(())
}
