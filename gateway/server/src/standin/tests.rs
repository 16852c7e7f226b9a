//! Clients and servers without a sidecar, over real TCP on loopback.

mod captured;
mod remote;
mod servers;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weft_model::fixture::{export, name};
use weft_model::{AppProtocol, Command, Health, ServiceType, ServingIdentity};

use super::Word;
use super::fixture::{
    FOREIGN_RANGE, Plan, World, converse, loopback_range, own_id, set_range, tcp_check,
    try_converse,
};
use crate::testing::{eventually, within};
use servers::{Server, http_server, tcp_server};

/// client ─> virtual IP ═ inner mTLS ═> front ─> server, all of one gateway. The
/// server answers after the client has ended its side.
#[tokio::test]
async fn tcp_goes_through_with_both_ends_apart() {
    let server = tcp_server().await;
    let mut world = World::start(Plan::new());
    world.export("shop/echo", AppProtocol::Tcp, 7000);
    world.entry("echo-1", "shop/echo", server.at, Vec::new());
    world.until_ready("shop/echo", 1).await;
    let answer = converse(world.virtual_address("shop/echo"), b"hello").await;
    assert_eq!(answer, b"hello, 5 bytes");
    let bulk = vec![b'x'; 3 << 20];
    let answer = converse(world.virtual_address("shop/echo"), &bulk).await;
    assert!(answer.starts_with(&bulk) && answer.ends_with(b", 3145728 bytes"));
}

#[tokio::test]
async fn http_goes_through_and_says_who_calls() {
    let server = http_server().await;
    let mut world = World::start(Plan::new());
    world.export("shop/web", AppProtocol::Http, 80);
    world.entry("web-1", "shop/web", server.at, Vec::new());
    world.until_ready("shop/web", 1).await;
    let answer = get(world.virtual_address("shop/web"), "/basket").await;
    assert!(answer.contains("GET /basket"), "{answer}");
    let caller = format!("URI={}", own_id());
    let front = format!("By={}/for/ns/shop/sa/web", own_id());
    assert!(
        answer.contains(&caller) && answer.contains(&front),
        "{answer}"
    );
}

