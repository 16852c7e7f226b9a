//! A record is read in full or not at all: what the library skips is noticed.

use prost::Message;
use weft_proto::log;

use super::*;
use crate::wire::entry::in_full;

/// Number 30, and it is true: no message has it.
const UNKNOWN: [u8; 3] = [0xf0, 0x01, 0x01];

fn entry(signed: &[u8]) -> Bytes {
    encode_entry(Bytes::copy_from_slice(signed), Bytes::new(), WallTime(7))
}

fn signed(command: &Command) -> Vec<u8> {
    let author = Author::Gateway(NodeId(1), SignerEpoch(1));
    let request = RequestId([3; 16]);
    encode_signed(request, &author, None, Generation(4), command).to_vec()
}

/// Bytes with an unknown field at the end of each message in them, one at a time. What is no
/// message may look like one: then it is another text or number, which its reader judges.
fn with_unknown(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![[bytes, &UNKNOWN].concat()];
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let mut rest = &bytes[at..];
        let Ok(tag) = prost::encoding::decode_varint(&mut rest) else {
            return all;
        };
        let Ok(length) = prost::encoding::decode_varint(&mut rest) else {
            return all;
        };
        match tag & 7 {
            0 => at = bytes.len() - rest.len(),
            2 if length as usize <= rest.len() => {
                let (inner, after) = rest.split_at(length as usize);
                at = bytes.len() - after.len();
                for inner in with_unknown(inner) {
                    let mut whole = bytes[..start].to_vec();
                    prost::encoding::encode_varint(tag, &mut whole);
                    prost::encoding::encode_varint(inner.len() as u64, &mut whole);
                    whole.extend(inner);
                    whole.extend(after);
                    all.push(whole);
                }
            }
            _ => return all,
        }
    }
    all
}

#[test]
fn a_field_that_is_unknown_here_is_noticed_at_every_depth() {
    let (mut in_form, mut tried) = (0, 0);
    for command in commands() {
        let bytes = signed(&command);
        let known = decode(entry(&bytes)).unwrap().entry;
        for more in with_unknown(&bytes) {
            tried += 1;
            match decode(entry(&more)) {
                Err(WireError::Form) => in_form += 1,
                Err(_) => {}
                // A text that is longer by those bytes.
                Ok(other) => assert_ne!(other.entry, known, "{command:?}"),
            }
        }
        let stamped = entry(&bytes);
        let more = [&stamped[..], &UNKNOWN].concat();
        assert_eq!(decode(more.into()), Err(WireError::Form));
    }
    // The entry, its author, its command and what is in that.
    assert!(in_form > 4 * commands().len(), "{in_form} of {tried}");
}

#[test]
fn there_is_one_way_to_write_a_record() {
    let command = Command::RemoveGateway(NodeId(3));
    let whole = signed(&command);
    assert!(decode(entry(&whole)).is_ok());
    // Generation 4 in two bytes; nobody's order said; the request at the end.
    let at = whole.windows(2).position(|pair| pair == [0x20, 4]).unwrap();
    let mut long = whole.clone();
    long.splice(at..at + 2, [0x20, 0x84, 0x00]);
    let mut default = whole.clone();
    default.splice(at..at, [0x1a, 0x00]);
    let turned = [&whole[18..], &whole[..18]].concat();
    let twice = [&whole[..], &[0x20, 4]].concat();
    for other in [long, default, turned, twice] {
        let read = log::Signed::decode(&other[..]).unwrap();
        assert_eq!(read, log::Signed::decode(&whole[..]).unwrap());
        assert_eq!(decode(entry(&other)), Err(WireError::Form));
    }
}

/// Records as a build from before format level 6 knew them.
mod before_relays {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ClusterSpec {
        #[prost(string, tag = "1")]
        pub(super) region: String,
        #[prost(int32, tag = "2")]
        pub(super) role: i32,
        #[prost(bool, tag = "4")]
        pub(super) drain: bool,
        #[prost(string, repeated, tag = "5")]
        pub(super) namespaces: Vec<String>,
        #[prost(string, tag = "6")]
        pub(super) virtual_ipv4: String,
        #[prost(string, tag = "7")]
        pub(super) virtual_ipv6: String,
    }
}

#[test]
fn what_an_earlier_build_does_not_know_it_notices() {
    use before_relays::ClusterSpec as Earlier;
    let mut spec = fixture::cluster_spec("eu-west");
    let (none, some) = (None, Percent::new(0));
    for (relay, max_share, noticed) in [
        (RelayConsent::Deny, none, false),
        (RelayConsent::Allow, none, true),
        (RelayConsent::Deny, some, true),
    ] {
        (spec.relay, spec.max_share) = (relay, max_share);
        let bytes = cluster::write_spec(&spec).encode_to_vec();
        let read = Earlier::decode(&bytes[..]).unwrap();
        assert_eq!(read.region, "eu-west", "it does read");
        assert_eq!(in_full(&read, &bytes).is_err(), noticed);
    }
}
