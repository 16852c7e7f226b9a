//! Checked fields: text to names, numbers to counts, bytes to ids.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use weft_model::{ClampId, FormatLevel, PublicKey, RequestId, Stage, TokenId};

/// Why foreign bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More bytes than a record of its kind may have.
    #[error("{bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// As received.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The bytes are no message of the expected form.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A field that must be there is not, or has a kind that this build does not know.
    #[error("{0} is missing, or of a kind unknown here")]
    Missing(&'static str),
    /// A field has a value outside its type.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It is not what it reads as: it says more, or in another way than any build writes.
    #[error("it has fields unknown here, or is not in the form in which records are written")]
    Form,
    /// It belongs to a format level that is not in force.
    #[error("it needs format level {needs}, {has} is in force")]
    Early {
        /// The level it needs.
        needs: FormatLevel,
        /// The level in force.
        has: FormatLevel,
    },
}

pub(crate) fn malformed(error: prost::DecodeError) -> WireError {
    WireError::Malformed(error.to_string())
}

pub(super) fn invalid(field: &'static str, problem: impl Display) -> WireError {
    WireError::Invalid {
        field,
        problem: problem.to_string(),
    }
}

pub(super) fn present<T>(field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or(WireError::Missing(field))
}

pub(crate) fn name<T>(field: &'static str, text: &str) -> Result<T, WireError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error| invalid(field, error))
}

/// Empty text means none.
pub(super) fn optional<T>(field: &'static str, text: &str) -> Result<Option<T>, WireError>
where
    T: FromStr,
    T::Err: Display,
{
    if text.is_empty() {
        return Ok(None);
    }
    name(field, text).map(Some)
}

pub(super) fn names<T>(field: &'static str, texts: &[String]) -> Result<BTreeSet<T>, WireError>
where
    T: FromStr + Ord,
    T::Err: Display,
{
    texts.iter().map(|text| name(field, text)).collect()
}

pub(super) fn text(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

pub(super) fn texts(values: impl IntoIterator<Item = impl Display>) -> Vec<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

/// A protobuf enum that must have a known value other than the unspecified one.
pub(super) fn choice<E>(field: &'static str, number: i32) -> Result<E, WireError>
where
    E: TryFrom<i32>,
{
    E::try_from(number).map_err(|_| invalid(field, format!("{number} is not known here")))
}

pub(super) fn unspecified(field: &'static str) -> WireError {
    invalid(field, "unspecified")
}

pub(super) fn port(field: &'static str, number: u32) -> Result<NonZeroU16, WireError> {
    u16::try_from(number)
        .ok()
        .and_then(NonZeroU16::new)
        .ok_or_else(|| invalid(field, format!("{number} is not a port: 1 to 65535")))
}

pub(super) fn public_key(field: &'static str, bytes: &[u8]) -> Result<PublicKey, WireError> {
    array(field, bytes).map(PublicKey)
}

pub(super) fn request(bytes: &[u8]) -> Result<RequestId, WireError> {
    array("request", bytes).map(RequestId)
}

pub(super) fn token(field: &'static str, bytes: &[u8]) -> Result<TokenId, WireError> {
    array(field, bytes).map(TokenId)
}

pub(super) fn stage(field: &'static str, number: u32) -> Result<Stage, WireError> {
    let number = u16::try_from(number);
    let number = number.map_err(|_| invalid(field, "above 65535"))?;
    Ok(Stage(number))
}

pub(super) fn clamp(field: &'static str, bytes: &[u8]) -> Result<ClampId, WireError> {
    array(field, bytes).map(ClampId)
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], WireError> {
    bytes
        .try_into()
        .map_err(|_| invalid(field, format!("{} bytes, {N} expected", bytes.len())))
}

pub(super) fn key_bytes(key: &PublicKey) -> Bytes {
    Bytes::copy_from_slice(&key.0)
}

pub(super) fn id_bytes(id: &[u8; 16]) -> Bytes {
    Bytes::copy_from_slice(id)
}

pub(super) fn ders(certificates: &[Vec<u8>]) -> Vec<Bytes> {
    certificates
        .iter()
        .map(|der| Bytes::copy_from_slice(der))
        .collect()
}

pub(super) fn read_ders(certificates: &[Bytes]) -> Vec<Vec<u8>> {
    certificates.iter().map(|der| der.to_vec()).collect()
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
