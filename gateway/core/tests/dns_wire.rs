//! What holds for every packet and every answer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::collection::vec;
use proptest::prelude::*;
use weft_model::fixture::{CLUSTERS, federation, name};
use weft_model::{EndpointId, Health, VirtualIpRanges};
use weft_plan::dns::wire::{Compiled, Query, Recursion, TCP_MAX, UDP_MAX, Unread, Written};
use weft_plan::dns::{
    AddressFamilies, ClientView, HeadlessEndpoint, Input, Liveness, LocalVips, Name, Zones, answer,
};

/// The fixture's federation as us-east-1 sees it, with `endpoints` of its headless service.
fn zones(endpoints: u8) -> Zones {
    let ranges = VirtualIpRanges {
        ipv4: name("127.64.0.0/12"),
        ipv6: Some(name("fd00:77:65:66::/64")),
    };
    let mut liveness = Liveness::default();
    let endpoint = |id| HeadlessEndpoint {
        id: EndpointId([id; 16]),
        hostname: None,
        workload: Some([10, 0, 0, id].into()),
        weight: 100,
        health: Health::Ready,
    };
    let place = (name("data/orders"), name(CLUSTERS[0].0));
    liveness
        .endpoints
        .insert(place, (0..endpoints).map(endpoint).collect());
    let input = Input {
        federation: &federation(),
        liveness: &liveness,
        cluster: &name(CLUSTERS[0].0),
        ranges: &ranges,
        families: AddressFamilies::DualStack,
        zone: &Name::parse(Zones::OWN).unwrap(),
        servers: &[],
        previous: None,
    };
    Zones::build(&input, &mut LocalVips::new(&ranges))
}

fn packet(name: &str, record_type: u16, payload: Option<u16>) -> Vec<u8> {
    let mut packet = vec![
        0xab,
        0xcd,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        u8::from(payload.is_some()),
    ];
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend(label.as_bytes());
    }
    packet.push(0);
    packet.extend(record_type.to_be_bytes());
    packet.extend([0, 1]);
    if let Some(payload) = payload {
        packet.extend([0, 0, 41]);
        packet.extend(payload.to_be_bytes());
        packet.extend([0; 6]);
    }
    packet
}

fn respond(
    zones: &Zones,
    packet: &[u8],
    limit: impl Fn(&Query<'_>) -> usize,
) -> (Vec<u8>, Written) {
    let query = Query::read(packet).unwrap();
    let question = query.question();
    let answer = answer(zones, &question, &ClientView::default());
    let compiled = Compiled::new(&question, &answer).expect("the name is ours");
    let mut out = Vec::new();
    let written = compiled.write(&query, limit(&query), Recursion::Available, &mut out);
    (out, written)
}

/// Two servers that answer each other's responses would do so for ever (RUSTSEC-2023-0041).
#[test]
fn a_response_gets_no_answer() {
    let mut response = packet("checkout.shop.svc.clusterset.local", 1, None);
    response[2] |= 0x80;
    assert_eq!(Query::read(&response).unwrap_err(), Unread::Ignored);
}

#[test]
fn a_response_keeps_id_question_and_letter_case() {
    let asked = packet("ChecKout.sHop.svc.CLUSTERSET.local", 1, None);
    let (response, _) = respond(&zones(1), &asked, |query| query.udp_limit());
    assert_eq!(response[..2], asked[..2]);
    assert_eq!(response[2..4], [0x85, 0x80], "QR AA RD, RA NOERROR");
    assert_eq!(response[12..asked.len()], asked[12..]);
    let answer: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 64, 0, 1];
    assert_eq!(&response[asked.len()..], answer);
}

#[test]
fn what_does_not_fit_is_truncated_and_whole_over_tcp() {
    let zones = zones(100);
    let asked = packet("orders.data.svc.clusterset.local", 1, Some(4096));
    let (udp, written) = respond(&zones, &asked, |query| query.udp_limit());
    assert_eq!((written, udp[2] & 2), (Written::Truncated, 2));
    assert_eq!(udp.len(), asked.len(), "question and OPT alone");
    let (tcp, written) = respond(&zones, &asked, |_| TCP_MAX);
    assert_eq!((written, tcp[2] & 2), (Written::Whole, 0));
    assert_eq!(tcp[6..8], [0, 100]);
}

#[test]
fn additional_records_are_left_out_before_anything_is_truncated() {
    let zones = zones(11);
    let asked = packet(
        "_postgres._tcp.orders.data.svc.clusterset.local",
        33,
        Some(1232),
    );
    let (udp, written) = respond(&zones, &asked, |query| query.udp_limit());
    assert_eq!(written, Written::Whole);
    assert_eq!(
        (&udp[6..8], &udp[10..12]),
        (&[0, 11][..], &[0, 1][..]),
        "OPT alone"
    );
    assert!(udp.len() <= UDP_MAX);
}

#[test]
fn the_longest_answer_fits_into_a_message() {
    let (tcp, written) = respond(
        &zones(255),
        &packet(
            "_postgres._tcp.orders.data.svc.clusterset.local",
            33,
            Some(1232),
        ),
        |_| TCP_MAX,
    );
    assert!(tcp.len() <= TCP_MAX);
    assert_eq!(written, Written::Whole);
}

/// Labels that zones have, and some that they do not.
fn label() -> impl Strategy<Value = String> {
    let known = [
        "clusterset",
        "local",
        "weft",
        "internal",
        "svc",
        "cluster",
        "region",
        "shop",
        "data",
        "checkout",
        "payments",
        "orders",
        "_tcp",
        "_http",
        "_postgres",
        "eu-west-1",
        "us-east-1",
        "us-east",
        "ns",
        "dns-version",
        "01010101010101010101010101010101",
    ];
    prop_oneof![
        9 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "[a-zA-Z0-9_-]{1,20}",
    ]
}

fn any_name() -> impl Strategy<Value = String> {
    let zone = prop::sample::select(vec!["clusterset.local", "weft.internal"]);
    (vec(label(), 0..7), zone).prop_map(|(mut labels, zone)| {
        labels.push(zone.to_owned());
        labels.join(".")
    })
}

proptest! {
    #[test]
    fn no_packet_makes_the_reader_panic(bytes in vec(any::<u8>(), 0..600)) {
        if let Ok(query) = Query::read(&bytes) {
            prop_assert!(query.udp_limit() <= UDP_MAX);
            let _ = query.question().name.to_string();
        }
        if bytes.get(2).is_some_and(|flags| flags & 0x80 != 0) {
            prop_assert_eq!(Query::read(&bytes).err(), Some(Unread::Ignored));
        }
    }

    #[test]
    fn no_answer_exceeds_its_limit(
        name in any_name(),
        record_type in prop::sample::select(vec![1u16, 2, 5, 6, 12, 16, 28, 33, 255, 1000]),
        payload in prop::option::of(any::<u16>()),
        endpoints in 0..120u8,
    ) {
        let asked = packet(&name, record_type, payload);
        let (response, written) = respond(&zones(endpoints), &asked, |query| query.udp_limit());
        let limit = payload.map_or(512, |payload| usize::from(payload).clamp(512, UDP_MAX));
        prop_assert!(response.len() <= limit, "{} bytes", response.len());
        prop_assert_eq!(response[2] & 0x80, 0x80);
        prop_assert_eq!(response[2] & 2 != 0, written == Written::Truncated);
    }
}
