//! What a batch of Raft messages is made of, counted before any of it is decoded: a message or an entry
//! that says nothing takes two bytes on the wire, and a hundred times that once it is decoded.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// `RaftBatch.messages`.
const MESSAGES: u32 = 1;
/// `RaftMessage.entries`.
const ENTRIES: u32 = 7;

/// Messages and entries of a batch, all told. What does not read is not counted, for the decoder
/// refuses it.
pub(super) fn count(batch: &[u8]) -> usize {
    let mut pieces = 0;
    each(batch, MESSAGES, |message| {
        pieces += 1;
        each(message, ENTRIES, |_| pieces += 1);
    });
    pieces
}

/// Calls `take` with each embedded message of this field, up to the first byte that does not read.
fn each(mut bytes: &[u8], field: u32, mut take: impl FnMut(&[u8])) {
    while bytes.has_remaining() {
        let Ok((tag, wire_type)) = decode_key(&mut bytes) else {
            return;
        };
        if (tag, wire_type) != (field, WireType::LengthDelimited) {
            if skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).is_err() {
                return;
            }
            continue;
        }
        let length = decode_varint(&mut bytes).ok();
        let length = length.and_then(|length| usize::try_from(length).ok());
        let Some((embedded, rest)) = length.and_then(|length| bytes.split_at_checked(length))
        else {
            return;
        };
        take(embedded);
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use weft_proto::peer::{RaftBatch, RaftEntry, RaftMessage};

    use super::*;

    #[test]
    fn messages_and_their_entries_are_counted() {
        let message = |entries| RaftMessage {
            term: 7,
            context: vec![1; 300].into(),
            entries: vec![RaftEntry::default(); entries],
            commit: u64::MAX,
            ..RaftMessage::default()
        };
        let batch = RaftBatch {
            messages: vec![message(0), RaftMessage::default(), message(3)],
        };
        assert_eq!(count(&batch.encode_to_vec()), 6);
        assert_eq!(count(&RaftBatch::default().encode_to_vec()), 0);
    }

    #[test]
    fn what_does_not_read_is_left_to_the_decoder() {
        let batch = RaftBatch {
            messages: vec![RaftMessage::default(); 3],
        };
        let mut bytes = batch.encode_to_vec();
        // Longer than there are bytes.
        bytes.extend([0x0A, 0x7F]);
        assert_eq!(count(&bytes), 3);
        assert!(RaftBatch::decode(bytes.as_slice()).is_err());
        // The end of a group that was not begun.
        assert_eq!(count(&[0x0C]), 0);
    }
}
