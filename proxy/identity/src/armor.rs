//! How tokens are written: a prefix that names kind and version, then base64url
//! without padding (RFC 4648 §5) of the fields and a checksum, so that a mistyped
//! token is told from a wrong one.

use data_encoding::BASE64URL_NOPAD;
use weft_model::{HostPortError, NameError, SpiffeError};
use zeroize::Zeroizing;

use crate::bundle::sha256;

/// The longest token read, in characters.
const LENGTH_MAX: usize = 8192;

/// Why a token was refused before anyone was asked about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Another kind of token, another version, or no token.
    #[error("not a token of this kind: it should begin with {expected:?}")]
    Prefix {
        /// What it should begin with.
        expected: &'static str,
    },
    /// A character was lost or changed.
    #[error("mistyped or cut off: the checksum does not match")]
    Checksum,
    /// The checksum holds, the fields do not.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A field is too long to be written.
    #[error("{field} has {len} bytes or entries, at most 255 are allowed")]
    TooLong {
        /// Which.
        field: &'static str,
        /// Its length.
        len: usize,
    },
    /// A name in it was refused.
    #[error("malformed: {0}")]
    Name(#[from] NameError),
    /// A trust domain in it was refused.
    #[error("malformed: {0}")]
    TrustDomain(#[from] SpiffeError),
    /// An address is not `host:port`.
    #[error("malformed: {0}")]
    Address(#[from] HostPortError),
}

/// Writes fields one after the other.
pub(crate) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(crate) fn new() -> Self {
        // Room for all, so that growing leaves no copy of a secret behind.
        Self(Zeroizing::new(Vec::with_capacity(LENGTH_MAX)))
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(&mut self, field: &'static str, text: &str) -> Result<(), TokenError> {
        self.count(field, text.len())?;
        self.bytes(text.as_bytes());
        Ok(())
    }

    pub(crate) fn count(&mut self, field: &'static str, len: usize) -> Result<(), TokenError> {
        let byte = u8::try_from(len).map_err(|_| TokenError::TooLong { field, len })?;
        self.0.push(byte);
        Ok(())
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn armor(mut self, prefix: &'static str) -> String {
        let sum = checksum(prefix, &self.0);
        self.bytes(&sum);
        format!("{prefix}{}", BASE64URL_NOPAD.encode(&self.0))
    }
}

/// Reads what a [`Writer`] wrote; every error is an error of the token.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], TokenError> {
        let (head, tail) = self
            .0
            .split_first_chunk()
            .ok_or(TokenError::Malformed("it ends too early"))?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn count(&mut self) -> Result<usize, TokenError> {
        self.array::<1>().map(|[count]| usize::from(count))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, TokenError> {
        let len = self.count()?;
        let (head, tail) = self
            .0
            .split_at_checked(len)
            .ok_or(TokenError::Malformed("it ends too early"))?;
        self.0 = tail;
        std::str::from_utf8(head).map_err(|_| TokenError::Malformed("a name is not UTF-8"))
    }

    pub(crate) fn end(&self) -> Result<(), TokenError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(TokenError::Malformed("bytes after its end"))
        }
    }
}

/// Takes the armor off: the fields' bytes, their checksum verified.
pub(crate) fn disarm(prefix: &'static str, text: &str) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    let body = text
        .trim()
        .strip_prefix(prefix)
        .ok_or(TokenError::Prefix { expected: prefix })?;
    if body.len() > LENGTH_MAX {
        return Err(TokenError::Malformed("it is too long"));
    }
    let mut bytes = BASE64URL_NOPAD
        .decode(body.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| TokenError::Checksum)?;
    let at = bytes.len().checked_sub(4).ok_or(TokenError::Checksum)?;
    if bytes[at..] != checksum(prefix, &bytes[..at]) {
        return Err(TokenError::Checksum);
    }
    bytes.truncate(at);
    Ok(bytes)
}

fn checksum(prefix: &str, bytes: &[u8]) -> [u8; 4] {
    let mut whole = Zeroizing::new(Vec::with_capacity(prefix.len() + bytes.len()));
    whole.extend_from_slice(prefix.as_bytes());
    whole.extend_from_slice(bytes);
    let [a, b, c, d, ..] = sha256(&whole);
    [a, b, c, d]
}
