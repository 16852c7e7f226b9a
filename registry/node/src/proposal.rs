//! Proposals: what an author signs, on its way to the leader.

use bytes::Bytes;
use weft_model::{Author, Command, FormatLevel, Generation, RequestId, UserName, WallTime};

use crate::wire::{self, ENTRY_BYTES_MAX, WireError};
use weft_identity::SigningKey;

/// What an author says, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Random; the same for every retry of the same intent.
    pub request: RequestId,
    /// Who signs.
    pub author: Author,
    /// The operator on whose order a gateway signs.
    pub by_order_of: Option<UserName>,
    /// The owner's next count.
    pub generation: Generation,
    /// What is to be done.
    pub command: Command,
}

/// A signed entry without the leader's stamp. A retry sends the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    request: RequestId,
    level: FormatLevel,
    signed: Bytes,
    signature: Bytes,
}

/// Room for the stamp and the framing of an entry beyond its two byte fields.
const STAMP_BYTES: usize = 32;

impl Proposal {
    /// Signs a draft.
    pub fn sign(key: &SigningKey, draft: &Draft) -> Self {
        let Draft {
            request,
            author,
            by_order_of,
            generation,
            command,
        } = draft;
        let signed =
            wire::encode_signed(*request, author, by_order_of.as_ref(), *generation, command);
        let signature = key.sign(&wire::signing_input(&signed));
        Self {
            request: *request,
            level: command.level(),
            signed,
            signature: Bytes::copy_from_slice(&signature),
        }
    }

    /// Takes an encoded entry that somebody else signed; its time is dropped.
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let decoded = wire::decode(bytes)?;
        Ok(Self {
            request: decoded.entry.request,
            level: decoded.entry.command.level(),
            signed: decoded.signed,
            signature: decoded.signature,
        })
    }

    /// The encoded entry without a stamp, as it travels to the leader.
    pub fn encode(&self) -> Bytes {
        self.stamp(WallTime(0))
    }

    /// The encoded entry with the leader's stamp, as it stands in the log.
    pub fn stamp(&self, time: WallTime) -> Bytes {
        wire::encode_entry(self.signed.clone(), self.signature.clone(), time)
    }

    /// The id under which it is retried.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The format level that its command needs.
    pub fn level(&self) -> FormatLevel {
        self.level
    }

    /// Its size in the log, at most, in bytes.
    pub fn bytes(&self) -> usize {
        self.signed.len() + self.signature.len() + STAMP_BYTES
    }

    /// Whether it fits the log.
    pub fn fits(&self) -> bool {
        self.bytes() <= ENTRY_BYTES_MAX
    }

    /// What it says, for whoever wants to look before it is proposed.
    pub fn entry(&self) -> Result<weft_model::Entry, WireError> {
        wire::decode(self.encode()).map(|decoded| decoded.entry)
    }
}
