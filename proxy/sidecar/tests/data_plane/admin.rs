//! The admin port tells health, readiness, metrics and the table.

use crate::app;
use crate::client::{HOST, call, get, request, text};
use crate::world::{World, local, remote};

#[tokio::test(flavor = "multi_thread")]
async fn the_table_says_why_an_endpoint_takes_no_work() {
    let world = World::new();
    let server = world.server(app::constant(200, "ok").await, "http");
    let intruder = world.server_as("intruder", app::constant(200, "ok").await, "http");
    let client = world.client();
    let ask = async |path: &'static str| {
        let mut request = request("GET", path, "");
        request
            .headers_mut()
            .insert("host", "localhost".parse().unwrap());
        let response = call(client.sidecar.admin(), request).await;
        (response.status().as_u16(), text(response).await)
    };
    assert_eq!(ask("/healthz").await.0, 200);
    assert_eq!(ask("/readyz").await.0, 503);
    client.sees([
        local(server.endpoint()),
        local(intruder.endpoint()),
        remote(world.remote_server(app::echo().await, "http").endpoint()),
    ]);
    assert_eq!(ask("/readyz").await.0, 200);
    assert_eq!(ask("/nothing").await.0, 404);
    get(client.addresses.outbound).await;
    let (_, metrics) = ask("/metrics").await;
    assert!(metrics.contains("weft_registry_applied_index 1"));
    assert!(metrics.contains(&format!("destination_service=\"{HOST}\"")));
    let (_, dump) = ask("/config").await;
    let dump: serde_json::Value = serde_json::from_str(&dump).unwrap();
    assert_eq!(dump["appliedIndex"], 1);
    let endpoints = dump["services"][0]["ports"][0]["endpoints"]
        .as_array()
        .unwrap();
    let told: Vec<_> = endpoints
        .iter()
        .map(|e| (e["level"].as_str().unwrap(), e["refused"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("same-cluster", None),
            (
                "same-cluster",
                Some("its identity may not serve this service")
            ),
            ("other-region", None),
        ]
    );
}
