//! Endpoints of another cluster are reached through a gateway's relay port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use aws_lc_rs::hmac;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use weft_decide::Reason;
use weft_proto::peer::{RelayStream, relay_stream};
use weft_proxy::{RelaySession, SessionId};

use crate::app;
use crate::client::{get, header, text};
use crate::world::{PORT, World, closed_port, remote};

const KEY: [u8; 32] = [9; 32];
const SESSION: SessionId = SessionId([3; 16]);

/// A gateway that accepts lawful preambles and forwards to `to`, or answers `status`.
async fn gateway(to: SocketAddr, status: u8) -> (SocketAddr, Arc<Mutex<Vec<(u64, RelayStream)>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let address = app::tcp(move |mut stream| {
        let record = Arc::clone(&record);
        async move {
            let length = stream.read_u16().await.unwrap();
            let mut frame = vec![0; usize::from(length)];
            stream.read_exact(&mut frame).await.unwrap();
            let (signed, tag) = frame.split_at(frame.len() - 32);
            hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &KEY), signed, tag).unwrap();
            assert_eq!(signed[..16], SESSION.0);
            let counter = u64::from_be_bytes(signed[16..24].try_into().unwrap());
            let target = RelayStream::decode(&signed[24..]).unwrap();
            record.lock().unwrap().push((counter, target));
            stream.write_u8(status).await.unwrap();
            if status == 0 {
                let mut onward = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            }
        }
    })
    .await;
    (address, seen)
}

fn session(relay: SocketAddr) -> Arc<RelaySession> {
    Arc::new(RelaySession::new(relay, SESSION, &KEY))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_endpoint_is_reached_by_its_id() {
    let world = World::new();
    let server = world.remote_server(app::constant(200, "from afar").await, "http");
    let client = world.client();
    client.sees([remote(server.endpoint())]);
    let (relay, seen) = gateway(server.addresses.inbound, 0).await;
    // The first gateway is down: the second takes over.
    client
        .relays
        .store(vec![session(closed_port()), session(relay)]);
    for _ in 0..3 {
        let response = get(client.addresses.outbound).await;
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, "from afar");
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1, "requests share one inner connection");
    let (_, target) = &seen[0];
    assert_eq!(target.port, u32::from(PORT));
    assert_eq!(
        target.target,
        Some(relay_stream::Target::Endpoint(
            server.endpoint().id.0.to_vec().into()
        ))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relays_refusal_reaches_the_client_with_its_reason() {
    let world = World::new();
    let server = world.remote_server(app::constant(200, "from afar").await, "http");
    let client = world.client();
    client.sees([remote(server.endpoint())]);
    let response = get(client.addresses.outbound).await;
    assert_eq!(header(&response, "x-weft-reason"), "no_path");
    for reason in [Reason::NotExported, Reason::NoPath, Reason::Overload] {
        let (relay, _) = gateway(server.addresses.inbound, reason.to_wire()).await;
        client.relays.store(vec![session(relay)]);
        let response = get(client.addresses.outbound).await;
        assert_eq!(response.status(), reason.http_status());
        assert_eq!(header(&response, "x-weft-reason"), reason.label());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_that_just_started_does_not_know_another_does() {
    let world = World::new();
    let server = world.remote_server(app::constant(200, "from afar").await, "http");
    for unknowing in [Reason::NoSuchEndpoint, Reason::NotExported] {
        let client = world.client();
        client.sees([remote(server.endpoint())]);
        let (new, asked) = gateway(server.addresses.inbound, unknowing.to_wire()).await;
        let (old, _) = gateway(server.addresses.inbound, 0).await;
        client.relays.store(vec![session(new), session(old)]);
        assert_eq!(get(client.addresses.outbound).await.status(), 200);
        assert_eq!(asked.lock().unwrap().len(), 1);
    }
}
