//! The preamble: what a sidecar says first on a connection to its gateway. Both
//! ends use this one layout.
//!
//! Version 1 on the wire: a u16 length, big endian, then as many bytes:
//! `session(16) ‖ counter(8, big endian) ‖ RelayStream (prost) ‖ HMAC-SHA-256(32)`,
//! the last over all that precedes it behind the length, under the session's key.

use aws_lc_rs::hmac;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt};
use weft_proto::peer::RelayStream;

use super::SessionId;

/// Why a preamble could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PreambleError {
    /// The connection broke or ended within the preamble.
    #[error("the connection broke")]
    Read(#[from] std::io::Error),
    /// The length cannot be that of a preamble.
    #[error("a preamble of {0} bytes; {FIXED} to {LENGTH_MAX} are allowed")]
    Length(usize),
    /// The proof is not by this session's key.
    #[error("the proof is wrong")]
    Proof,
    /// The target does not decode.
    #[error("the target does not decode")]
    Decode(#[source] prost::DecodeError),
}

/// Writes a preamble.
///
/// # Panics
/// The target's names are so long that the preamble exceeds 64 KiB.
pub fn encode(session: SessionId, counter: u64, key: &hmac::Key, target: &RelayStream) -> Bytes {
    let length = FIXED + target.encoded_len();
    let mut bytes = BytesMut::with_capacity(2 + length);
    bytes.put_u16(u16::try_from(length).expect("names are bounded"));
    bytes.put_slice(&session.0);
    bytes.put_u64(counter);
    target
        .encode(&mut bytes)
        .expect("a BytesMut grows as needed");
    let proof = hmac::sign(key, &bytes[2..]);
    bytes.put_slice(proof.as_ref());
    bytes.freeze()
}

/// A preamble whose proof has not been checked.
#[derive(Debug)]
pub struct Unproven {
    body: Vec<u8>,
}

impl Unproven {
    /// Reads one, and not a byte more.
    ///
    /// # Errors
    /// The connection broke, or the length is not that of a preamble.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Self, PreambleError> {
        let length = usize::from(from.read_u16().await?);
        if !(FIXED..=LENGTH_MAX).contains(&length) {
            return Err(PreambleError::Length(length));
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body).await?;
        Ok(Self { body })
    }

    /// Whose key the proof should be by.
    pub fn session(&self) -> SessionId {
        let session = self.body[..SESSION].try_into();
        SessionId(session.expect("a preamble is at least FIXED bytes long"))
    }

    /// The counter and target, if the proof is by `key`; compared in constant time.
    ///
    /// # Errors
    /// The proof is wrong, or what it covers does not decode.
    pub fn prove(&self, key: &hmac::Key) -> Result<(u64, RelayStream), PreambleError> {
        let (said, proof) = self.body.split_at(self.body.len() - PROOF);
        hmac::verify(key, said, proof).map_err(|_| PreambleError::Proof)?;
        let counter = said[SESSION..SESSION + COUNTER].try_into();
        let counter = u64::from_be_bytes(counter.expect("a preamble is at least FIXED bytes long"));
        let target =
            RelayStream::decode(&said[SESSION + COUNTER..]).map_err(PreambleError::Decode)?;
        Ok((counter, target))
    }
}

const SESSION: usize = 16;
const COUNTER: usize = 8;
const PROOF: usize = 32;
/// The bytes of a preamble without its target.
const FIXED: usize = SESSION + COUNTER + PROOF;
/// Room for a namespace, a name and a version of the longest kind.
const LENGTH_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32])
    }

    fn target() -> RelayStream {
        RelayStream {
            port: 8080,
            ..RelayStream::default()
        }
    }

    async fn read(bytes: &[u8]) -> Result<Unproven, PreambleError> {
        Unproven::read(&mut &*bytes).await
    }

    #[tokio::test]
    async fn a_preamble_survives_the_wire() {
        let session = SessionId([3; 16]);
        let bytes = encode(session, 9, &key(1), &target());
        let unproven = read(&bytes).await.unwrap();
        assert_eq!(unproven.session(), session);
        assert_eq!(unproven.prove(&key(1)).unwrap(), (9, target()));
        assert!(matches!(unproven.prove(&key(2)), Err(PreambleError::Proof)));
    }

    #[tokio::test]
    async fn every_changed_bit_breaks_the_proof() {
        let bytes = encode(SessionId([3; 16]), 9, &key(1), &target());
        for bit in 16..bytes.len() * 8 {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            let refused = read(&changed).await.unwrap().prove(&key(1));
            assert!(matches!(refused, Err(PreambleError::Proof)), "bit {bit}");
        }
    }

    #[tokio::test]
    async fn lengths_and_torn_ends_are_errors() {
        let bytes = encode(SessionId([3; 16]), 9, &key(1), &target());
        for end in 0..bytes.len() {
            assert!(matches!(
                read(&bytes[..end]).await,
                Err(PreambleError::Read(_))
            ));
        }
        for length in [0, FIXED - 1, LENGTH_MAX + 1, 65535] {
            let length = u16::try_from(length).unwrap().to_be_bytes();
            assert!(matches!(read(&length).await, Err(PreambleError::Length(_))));
        }
    }

    /// The layout behind a proof that is right, and the proof itself.
    #[test]
    fn no_mutant_of_a_preamble_panics() {
        use futures_util::FutureExt;
        use weft_mutants::Decoder;
        let whole = encode(SessionId([3; 16]), 9, &key(1), &target()).to_vec();
        let said = whole[2..whole.len() - PROOF].to_vec();
        let prove = |bytes: &[u8]| {
            let mut from = bytes;
            let read = Unproven::read(&mut from).now_or_never();
            let unproven = read
                .ok_or("it waits for more")?
                .map_err(|why| why.to_string())?;
            let _ = unproven.session();
            match from {
                [] => unproven.prove(&key(1)).map_err(|why| why.to_string()),
                // It is read, and not a byte more.
                _ => Err("bytes after its end".to_owned()),
            }
        };
        weft_mutants::check(&[
            Decoder::new("a preamble", [whole], prove).refuses_all(),
            Decoder::new("a preamble behind its proof", [said], prove).behind(|said| {
                let proof = hmac::sign(&key(1), &said);
                let length = u16::try_from(said.len() + PROOF).unwrap_or(u16::MAX);
                [&length.to_be_bytes(), &said[..], proof.as_ref()].concat()
            }),
        ]);
    }
}