/// Asks until the answer is a good one: until then there may be no listener, or no endpoint.
async fn get(at: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: anything\r\nconnection: close\r\n\r\n");
    let answered = async {
        loop {
            if let Ok(mut tcp) = TcpStream::connect(at).await {
                let mut answer = String::new();
                if tcp.write_all(request.as_bytes()).await.is_ok()
                    && tcp.read_to_string(&mut answer).await.is_ok()
                    && answer.starts_with("HTTP/1.1 200")
                {
                    return answer;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("a good answer", answered).await
}

/// Each identity has an address of its own; callers check who answers there.
#[tokio::test]
async fn two_services_are_fronted_under_two_identities() {
    let (echo, web) = (tcp_server().await, tcp_server().await);
    let mut world = World::start(Plan::new());
    world.export("shop/echo", AppProtocol::Tcp, 7000);
    world.export("shop/other", AppProtocol::Tcp, 7000);
    world.entry("echo-1", "shop/echo", echo.at, Vec::new());
    world.entry("echo-2", "shop/echo", echo.at, Vec::new());
    world.entry("other-1", "shop/other", web.at, Vec::new());
    world.until_ready("shop/echo", 2).await;
    world.until_ready("shop/other", 1).await;
    for service in ["shop/echo", "shop/other"] {
        converse(world.virtual_address(service), b"hello").await;
    }
    let view = world.view.borrow().clone();
    let endpoints = |key: &str| view.service(&name(key)).unwrap().endpoints.clone();
    let (echo, other) = (endpoints("shop/echo"), endpoints("shop/other"));
    assert_eq!(echo[0].address, echo[1].address);
    assert_ne!(echo[0].address, other[0].address);
    assert_ne!(echo[0].identity, other[0].identity);
    assert_ne!(echo[0].id, echo[1].id);
}

#[tokio::test]
async fn listeners_follow_what_is_exported() {
    let server = tcp_server().await;
    let mut world = World::start(Plan::new());
    world.export("shop/echo", AppProtocol::Tcp, 7000);
    world.entry("echo-1", "shop/echo", server.at, Vec::new());
    let at = world.virtual_address("shop/echo");
    converse(at, b"hello").await;

    let gone = Command::DeleteExport(world.cluster.clone(), name("shop/echo"));
    world.write(gone);
    world.until_ready("shop/echo", 0).await;
    world.until_followed().await;
    until_refused(at).await;
    assert_eq!(world.stand_in.status().borrow().fronted, 0);

    world.export("shop/echo", AppProtocol::Tcp, 7001);
    assert_eq!(world.virtual_address("shop/echo").port(), 7001);
    converse(world.virtual_address("shop/echo"), b"hello").await;
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_is_reported_and_tried_again() {
    let server = tcp_server().await;
    let mut plan = Plan::new();
    set_range(&mut plan.log, FOREIGN_RANGE);
    let mut world = World::start(plan);
    world.export("shop/echo", AppProtocol::Tcp, 7000);
    world.entry("echo-1", "shop/echo", server.at, Vec::new());
    let foreign = world.virtual_address("shop/echo");
    let mut status = world.stand_in.status();
    let unbound = vec![(foreign, ErrorKind::AddrNotAvailable)];
    let reported = status.wait_for(|status| status.unbound == unbound);
    drop(within("the failure is reported", reported).await.unwrap());

    set_range(&mut world.log, &loopback_range());
    world.publish();
    converse(world.virtual_address("shop/echo"), b"hello").await;
    let clear = status.wait_for(|status| status.unbound.is_empty());
    drop(within("the failure is over", clear).await.unwrap());
}

#[tokio::test]
async fn a_server_that_fails_its_check_gets_no_work_until_it_returns() {
    let server = tcp_server().await;
    let at = server.at;
    let mut world = World::start(Plan::new());
    world.export("shop/echo", AppProtocol::Tcp, 7000);
    world.entry("echo-1", "shop/echo", at, vec![tcp_check(at)]);
    world.until_ready("shop/echo", 1).await;
    let virtual_address = world.virtual_address("shop/echo");
    converse(virtual_address, b"hello").await;

    server.stop().await;
    world.until_ready("shop/echo", 0).await;
    world.until_followed().await;
    let refused = try_converse(virtual_address, b"hello").await;
    assert!(refused.is_err(), "{refused:?}");
    let words = world.words.lock().unwrap().clone();
    let last = words.into_iter().rev().find_map(|(word, _)| match word {
        Word::Put(endpoint) => Some(endpoint),
        _ => None,
    });
    let why = last.and_then(|endpoint| endpoint.unready).unwrap();
    assert!(why.as_str().contains("refused"), "{}", why.as_str());

    let _server = Server::at(at).await;
    world.until_ready("shop/echo", 1).await;
    converse(virtual_address, b"hello").await;
}

/// The catalog refuses the entry until the service names the entry's account.
#[tokio::test]
async fn what_the_catalog_refuses_is_told_again() {
    let server = tcp_server().await;
    let mut world = World::start(Plan::new());
    let mut spec = export(ServiceType::ClusterSetIP, "main", AppProtocol::Tcp, 7000);
    let account = |account: &str| ServingIdentity {
        namespace: name("shop"),
        account: name(account),
    };
    spec.identities = [account("another")].into();
    world.log.export(1, "shop/echo", &spec);
    world.publish();
    world.entry("echo-1", "shop/echo", server.at, Vec::new());
    let told = Arc::clone(&world.words);
    let refused = || matches!(told.lock().unwrap()[..], [(Word::Put(_), false), ..]);
    eventually("the catalog refuses it", refused).await;

    spec.identities = [account("echo")].into();
    world.log.export(1, "shop/echo", &spec);
    world.publish();
    world.until_ready("shop/echo", 1).await;
    converse(world.virtual_address("shop/echo"), b"hello").await;
}

#[tokio::test]
async fn without_the_authority_nothing_is_fronted_but_clients_are_answered() {
    let mut plan = Plan::new();
    plan.issues = false;
    let server = tcp_server().await;
    let mut world = World::start(plan);
    world.export("shop/echo", AppProtocol::Tcp, 7000);
    world.entry("echo-1", "shop/echo", server.at, Vec::new());
    world.until_followed().await;
    assert_eq!(world.stand_in.status().borrow().fronted, 0);
    let at = world.virtual_address("shop/echo");
    // Accepted, and reset for want of endpoints.
    let refused = try_converse(at, b"hello").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_shutdown_lets_connections_finish_and_tells_of_the_servers() {
    let server = tcp_server().await;
    let mut world = World::start(Plan::new());
    world.export("shop/echo", AppProtocol::Tcp, 7000);
    world.entry("echo-1", "shop/echo", server.at, Vec::new());
    let at = world.virtual_address("shop/echo");
    converse(at, b"hello").await;
    let mut open = TcpStream::connect(at).await.unwrap();
    open.write_all(b"hello").await.unwrap();
    let mut first = [0; 5];
    open.read_exact(&mut first).await.unwrap();

    let words = Arc::clone(&world.words);
    let ended = tokio::spawn(async move {
        let stand_in = world.take_stand_in().await;
        stand_in.shutdown(Duration::from_secs(20)).await;
    });
    until_refused(at).await;
    open.shutdown().await.unwrap();
    let mut rest = Vec::new();
    within("the rest", open.read_to_end(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest, b", 5 bytes");
    within("the end", ended).await.unwrap();
    let told = words.lock().unwrap();
    let health = |(word, taken): &(Word, bool)| match word {
        Word::Put(endpoint) => (*taken, Some(endpoint.health)),
        Word::Withdraw { .. } => (*taken, None),
    };
    let told: Vec<_> = told.iter().map(health).collect();
    let expect = [Some(Health::Ready), Some(Health::Draining), None];
    assert_eq!(told, expect.map(|health| (true, health)));
}

/// Waits until nobody listens at `at`.
async fn until_refused(at: SocketAddr) {
    let refused = async {
        loop {
            match TcpStream::connect(at).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    within("nobody listens", refused).await;
}
