//! Every refusal has its code.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{FORBIDDEN, Federation, Limits, SELF, Server, UNKNOWN, UNREACHABLE, preamble};
use crate::relay::Reason;
use crate::testing::{eventually, within};

#[tokio::test]
async fn targets_are_refused_by_name() {
    let federation = Federation::new().await;
    let check = async |port: u32, expect| {
        let refused = federation.connect(u16::try_from(port).unwrap()).await;
        assert_eq!(refused.map(drop), Err(expect), "port {port}");
    };
    check(FORBIDDEN, Reason::NotExported).await;
    check(UNREACHABLE, Reason::NoPath).await;
    check(UNKNOWN, Reason::NoSuchEndpoint).await;
    // The address of an endpoint is a loopback one, and the far gateway wants none.
    check(SELF, Reason::NoSuchEndpoint).await;
    let closed = Server::new().await.port;
    check(u32::from(closed), Reason::ConnectFailed).await;
}

#[tokio::test]
async fn a_preamble_counts_once() {
    let federation = Federation::new().await;
    let port = Server::new().await.echo();
    let first = preamble(70, port);
    federation.say(&first).await.unwrap();
    let replayed = federation.say(&first).await;
    assert_eq!(replayed.map(drop), Err(Reason::BadPreamble));
    // One that was overtaken still counts.
    federation.say(&preamble(69, port)).await.unwrap();

    let mut forged = preamble(71, port).to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let refused = federation.say(&forged).await;
    assert_eq!(refused.map(drop), Err(Reason::BadPreamble));
    // The forgery has not used up the counter.
    federation.say(&preamble(71, port)).await.unwrap();

    let mut stranger = preamble(72, port).to_vec();
    stranger[2] ^= 1;
    let refused = federation.say(&stranger).await;
    assert_eq!(refused.map(drop), Err(Reason::BadPreamble));
    let refused = federation.say(&[0xff, 0xff]).await;
    assert_eq!(refused.map(drop), Err(Reason::BadPreamble));
}

#[tokio::test]
async fn what_was_said_too_early_does_not_eat_the_reason() {
    let federation = Federation::new().await;
    let mut said = preamble(0, u16::try_from(FORBIDDEN).unwrap()).to_vec();
    said.extend([0; 30_000]);
    let refused = federation.say(&said).await;
    assert_eq!(refused.map(drop), Err(Reason::NotExported));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_until_one_ends() {
    let limits = Limits {
        total: 3,
        per_cluster: 2,
    };
    let federation = Federation::with(1, limits).await;
    let port = Server::new().await.echo();
    let first = federation.connect(port).await.unwrap();
    let _second = federation.connect(port).await.unwrap();
    let third = federation.connect(port).await;
    assert_eq!(third.map(drop), Err(Reason::Overload));
    drop(first);
    eventually("one has ended", || {
        federation.near_relay.metrics().open() == 1 && federation.far_relay.metrics().open() == 1
    })
    .await;
    federation.connect(port).await.unwrap();
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() {
    let federation = Federation::new().await;
    let connected = Instant::now();
    let address = federation.near_relay.local_addr();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(&[0]).await.unwrap();
    let status = within("the answer", tcp.read_u8()).await.unwrap();
    assert_eq!(Reason::from_wire(status), Err(Reason::Timeout));
    assert!(connected.elapsed() >= Duration::from_secs(5));
}
