//! The little of RFC 1035 that passing messages on takes. Pure.

/// Octets of a header (§4.1.1).
const HEADER: usize = 12;
/// QR: the message is a response.
const RESPONSE: u8 = 0x80;
/// OPCODE and RD of the third octet, which an answer repeats.
const REPEATED: u8 = 0x79;
/// RCODE 2: the server failed.
const SERVFAIL: u8 = 2;

/// Whether `message` is a response under the query's id.
pub(super) fn answers(message: &[u8], query: &[u8]) -> bool {
    message.len() >= HEADER && message.get(..2) == query.get(..2) && message[2] & RESPONSE != 0
}

/// SERVFAIL for `query`; none if it is no query with one question: there is nobody to
/// answer then, or nothing to repeat.
pub(super) fn servfail(query: &[u8]) -> Option<Vec<u8>> {
    let end = question_end(query)?;
    if query[2] & RESPONSE != 0 {
        return None;
    }
    let mut answer = query.get(..end)?.to_vec();
    answer[2] = RESPONSE | (query[2] & REPEATED);
    answer[3] = SERVFAIL;
    // One question, as asked, and nothing else: EDNS of the query is not repeated.
    answer[4..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    Some(answer)
}

/// Where the only question ends: labels up to the root, type and class (§4.1.2).
fn question_end(query: &[u8]) -> Option<usize> {
    if query.len() < HEADER || query[4..6] != [0, 1] {
        return None;
    }
    let mut at = HEADER;
    loop {
        match *query.get(at)? {
            0 => return Some(at + 5),
            // Longer ones are pointers, which a question has no use for.
            len @ 1..=63 => at += usize::from(len) + 1,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x20\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x00\x00\x01\x00\x01\x00\x00\x29";

    #[test]
    fn servfail_repeats_the_question_alone() {
        let answer = servfail(QUERY).unwrap();
        assert_eq!(
            answer,
            b"\x12\x34\x81\x02\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"
        );
        assert!(answers(&answer, QUERY));
        assert!(!answers(QUERY, QUERY));
    }

    #[test]
    fn nothing_that_is_no_query_is_answered() {
        assert_eq!(servfail(b""), None);
        assert_eq!(servfail(&QUERY[..15]), None);
        let mut pointer = QUERY.to_vec();
        pointer[12] = 0xc0;
        assert_eq!(servfail(&pointer), None);
        let mut response = QUERY.to_vec();
        response[2] |= RESPONSE;
        assert_eq!(servfail(&response), None);
    }

    #[test]
    fn an_answer_to_another_question_is_not_ours() {
        let mut answer = servfail(QUERY).unwrap();
        answer[0] ^= 1;
        assert!(!answers(&answer, QUERY));
        assert!(!answers(&answer[..3], QUERY));
    }
}
