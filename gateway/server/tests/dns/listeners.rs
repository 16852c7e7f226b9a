//! UDP and TCP as they are used, and as they are abused.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use prometheus::core::Collector;
use weft_gateway::dns::{DnsServiceConfig, Published, publish};
use weft_plan::dns::{Name, Zones};

use super::world::*;

const CHECKOUT: &str = "checkout.shop.svc.clusterset.local.";
const ORDERS: &str = "orders.data.svc.clusterset.local.";

#[test]
fn one_name_over_udp_and_tcp() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(1))));
    let packet = query(
        9,
        "ChecKout.shop.SVC.clusterset.local.",
        RecordType::A,
        None,
    );
    let packet = packet.to_vec().unwrap();
    let by_udp = ask_udp(service.local_addr(), &packet);
    assert_eq!(by_udp, ask_tcp(service.local_addr(), &packet));
    assert_eq!(
        by_udp[12..packet.len()],
        packet[12..],
        "in the client's letter case"
    );
    let message = Message::from_vec(&by_udp).unwrap();
    assert_eq!(message.answers[0].data.to_string(), "127.64.0.1");
    runtime.block_on(service.shutdown());
}

/// A wildcard listener answers from the address that was asked, not from any other.
#[test]
fn the_answer_comes_from_the_address_asked() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let config = DnsServiceConfig {
        bind: "0.0.0.0:0".parse().unwrap(),
        ..config(&[])
    };
    let service = start_with(config, source(zones(Some(1))));
    let port = service.local_addr().port();
    let usual = query(1, CHECKOUT, RecordType::A, None).to_vec().unwrap();
    let mut odd = usual.clone();
    odd[2] |= 0x78;
    for address in ["127.0.0.1", "127.0.0.77", "127.9.9.9"] {
        let server: SocketAddr = format!("{address}:{port}").parse().unwrap();
        ask_udp(server, &usual);
        ask_udp(server, &odd);
    }
    runtime.block_on(service.shutdown());
}

/// RFC 7766 §6.2.1.1: queries on one connection do not wait for their answers.
#[test]
fn a_connection_takes_many_queries_at_once() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(3))));
    let mut stream = tcp(service.local_addr());
    for id in 0..300u16 {
        let name = if id % 2 == 0 { CHECKOUT } else { ORDERS };
        let packet = query(id, name, RecordType::A, None).to_vec().unwrap();
        send_framed(&mut stream, &packet);
    }
    let ids: BTreeSet<u16> = (0..300)
        .map(|_| Message::from_vec(&read_framed(&mut stream)).unwrap())
        .inspect(|message| assert!(!message.answers.is_empty()))
        .map(|message| message.metadata.id)
        .collect();
    assert_eq!(ids, (0..300).collect());
    runtime.block_on(service.shutdown());
}

#[test]
fn a_client_that_stops_sending_still_gets_its_answers() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(3))));
    let mut stream = tcp(service.local_addr());
    let packet = query(5, CHECKOUT, RecordType::A, None).to_vec().unwrap();
    send_framed(&mut stream, &packet);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        Message::from_vec(&read_framed(&mut stream))
            .unwrap()
            .metadata
            .id,
        5
    );
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [0; 0], "and then the end");
    runtime.block_on(service.shutdown());
}

/// A length without a message occupies one connection, and not for ever.
#[test]
fn a_silent_connection_is_closed() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(3))));
    let mut stream = tcp(service.local_addr());
    stream.write_all(&[0]).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [0; 0]);
    runtime.block_on(service.shutdown());
}

#[test]
fn surplus_connections_are_closed_and_others_still_served() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(3))));
    let mut held: Vec<_> = (0..256).map(|_| tcp(service.local_addr())).collect();
    let packet = query(6, CHECKOUT, RecordType::A, None).to_vec().unwrap();
    // The last one is held once it has been answered.
    held.iter_mut()
        .for_each(|stream| send_framed(stream, &packet));
    held.iter_mut().for_each(|stream| drop(read_framed(stream)));
    let mut surplus = tcp(service.local_addr());
    assert!(matches!(surplus.read(&mut [0; 1]), Ok(0) | Err(_)));
    send_framed(&mut held[0], &packet);
    read_framed(&mut held[0]);
    runtime.block_on(service.shutdown());
}

