//! The wire and disk form of what the log says, and back.
//!
//! Decoding is total: every field is checked, and what does not fit is an error
//! that names the field. Nothing here panics on foreign bytes, and none of them
//! reaches the consensus library's own codec: the module `raft` converts field by field.

mod cluster;
mod command;
mod entry;
mod export;
mod field;
mod history;
mod outcome;
pub(crate) mod raft;
mod release;
mod route;
mod state;
mod workload;

pub use entry::{Decoded, SIGNATURE_CONTEXT, decode, encode_signed, signing_input};
pub(crate) use entry::{encode_entry, entry_request};
pub use field::WireError;
pub(crate) use field::{malformed, name};
pub(crate) use history::{Row, origin, read_row, write_row};
pub(crate) use state::{decode_image, encode_image, state_digest};

/// The highest format level this program reads and writes.
pub const FORMAT_SUPPORTED: weft_model::FormatLevel = weft_model::FormatLevel::CEILINGS;

/// The largest encoded entry, in bytes. Certificates are a few KiB; an export is smaller.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;

/// The largest encoded snapshot, in bytes. It travels as one message.
pub const SNAPSHOT_BYTES_MAX: usize = 64 * 1024 * 1024;

#[cfg(test)]
pub(crate) mod tests;
