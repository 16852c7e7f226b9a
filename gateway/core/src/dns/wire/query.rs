//! A query in the usual form.

use super::{HEADER, UDP_CLASSIC, UDP_MAX};
use crate::dns::name::NAME_MAX;
use crate::dns::{Name, Question, RecordType};

const CLASS_IN: u16 = 1;

/// Why a packet was not read as a [`Query`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// No query: too short for a header, or a response. It gets no answer, or two
    /// servers could answer each other for ever.
    Ignored,
    /// A query that is malformed or in a form that a full decoder has to judge:
    /// another operation or class, several questions, other additional records.
    Odd,
}

/// What the OPT record of a query says (RFC 6891 §6.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The largest response that the client takes over UDP, in bytes.
    pub payload: u16,
    /// Whether it wants DNSSEC records (RFC 3225).
    pub dnssec_ok: bool,
}

/// One question of class IN in a well-formed query, with or without EDNS version 0.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    packet: &'a [u8],
    question_end: usize,
    edns: Option<Edns>,
    record_type: RecordType,
    key_length: usize,
    /// The name in lower case, then the type.
    key: [u8; NAME_MAX + 2],
}

impl<'a> Query<'a> {
    /// Reads a packet.
    pub fn read(packet: &'a [u8]) -> Result<Self, Unread> {
        let header = packet.first_chunk::<HEADER>().ok_or(Unread::Ignored)?;
        #[cfg(feature = "bugs")]
        let answered = weft_model::planted::Bug::AnsweredResponse.is_planted();
        #[cfg(not(feature = "bugs"))]
        let answered = false;
        if header[2] & 0x80 != 0 && !answered {
            return Err(Unread::Ignored);
        }
        let operation = header[2] & 0x78;
        let [questions, answers, authorities, additionals] =
            [4, 6, 8, 10].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
        if operation != 0 || questions != 1 || answers != 0 || authorities != 0 {
            return Err(Unread::Odd);
        }
        let mut key = [0; NAME_MAX + 2];
        let name = copy_name(&packet[HEADER..], &mut key).ok_or(Unread::Odd)?;
        let fixed = packet[HEADER + name..]
            .first_chunk::<4>()
            .ok_or(Unread::Odd)?;
        let record_type = RecordType(u16::from_be_bytes([fixed[0], fixed[1]]));
        let class = u16::from_be_bytes([fixed[2], fixed[3]]);
        if class != CLASS_IN || record_type.is_meta() {
            return Err(Unread::Odd);
        }
        key[name..name + 2].copy_from_slice(&fixed[..2]);
        let question_end = HEADER + name + 4;
        let edns = match (additionals, &packet[question_end..]) {
            (0, []) => None,
            (1, opt) => Some(read_opt(opt).ok_or(Unread::Odd)?),
            _ => return Err(Unread::Odd),
        };
        Ok(Self {
            packet,
            question_end,
            edns,
            record_type,
            key_length: name + 2,
            key,
        })
    }

    /// Equal for two queries if and only if they ask the same, in whatever case.
    pub fn key(&self) -> &[u8] {
        &self.key[..self.key_length]
    }

    /// The question.
    pub fn question(&self) -> Question {
        Question {
            name: Name::from_checked(&self.key[..self.key_length - 2]),
            record_type: self.record_type,
        }
    }

    /// The type asked for.
    pub fn record_type(&self) -> RecordType {
        self.record_type
    }

    /// What its OPT record says, if it has one.
    pub fn edns(&self) -> Option<Edns> {
        self.edns
    }

    /// Whether the client wants other servers to be asked.
    pub fn recursion_desired(&self) -> bool {
        self.packet[2] & 1 != 0
    }

    /// The largest response it may get over UDP, in bytes.
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(UDP_CLASSIC, |edns| {
            usize::from(edns.payload).clamp(UDP_CLASSIC, UDP_MAX)
        })
    }

    /// The packet as it came.
    pub fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// Where the packet's question ends.
    pub fn question_end(&self) -> usize {
        self.question_end
    }

    /// Its id and the first byte of its flags.
    pub(super) fn head(&self) -> [u8; 3] {
        [self.packet[0], self.packet[1], self.packet[2]]
    }

    /// The question as it came, in the client's letter case.
    pub(super) fn question_bytes(&self) -> &'a [u8] {
        &self.packet[HEADER..self.question_end]
    }
}

/// Copies an uncompressed name in lower case; gives its length. A first question
/// has nothing before it that a pointer could point to.
fn copy_name(wire: &[u8], key: &mut [u8; NAME_MAX + 2]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*wire.get(at)?);
        if length > 63 {
            return None;
        }
        let end = at + 1 + length;
        if end > NAME_MAX {
            return None;
        }
        let label = wire.get(at + 1..end)?;
        key[at] = wire[at];
        for (to, from) in key[at + 1..end].iter_mut().zip(label) {
            *to = from.to_ascii_lowercase();
        }
        at = end;
        if length == 0 {
            return Some(at);
        }
    }
}

