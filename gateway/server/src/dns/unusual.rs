//! Queries that are not in the usual form, judged by a full decoder.
//!
//! None of them gets records: what is legal here is either in the usual form or
//! something that this server does not do.

use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use weft_plan::dns::wire::{Recursion, UDP_MAX};

use super::metrics::BADVERS;

const HEADER: usize = 12;

/// A response without records.
pub(super) struct Judged {
    pub(super) response: Vec<u8>,
    /// The whole response code, with the bits that EDNS adds.
    pub(super) code: u16,
}

/// Judges a packet that is a query but not in the usual form.
///
/// None if it is shorter than a header.
pub(super) fn judge(packet: &[u8], recursion: Recursion) -> Option<Judged> {
    let header = packet.first_chunk::<HEADER>()?;
    let operation = OpCode::from_u8(header[2] >> 3 & 0xf);
    if operation != OpCode::Query {
        // Of an operation that is not implemented nothing but the header is known.
        return Some(header_alone(header, ResponseCode::NotImp));
    }
    let Ok(query) = Message::from_vec(packet) else {
        return Some(header_alone(header, ResponseCode::FormErr));
    };
    let code = code(&query);
    let response = respond(&query, code, recursion);
    Some(match response.to_vec() {
        Ok(response) => Judged {
            response,
            code: number(code),
        },
        Err(_) => header_alone(header, ResponseCode::FormErr),
    })
}

fn code(query: &Message) -> ResponseCode {
    if query.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return ResponseCode::BADVERS;
    }
    let [question] = &query.queries[..] else {
        return ResponseCode::FormErr;
    };
    if query.signature.is_some() {
        // RFC 8945 §5.2: we share no key with anyone.
        return ResponseCode::NotAuth;
    }
    if question.query_class() != DNSClass::IN {
        return ResponseCode::Refused;
    }
    match u16::from(question.query_type()) {
        // Transfers: nobody is a secondary of these zones.
        251 | 252 => ResponseCode::Refused,
        number if RecordType::from(number) == RecordType::OPT => ResponseCode::FormErr,
        128..=254 => ResponseCode::NotImp,
        _ => ResponseCode::FormErr,
    }
}

fn respond(query: &Message, code: ResponseCode, recursion: Recursion) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = recursion == Recursion::Available;
    response.metadata.response_code = code;
    if let [question] = &query.queries[..] {
        response.add_query(question.clone());
    }
    if let Some(asked) = &query.edns {
        let mut edns = Edns::new();
        edns.set_version(0)
            .set_max_payload(UDP_MAX as u16)
            .set_dnssec_ok(asked.flags().dnssec_ok);
        response.set_edns(edns);
    }
    response
}

fn header_alone(header: &[u8; HEADER], code: ResponseCode) -> Judged {
    let mut response = vec![0; HEADER];
    response[..2].copy_from_slice(&header[..2]);
    // QR, the operation, RD; AA and TC stay clear.
    response[2] = 0x80 | header[2] & 0x79;
    response[3] = code.low();
    Judged {
        response,
        code: number(code),
    }
}

fn number(code: ResponseCode) -> u16 {
    match code {
        ResponseCode::BADVERS => BADVERS,
        code => u16::from(code),
    }
}