#[test]
fn what_this_server_does_not_do_is_said_plainly() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(3))));
    let usual = query(3, CHECKOUT, RecordType::A, Some(1232))
        .to_vec()
        .unwrap();
    let question_end = 12 + CHECKOUT.len() + 1 + 4;
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = usual.clone();
        change(&mut packet);
        packet
    };
    let table: [(&str, Vec<u8>, ResponseCode); 9] = [
        ("NOTIFY", changed(&|p| p[2] = 4 << 3), ResponseCode::NotImp),
        ("UPDATE", changed(&|p| p[2] = 5 << 3), ResponseCode::NotImp),
        (
            "class CH",
            changed(&|p| p[question_end - 1] = 3),
            ResponseCode::Refused,
        ),
        (
            "class ANY",
            changed(&|p| p[question_end - 1] = 255),
            ResponseCode::Refused,
        ),
        (
            "AXFR",
            changed(&|p| p[question_end - 3] = 252),
            ResponseCode::Refused,
        ),
        (
            "MAILB",
            changed(&|p| p[question_end - 3] = 253),
            ResponseCode::NotImp,
        ),
        (
            "no question",
            changed(&|p| {
                p.truncate(12);
                p[5] = 0;
                p[11] = 0;
            }),
            ResponseCode::FormErr,
        ),
        (
            "question cut short",
            changed(&|p| {
                p.truncate(20);
                p[11] = 0;
            }),
            ResponseCode::FormErr,
        ),
        (
            "a name that loops",
            changed(&|p| p[12..14].copy_from_slice(&[0xc0, 12])),
            ResponseCode::FormErr,
        ),
    ];
    for (what, packet, code) in table {
        for response in [
            ask_udp(service.local_addr(), &packet),
            ask_tcp(service.local_addr(), &packet),
        ] {
            let message = Message::from_vec(&response).unwrap();
            assert_eq!(message.metadata.response_code, code, "{what}");
            assert!(
                message.answers.is_empty() && !message.metadata.authoritative,
                "{what}"
            );
            assert!(
                response.len() <= packet.len(),
                "{what}: not longer than the question"
            );
        }
    }
    runtime.block_on(service.shutdown());
}

#[test]
fn without_a_state_nothing_is_denied() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let none = Zones::unknown(Name::parse(Zones::OWN).unwrap());
    let source = source(none);
    let service = start(&[], Arc::clone(&source));
    let message = ask(service.local_addr(), CHECKOUT, RecordType::A);
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(extended_error(&message), 14, "not ready (RFC 8914)");

    assert_eq!(
        publish(&source, Arc::new(zones(Some(1)))),
        Published::Served
    );
    let message = ask(service.local_addr(), CHECKOUT, RecordType::A);
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
    runtime.block_on(service.shutdown());
}

/// An answer never goes back to an older generation.
#[test]
fn older_zones_are_not_served() {
    let source = source(zones(Some(2)));
    let older = zones(None);
    let served = source.load().generation();
    assert_eq!(
        publish(&source, Arc::new(older)),
        Published::Older { served }
    );
    assert_eq!(source.load().generation(), served);
    assert_eq!(
        publish(&source, Arc::new(zones(Some(3)))),
        Published::Served
    );
}

/// A headless name that nobody has asked for waits for its endpoints, and says so.
#[test]
fn a_question_waits_for_endpoints_and_wakes_interest() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let source = source(zones(None));
    let (interest, mut wanted) = tokio::sync::mpsc::channel(16);
    let config = DnsServiceConfig {
        interest: Some(interest),
        ..config(&[])
    };
    let service = start_with(config, Arc::clone(&source));
    let server = service.local_addr();

    let message = ask(server, ORDERS, RecordType::A);
    assert_eq!(
        message.metadata.response_code,
        ResponseCode::ServFail,
        "nobody brought them"
    );
    assert_eq!(wanted.blocking_recv().unwrap().to_string(), "data/orders");

    let asked = std::thread::spawn(move || ask(server, ORDERS, RecordType::A));
    wanted.blocking_recv().unwrap();
    publish(&source, Arc::new(zones(Some(2))));
    let message = asked.join().unwrap();
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
    assert_eq!(message.answers.len(), 2);
    runtime.block_on(service.shutdown());
}

#[test]
fn queries_are_counted_by_code_and_type() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(1))));
    ask(service.local_addr(), CHECKOUT, RecordType::A);
    ask(
        service.local_addr(),
        "nothing.clusterset.local.",
        RecordType::AAAA,
    );
    ask(service.local_addr(), "example.org.", RecordType::A);
    let mut lines: Vec<String> = Vec::new();
    for family in service.metrics().collect() {
        for metric in family.get_metric() {
            let labels: Vec<&str> = metric.get_label().iter().map(|pair| pair.value()).collect();
            let count = metric.get_counter().get_value();
            lines.push(format!("{} {} {count}", family.name(), labels.join(",")));
        }
    }
    for expected in [
        "weft_dns_queries_total ,NOERROR,A 1",
        "weft_dns_queries_total ,NXDOMAIN,AAAA 1",
        "weft_dns_queries_total 20,REFUSED,A 1",
        "weft_dns_dropped_total no_query 0",
    ] {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected} in {lines:#?}"
        );
    }
    runtime.block_on(service.shutdown());
}

/// The port is free again as soon as shutdown returns.
#[test]
fn shutdown_frees_the_port() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(1))));
    let bind = service.local_addr();
    assert!(service.is_running());
    runtime.block_on(service.shutdown());
    std::net::UdpSocket::bind(bind).unwrap();
    std::net::TcpListener::bind(bind).unwrap();
}
