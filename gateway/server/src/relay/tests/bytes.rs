//! What goes in comes out, at the reader's pace.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Federation, Limits, Server};
use crate::testing::{PATIENCE, within};

#[tokio::test]
async fn a_slow_reader_holds_the_writer_back_and_loses_nothing() {
    let federation = Federation::new().await;
    for from_far in [false, true] {
        let (client, server) = federation.connection().await;
        let (writer, reader, relay) = match from_far {
            true => (server, client, &federation.far_relay),
            false => (client, server, &federation.near_relay),
        };
        let before = relay.metrics().bytes_out();
        let writing = tokio::spawn(write_pattern(writer, LENGTH));
        // Nobody reads: the relay stops taking once windows and buffers are full.
        let taken = until_still(|| relay.metrics().bytes_out() - before).await;
        assert!(taken < 16 << 20, "{taken} bytes held");
        within("the pattern", read_pattern(reader, LENGTH)).await;
        within("the writer's end", writing).await.unwrap();
    }
}

#[tokio::test]
async fn two_hundred_connections_at_once_keep_apart() {
    let federation = Federation::with(2, Limits::default()).await;
    let port = Server::new().await.echo();
    let connections = (0..200_u32).map(|number| {
        let federation = &federation;
        async move {
            let mut tcp = federation.connect(port).await.unwrap();
            for round in 0..20 {
                exchange(&mut tcp, number, round).await;
            }
        }
    });
    within("all echoes", join_all(connections)).await;
}

/// Sends what no other connection and round sends, and expects it back.
pub(super) async fn exchange(tcp: &mut TcpStream, number: u32, round: u32) {
    let said: Vec<u8> = [number.to_be_bytes(), round.to_be_bytes()]
        .concat()
        .repeat(32);
    tcp.write_all(&said).await.unwrap();
    let mut heard = vec![0; said.len()];
    tcp.read_exact(&mut heard).await.unwrap();
    assert!(heard == said, "connection {number}, round {round}");
}

async fn write_pattern(mut tcp: TcpStream, length: usize) {
    let mut written = 0;
    while written < length {
        let piece: Vec<u8> = (written..(written + PIECE).min(length)).map(byte).collect();
        tcp.write_all(&piece).await.unwrap();
        written += piece.len();
    }
    tcp.shutdown().await.unwrap();
    // Closed only after the reader has everything.
    let _ = tcp.read(&mut [0]).await;
}

async fn read_pattern(mut tcp: TcpStream, length: usize) {
    let (mut read, mut piece) = (0, vec![0; PIECE]);
    loop {
        let n = tcp.read(&mut piece).await.unwrap();
        if n == 0 {
            break;
        }
        let right = piece[..n].iter().zip(read..).all(|(b, at)| *b == byte(at));
        assert!(right, "in the {n} bytes from {read} on");
        read += n;
    }
    assert_eq!(read, length);
}

/// The byte at a place: no period that a buffer's size could hide.
fn byte(at: usize) -> u8 {
    let at = at as u64;
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Waits until `value`, once it has begun to rise, rises no more.
async fn until_still(value: impl Fn() -> u64) -> u64 {
    let patience = Instant::now() + PATIENCE;
    let (mut last, mut since) = (value(), Instant::now());
    while last == 0 || since.elapsed() < STILL {
        assert!(Instant::now() < patience, "it never stood still");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = value();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

const LENGTH: usize = 64 << 20;
const PIECE: usize = 64 << 10;
const STILL: Duration = Duration::from_millis(500);
