//! FIN is FIN, RST is RST, in both directions and one direction at a time.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Federation;
use crate::testing::{eventually, within};

#[tokio::test]
async fn either_side_may_end_first_and_still_listen() {
    let federation = Federation::new().await;
    for far_first in [false, true] {
        let (client, server) = federation.connection().await;
        let (mut first, mut second) = match far_first {
            true => (server, client),
            false => (client, server),
        };
        first.write_all(b"question").await.unwrap();
        first.shutdown().await.unwrap();
        assert_eq!(rest(&mut second).await, b"question");
        second.write_all(b"answer, after the end").await.unwrap();
        second.shutdown().await.unwrap();
        assert_eq!(rest(&mut first).await, b"answer, after the end");
    }
    all_closed(&federation).await;
}

#[tokio::test]
async fn a_reset_crosses_in_both_directions() {
    let federation = Federation::new().await;
    for from_far in [false, true] {
        let (client, server) = federation.connection().await;
        let (resets, mut sees) = match from_far {
            true => (server, client),
            false => (client, server),
        };
        reset(resets);
        assert_reset(&mut sees).await;
    }
    all_closed(&federation).await;
}

#[tokio::test]
async fn a_reset_crosses_after_the_resetting_side_has_ended() {
    let federation = Federation::new().await;
    for from_far in [false, true] {
        let (client, server) = federation.connection().await;
        let (mut resets, mut sees) = match from_far {
            true => (server, client),
            false => (client, server),
        };
        resets.shutdown().await.unwrap();
        assert_eq!(rest(&mut sees).await, b"");
        reset(resets);
        // Nothing is left to read, so the reset shows when writing, at the latest.
        eventually("the reset", || {
            matches!(sees.take_error(), Ok(Some(_))) || sees.try_write(b"x").is_err()
        })
        .await;
    }
    all_closed(&federation).await;
}

#[tokio::test]
async fn a_reset_crosses_after_the_other_side_has_ended() {
    let federation = Federation::new().await;
    for from_far in [false, true] {
        let (client, server) = federation.connection().await;
        let (mut resets, mut sees) = match from_far {
            true => (server, client),
            false => (client, server),
        };
        sees.shutdown().await.unwrap();
        assert_eq!(rest(&mut resets).await, b"");
        reset(resets);
        assert_reset(&mut sees).await;
    }
    all_closed(&federation).await;
}

async fn rest(tcp: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    within("the end", tcp.read_to_end(&mut rest)).await.unwrap();
    rest
}

fn reset(tcp: TcpStream) {
    let socket = socket2::SockRef::from(&tcp);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

async fn assert_reset(tcp: &mut TcpStream) {
    let read = within("the reset", tcp.read(&mut [0; 16])).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

async fn all_closed(federation: &Federation) {
    eventually("no relayed connection is open", || {
        federation.near_relay.metrics().open() == 0 && federation.far_relay.metrics().open() == 0
    })
    .await;
}