/// Reads an OPT record of version 0 that ends where `wire` ends and whose options
/// fill its data exactly; what they say is not looked at.
fn read_opt(wire: &[u8]) -> Option<Edns> {
    let (fixed, data) = wire.split_first_chunk::<11>()?;
    let [root, t1, t2, p1, p2, _, version, flags, _, l1, l2] = *fixed;
    let is_opt = root == 0 && RecordType(u16::from_be_bytes([t1, t2])) == RecordType::OPT;
    let length = usize::from(u16::from_be_bytes([l1, l2]));
    if !is_opt || version != 0 || data.len() != length {
        return None;
    }
    let mut options = data;
    while !options.is_empty() {
        let (head, rest) = options.split_first_chunk::<4>()?;
        let (_, rest) = rest.split_at_checked(u16::from_be_bytes([head[2], head[3]]).into())?;
        options = rest;
    }
    Some(Edns {
        payload: u16::from_be_bytes([p1, p2]),
        dnssec_ok: flags & 0x80 != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Shop.local A`, RD.
    const PLAIN: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04Shop\x05local\0\0\x01\0\x01";
    const OPT: &[u8] = b"\0\0\x29\x10\0\0\0\x80\0\0\x08\0\x0a\0\x04cook";

    fn with(opt: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut packet = [PLAIN, opt].concat();
        packet[11] = u8::from(!opt.is_empty());
        change(&mut packet);
        packet
    }

    #[test]
    fn the_usual_form_is_read() {
        let packet = with(OPT, |_| ());
        let query = Query::read(&packet).unwrap();
        assert_eq!(query.key(), b"\x04shop\x05local\0\0\x01");
        assert_eq!(query.question().name.to_string(), "shop.local.");
        assert_eq!(query.question_bytes(), &PLAIN[12..]);
        assert!(query.recursion_desired());
        let edns = Edns {
            payload: 4096,
            dnssec_ok: true,
        };
        assert_eq!((query.edns(), query.udp_limit()), (Some(edns), UDP_MAX));
        assert_eq!(Query::read(PLAIN).unwrap().udp_limit(), UDP_CLASSIC);
    }

    #[test]
    fn a_small_payload_means_the_classic_limit() {
        let packet = with(OPT, |packet| packet[PLAIN.len() + 3..][..2].fill(0));
        assert_eq!(Query::read(&packet).unwrap().udp_limit(), UDP_CLASSIC);
    }

    #[test]
    fn responses_and_stubs_are_ignored() {
        let ignored = |packet: &[u8]| Query::read(packet).err() == Some(Unread::Ignored);
        assert!(ignored(&with(&[], |packet| packet[2] |= 0x80)));
        (0..HEADER).for_each(|length| assert!(ignored(&PLAIN[..length])));
    }

    #[test]
    fn the_unusual_is_odd() {
        let table: [(&str, Vec<u8>); 12] = [
            ("opcode", with(&[], |p| p[2] |= 0x78)),
            ("two questions", with(&[], |p| p[5] = 2)),
            ("no question", with(&[], |p| p[5] = 0)),
            ("an answer", with(&[], |p| p[7] = 1)),
            ("class CH", with(&[], |p| *p.last_mut().unwrap() = 3)),
            ("type AXFR", with(&[], |p| p[PLAIN.len() - 3] = 252)),
            ("compressed name", with(&[], |p| p[12] = 0xc0)),
            ("rest after the question", with(&[], |p| p.push(0))),
            ("announced OPT missing", with(&[], |p| p[11] = 1)),
            ("EDNS version 1", with(OPT, |p| p[PLAIN.len() + 6] = 1)),
            (
                "option beyond its record",
                with(OPT, |p| p[PLAIN.len() + 14] = 5),
            ),
            ("rest after OPT", with(OPT, |p| p.push(0))),
        ];
        for (what, packet) in table {
            assert_eq!(Query::read(&packet).err(), Some(Unread::Odd), "{what}");
        }
        for length in HEADER..PLAIN.len() {
            assert_eq!(Query::read(&PLAIN[..length]).err(), Some(Unread::Odd));
        }
    }

    #[test]
    fn a_name_has_at_most_255_bytes() {
        let query = |labels: &[u8]| {
            let mut packet = PLAIN[..HEADER].to_vec();
            for length in labels {
                packet.push(*length);
                packet.resize(packet.len() + usize::from(*length), b'x');
            }
            packet.extend(b"\0\0\x01\0\x01");
            packet
        };
        assert!(Query::read(&query(&[63, 63, 63, 61])).is_ok());
        assert_eq!(
            Query::read(&query(&[63, 63, 63, 62])).err(),
            Some(Unread::Odd)
        );
        assert_eq!(Query::read(&query(&[64])).err(), Some(Unread::Odd));
    }
}
