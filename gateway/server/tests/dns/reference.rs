//! Every answer reads the same through a decoder that somebody else wrote.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType as HickoryType;
use proptest::collection::vec;
use proptest::prelude::*;
use weft_plan::dns::wire::{Compiled, Query, Recursion, TCP_MAX};
use weft_plan::dns::{ClientView, RData, Record, Verdict, answer};

use super::world::{query, zones};

fn label() -> impl Strategy<Value = String> {
    let known = [
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
        "orders-1",
    ];
    prop_oneof![
        12 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "[a-zA-Z0-9]{1,20}",
    ]
}

/// Names in any letter case, most of them with a form that the zones have.
fn any_name() -> impl Strategy<Value = String> {
    let forms = [
        "checkout.shop.svc.clusterset.local",
        "_http._tcp.checkout.shop.svc.clusterset.local",
        "orders.data.svc.clusterset.local",
        "_postgres._tcp.orders.data.svc.clusterset.local",
        "orders-2.us-east-1.orders.data.svc.clusterset.local",
        "checkout.shop.svc.eu-west-1.cluster.weft.internal",
        "_http._tcp.checkout.shop.svc.eu-west.region.weft.internal",
        "_postgres._tcp.orders.data.svc.us-east-1.cluster.weft.internal",
        "weft.internal",
    ];
    let zone = prop::sample::select(vec!["clusterset.local", "weft.internal"]);
    let made = (vec(label(), 0..6), zone).prop_map(|(mut labels, zone)| {
        labels.push(zone.to_owned());
        labels.join(".")
    });
    let name = prop_oneof![
        prop::sample::select(forms.to_vec()).prop_map(str::to_owned),
        made
    ];
    (name, any::<u64>()).prop_map(|(name, case)| {
        let upper = |(at, c): (usize, char)| match case >> (at % 64) & 1 {
            0 => c,
            _ => c.to_ascii_uppercase(),
        };
        name.chars().enumerate().map(upper).collect()
    })
}

/// A record as the reference decoder understands it, in the form of ours.
fn text(record: &hickory_proto::rr::Record) -> String {
    let owner = record.name.to_ascii().to_ascii_lowercase();
    let data = record.data.to_string().to_ascii_lowercase();
    format!("{owner} {} {} {data}", record.ttl, record.record_type())
}

fn ours(record: &Record) -> String {
    let data = match &record.data {
        RData::Txt(text) => (*text).to_owned(),
        RData::Hinfo(cpu) => format!("{cpu} "),
        data => data.to_string(),
    };
    let data = data.to_ascii_lowercase();
    format!(
        "{} {} {} {data}",
        record.owner,
        record.ttl,
        record.data.record_type()
    )
}

proptest! {
    #[test]
    fn the_reference_decoder_reads_what_we_meant(
        name in any_name(),
        kind in prop::sample::select(vec![1u16, 2, 6, 16, 28, 33, 255, 15]),
        payload in prop::option::of(512..4096u16),
        endpoints in 0..60u8,
    ) {
        let asked = query(4711, &format!("{name}."), HickoryType::from(kind), payload);
        let packet = asked.to_vec().unwrap();
        let parsed = Query::read(&packet).unwrap();
        let zones = zones(Some(endpoints));
        let question = parsed.question();
        let meant = answer(&zones, &question, &ClientView::default());
        let compiled = Compiled::new(&question, &meant).unwrap();
        let mut bytes = Vec::new();
        compiled.write(&parsed, TCP_MAX, Recursion::Unavailable, &mut bytes);

        let read = Message::from_vec(&bytes).unwrap();
        prop_assert_eq!(read.metadata.id, 4711);
        prop_assert_eq!(&read.queries[0].name().to_ascii(), &format!("{name}."));
        prop_assert_eq!(read.edns.is_some(), payload.is_some());
        let code = match meant.verdict {
            Verdict::Found | Verdict::NoData => ResponseCode::NoError,
            Verdict::NoName => ResponseCode::NXDomain,
            Verdict::CannotKnow(_) | Verdict::NotOurs => ResponseCode::ServFail,
        };
        prop_assert_eq!(read.metadata.response_code, code);
        for (section, expected) in [
            (&read.answers, &meant.answers),
            (&read.authorities, &meant.authority),
            (&read.additionals, &meant.additional),
        ] {
            let read: Vec<String> = section.iter().map(text).collect();
            let expected: Vec<String> = expected.iter().map(ours).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
