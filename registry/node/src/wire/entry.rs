//! Entries: the bytes an author signed, its signature, and the leader's stamp.

use bytes::Bytes;
use prost::Message;
use weft_model::{
    Author, Command, Entry, Generation, NodeId, PublicKey, RequestId, SignerEpoch, UserName,
    WallTime,
};
use weft_proto::log;

use super::field::{WireError, id_bytes, malformed, name, optional, present, request, text, token};
use super::{ENTRY_BYTES_MAX, command};

/// Comes before the signed bytes, so that a signature over them is good for nothing else.
pub const SIGNATURE_CONTEXT: &[u8] = b"weft-log-v1\0";

/// A well-formed entry whose signature has not been judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// What it says; `authentic` is false.
    pub entry: Entry,
    /// The bytes its author signed.
    pub signed: Bytes,
    /// The signature, not yet checked.
    pub signature: Bytes,
}

/// What the signature is made over.
pub fn signing_input(signed: &[u8]) -> Vec<u8> {
    [SIGNATURE_CONTEXT, signed].concat()
}

/// Encodes what an author is about to sign.
pub fn encode_signed(
    request: RequestId,
    author: &Author,
    by_order_of: Option<&UserName>,
    generation: Generation,
    command: &Command,
) -> Bytes {
    let signed = log::Signed {
        request: id_bytes(&request.0),
        author: Some(write_author(author)),
        by_order_of: text(by_order_of),
        generation: generation.0,
        command: Some(command::write(command)),
    };
    signed.encode_to_vec().into()
}

/// Puts the leader's stamp on a signed proposal.
pub(crate) fn encode_entry(signed: Bytes, signature: Bytes, time: WallTime) -> Bytes {
    let entry = log::Entry {
        signed,
        signature,
        time_ms: time.0,
    };
    entry.encode_to_vec().into()
}

/// Reads an entry. Its `authentic` is false: the signature is judged against the state, by whoever applies it.
///
/// Only what is read in full is read: the library skips fields that it does not know, and an entry
/// without what its author said in them would be another one.
pub fn decode(bytes: Bytes) -> Result<Decoded, WireError> {
    if bytes.len() > ENTRY_BYTES_MAX {
        return Err(WireError::TooLarge {
            bytes: bytes.len(),
            max: ENTRY_BYTES_MAX,
        });
    }
    let stamped = log::Entry::decode(bytes.clone()).map_err(malformed)?;
    let wire = log::Signed::decode(stamped.signed.clone()).map_err(malformed)?;
    let entry = Entry {
        request: request(&wire.request)?,
        author: read_author(wire.author.as_ref())?,
        by_order_of: optional("by_order_of", &wire.by_order_of)?,
        generation: Generation(wire.generation),
        time: WallTime(stamped.time_ms),
        authentic: false,
        command: command::read(wire.command.as_ref())?,
    };
    in_full(&wire, &stamped.signed)?;
    in_full(&stamped, &bytes)?;
    let log::Entry {
        signed, signature, ..
    } = stamped;
    Ok(Decoded {
        entry,
        signed,
        signature,
    })
}

/// Whether bytes hold what was read of them and nothing else. There is one way to write a message:
/// its fields by number, each as short as can be, none that has its default; it has no maps.
pub(super) fn in_full(message: &impl Message, bytes: &[u8]) -> Result<(), WireError> {
    match message.encode_to_vec() == bytes {
        true => Ok(()),
        false => Err(WireError::Form),
    }
}

/// The request id alone, for an entry that may be otherwise unreadable here.
pub(crate) fn entry_request(bytes: &Bytes) -> Option<RequestId> {
    let entry = log::Entry::decode(bytes.clone()).ok()?;
    let signed = log::Signed::decode(entry.signed).ok()?;
    request(&signed.request).ok()
}

impl Decoded {
    /// The key that a first entry brings for itself.
    pub fn founding_key(&self) -> Option<PublicKey> {
        match (&self.entry.author, &self.entry.command) {
            (Author::Founder, Command::Found(founding)) => Some(founding.gateway.key),
            _ => None,
        }
    }
}

fn write_author(author: &Author) -> log::Author {
    use log::author::Author as Wire;
    let wire = match author {
        Author::Founder => Wire::Founder(log::author::Founder {}),
        Author::Gateway(node, epoch) => Wire::Gateway(log::author::Gateway {
            node: node.0,
            epoch: epoch.0,
        }),
        Author::Operator(user, epoch) => Wire::Operator(log::author::Operator {
            user: user.to_string(),
            epoch: epoch.0,
        }),
        Author::Token(token) => Wire::Token(id_bytes(&token.0)),
    };
    log::Author { author: Some(wire) }
}

fn read_author(author: Option<&log::Author>) -> Result<Author, WireError> {
    use log::author::Author as Wire;
    let wire = author.and_then(|author| author.author.as_ref());
    Ok(match present("author", wire)? {
        Wire::Founder(_) => Author::Founder,
        Wire::Gateway(gateway) => Author::Gateway(NodeId(gateway.node), SignerEpoch(gateway.epoch)),
        Wire::Operator(operator) => Author::Operator(
            name("author.user", &operator.user)?,
            SignerEpoch(operator.epoch),
        ),
        Wire::Token(bytes) => Author::Token(token("author.token", bytes)?),
    })
}
