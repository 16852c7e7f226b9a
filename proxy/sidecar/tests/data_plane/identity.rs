//! An endpoint must prove the identity that its record says.

use crate::app;
use crate::client::{get, header};
use crate::world::{World, local};

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_with_another_identity_gets_nothing() {
    let world = World::new();
    let intruder = world.server_as("intruder", app::constant(200, "stolen").await, "http");
    let client = world.client();
    let mut claimed = intruder.endpoint();
    claimed.identity = "spiffe://eu-west-1.fed.example.org/ns/shop/sa/checkout"
        .parse()
        .unwrap();
    client.sees([local(claimed)]);
    let response = get(client.addresses.outbound).await;
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "x-weft-reason"), "identity_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_may_not_serve_is_never_tried() {
    let world = World::new();
    let intruder = world.server_as("intruder", app::constant(200, "stolen").await, "http");
    let client = world.client();
    client.sees([local(intruder.endpoint())]);
    let response = get(client.addresses.outbound).await;
    assert_eq!(header(&response, "x-weft-reason"), "no_endpoints");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_known_identity_is_refused() {
    let world = World::new();
    let stranger = World::new();
    let server = world.server(app::constant(200, "secret").await, "http");
    let client = stranger.client();
    client.sees([local(server.endpoint())]);
    let response = get(client.addresses.outbound).await;
    assert_eq!(response.status(), 503);
}
