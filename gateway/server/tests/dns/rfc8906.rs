//! The checks of RFC 8906 §8, by the numbers of its sections: eighteen, and a
//! nineteenth that asks again over TCP what §8.2.7 gets truncated.

use std::net::SocketAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use super::world::{ask_tcp, ask_udp, runtime, source, start, zones};

/// What a check sends beside the question.
#[derive(Clone)]
struct Check {
    section: &'static str,
    name: &'static str,
    kind: u16,
    /// The two bytes of flags.
    flags: [u8; 2],
    /// EDNS: payload, version, flags, options.
    opt: Option<(u16, u8, u16, &'static [u8])>,
    over: Over,
    expect: Expect,
}

#[derive(Clone, Copy, PartialEq)]
enum Over {
    Udp,
    Tcp,
}

#[derive(Clone, Copy, PartialEq)]
enum Expect {
    Soa,
    Empty,
    BadVersion,
    NotImplemented,
    Truncated,
    Whole,
}

const ZONE: &str = "clusterset.local";
const SOA: u16 = 6;
const DO: u16 = 0x8000;
/// COOKIE, NSID, EXPIRE and client subnet 0.0.0.0/0.
const DEFINED: &[u8] = b"\0\x0a\0\x08weftweft\0\x03\0\0\0\x09\0\0\0\x08\0\x04\0\x01\0\0";
/// Option 100, which nobody has defined.
const UNDEFINED: &[u8] = b"\0\x64\0\0";

fn checks() -> Vec<Check> {
    let basic = |section, flags, expect| Check {
        section,
        name: ZONE,
        kind: SOA,
        flags,
        opt: None,
        over: Over::Udp,
        expect,
    };
    let edns = |section, version, flags, options, expect| Check {
        opt: Some((4096, version, flags, options)),
        ..basic(section, [0, 0], expect)
    };
    let long = Check {
        name: "_postgres._tcp.orders.data.svc.clusterset.local",
        kind: 33,
        opt: Some((512, 0, DO, &[])),
        ..basic("8.2.7 truncated responses", [0, 0], Expect::Truncated)
    };
    use Expect::{BadVersion, Empty, NotImplemented, Soa, Whole};
    vec![
        basic("8.1.1 is the server configured for the zone", [0, 0], Soa),
        Check {
            kind: 1000,
            ..basic("8.1.2 unknown types", [0, 0], Empty)
        },
        basic("8.1.3.1 CD=1", [0, 0x10], Soa),
        basic("8.1.3.2 AD=1", [0, 0x20], Soa),
        basic("8.1.3.3 reserved bit", [0, 0x40], Soa),
        basic("8.1.3.4 recursive queries", [1, 0], Soa),
        basic("8.1.4 unknown opcodes", [15 << 3, 0], NotImplemented),
        Check {
            over: Over::Tcp,
            ..basic("8.1.5 TCP", [0, 0], Soa)
        },
        edns("8.2.1 minimal EDNS", 0, 0, &[], Soa),
        edns("8.2.2 version negotiation", 1, 0, &[], BadVersion),
        edns("8.2.3 unknown options", 0, 0, UNDEFINED, Soa),
        edns("8.2.4 unknown flags", 0, 0x40, &[], Soa),
        edns(
            "8.2.5 version negotiation, unknown flags",
            1,
            0x40,
            &[],
            BadVersion,
        ),
        edns(
            "8.2.6 version negotiation, unknown options",
            1,
            0,
            UNDEFINED,
            BadVersion,
        ),
        long.clone(),
        edns("8.2.8 DO=1", 0, DO, &[], Soa),
        edns("8.2.9 version negotiation, DO=1", 1, DO, &[], BadVersion),
        edns("8.2.10 several defined options", 0, 0, DEFINED, Soa),
        Check {
            section: "8.2.7 again over TCP",
            over: Over::Tcp,
            expect: Whole,
            ..long
        },
    ]
}

fn packet(check: &Check) -> Vec<u8> {
    let mut packet = vec![
        0x89,
        0x06,
        check.flags[0],
        check.flags[1],
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    if check.expect == Expect::NotImplemented {
        // The header only: nothing else is known of an unknown operation.
        return packet;
    }
    packet[5] = 1;
    for label in check.name.split('.') {
        packet.push(label.len() as u8);
        packet.extend(label.as_bytes());
    }
    packet.push(0);
    packet.extend(check.kind.to_be_bytes());
    packet.extend([0, 1]);
    if let Some((payload, version, flags, options)) = check.opt {
        packet[11] = 1;
        packet.extend([0, 0, 41]);
        packet.extend(payload.to_be_bytes());
        packet.extend([0, version]);
        packet.extend(flags.to_be_bytes());
        packet.extend((options.len() as u16).to_be_bytes());
        packet.extend(options);
    }
    packet
}

fn run(check: &Check, server: SocketAddr) {
    let section = check.section;
    let asked = packet(check);
    let response = match check.over {
        Over::Udp => ask_udp(server, &asked),
        Over::Tcp => ask_tcp(server, &asked),
    };
    assert_eq!(response[..2], asked[..2], "{section}: the id");
    assert_eq!(response[2] >> 7, 1, "{section}: QR");
    assert_eq!(
        response[2] >> 3 & 0xf,
        asked[2] >> 3 & 0xf,
        "{section}: the operation"
    );
    assert_eq!(response[3] & 0x70, 0, "{section}: Z, AD and CD");
    let message = Message::from_vec(&response).unwrap_or_else(|e| panic!("{section}: {e}"));
    let authoritative = message.metadata.authoritative;
    let code = message.metadata.response_code;
    let soa = |message: &Message| {
        message
            .answers
            .iter()
            .any(|r| r.record_type() == RecordType::SOA)
    };
    match check.expect {
        Expect::Soa => {
            assert_eq!(
                (code, authoritative),
                (ResponseCode::NoError, true),
                "{section}"
            );
            assert!(soa(&message), "{section}: SOA in the answer");
        }
        Expect::Empty => {
            assert_eq!(
                (code, authoritative),
                (ResponseCode::NoError, true),
                "{section}"
            );
            assert!(message.answers.is_empty(), "{section}: no answer");
            assert_eq!(
                message.authorities.len(),
                1,
                "{section}: SOA in the authority"
            );
        }
        Expect::BadVersion => {
            assert_eq!((response[3] & 0xf, authoritative), (0, false), "{section}");
            let opt = message.edns.as_ref().unwrap();
            assert_eq!(opt.rcode_high(), 1, "{section}: BADVERS");
            assert!(!soa(&message), "{section}: no SOA");
        }
        Expect::NotImplemented => {
            assert_eq!(
                (code, authoritative),
                (ResponseCode::NotImp, false),
                "{section}"
            );
        }
        Expect::Truncated => {
            assert!(
                response.len() <= 512 && message.metadata.truncation,
                "{section}"
            );
        }
        Expect::Whole => {
            assert!(!message.metadata.truncation, "{section}");
            assert_eq!(message.answers.len(), 40, "{section}");
        }
    }
    check_opt(check, &message);
}

fn check_opt(check: &Check, message: &Message) {
    let section = check.section;
    let Some((_, _, flags, _)) = check.opt else {
        assert!(message.edns.is_none(), "{section}: no OPT unasked");
        return;
    };
    let opt = message
        .edns
        .as_ref()
        .unwrap_or_else(|| panic!("{section}: OPT"));
    assert_eq!(opt.version(), 0, "{section}: EDNS version");
    assert_eq!(opt.flags().z, 0, "{section}: undefined EDNS flags");
    assert_eq!(
        opt.flags().dnssec_ok,
        flags & DO != 0,
        "{section}: DO is copied (RFC 3225)"
    );
    assert!(
        opt.options().as_ref().is_empty(),
        "{section}: no options in return"
    );
}

#[test]
fn all_checks_pass() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(40))));
    let checks = checks();
    assert_eq!(checks.len(), 19);
    checks
        .iter()
        .for_each(|check| run(check, service.local_addr()));
    runtime.block_on(service.shutdown());
}
