//! Lengths before messages on QUIC streams.
//!
//! A stream begins with a header: a u16 length, big endian, and a
//! [`StreamHeader`]. What follows on Raft and RPC streams are frames with a u32
//! length. Whatever a peer sends is data: a length beyond the limit, a torn
//! frame or bytes that do not decode are errors, never a panic, and no memory
//! is set aside for bytes that have not arrived.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use weft_proto::peer::StreamHeader;

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream or its connection broke.
    #[error("the stream broke")]
    Read(#[source] ReadError),
    /// The stream ended within a frame.
    #[error("the stream ended within a frame")]
    Torn,
    /// The frame says it is longer than allowed here.
    #[error("a frame of {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// What the frame says.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The frame holds more messages than allowed here.
    #[error("a frame of {pieces} messages and entries, at most {limit} are allowed")]
    TooMany {
        /// How many it holds.
        pieces: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The bytes are not the message they should be.
    #[error("the frame does not decode")]
    Decode(#[source] prost::DecodeError),
}

impl From<ReadExactError> for FrameError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Torn,
            ReadExactError::ReadError(error) => Self::Read(error),
        }
    }
}

/// Reads the header that every stream begins with.
///
/// # Errors
/// The stream broke, or the header is too long or does not decode.
pub(super) async fn read_header(recv: &mut RecvStream) -> Result<StreamHeader, FrameError> {
    read_short(recv, HEADER_MAX).await
}

/// Writes the header that every stream begins with.
///
/// # Errors
/// The stream broke or the peer stopped it.
pub(super) async fn write_header(
    send: &mut SendStream,
    header: &StreamHeader,
) -> Result<(), WriteError> {
    write_short(send, header).await
}

/// Reads one message behind a u16 length of at most `limit`.
pub(super) async fn read_short<M: Message + Default>(
    recv: &mut RecvStream,
    limit: usize,
) -> Result<M, FrameError> {
    let mut length = [0; 2];
    recv.read_exact(&mut length).await?;
    let bytes = read_body(recv, usize::from(u16::from_be_bytes(length)), limit).await?;
    M::decode(bytes).map_err(FrameError::Decode)
}

/// Writes one message behind a u16 length.
pub(super) async fn write_short<M: Message>(
    send: &mut SendStream,
    message: &M,
) -> Result<(), WriteError> {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(2 + length);
    bytes.put_u16(u16::try_from(length).expect("headers are bounded by their fields"));
    message
        .encode(&mut bytes)
        .expect("a BytesMut grows as needed");
    send.write_chunk(bytes.freeze()).await
}

/// Reads a frame behind a u32 length of at most `limit`; none at the stream's end.
///
/// # Errors
/// The stream broke, ended within the frame, or the frame is too long.
pub async fn read_frame(recv: &mut RecvStream, limit: usize) -> Result<Option<Bytes>, FrameError> {
    let mut length = [0; 4];
    match recv.read_exact(&mut length).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    read_body(recv, length, limit).await.map(Some)
}

/// Writes a frame behind a u32 length.
///
/// # Errors
/// The stream broke or the peer stopped it.
///
/// # Panics
/// The frame is 4 GiB or longer.
pub async fn write_frame(send: &mut SendStream, body: Bytes) -> Result<(), WriteError> {
    let length = u32::try_from(body.len()).expect("callers bound their frames");
    let head = Bytes::copy_from_slice(&length.to_be_bytes());
    send.write_all_chunks(&mut [head, body]).await
}

/// Reads exactly `length` bytes. Memory grows with what has arrived, not with
/// what was announced.
async fn read_body(
    recv: &mut RecvStream,
    length: usize,
    limit: usize,
) -> Result<Bytes, FrameError> {
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    let mut body = BytesMut::new();
    while body.len() < length {
        let chunk = recv
            .read_chunk(length - body.len(), true)
            .await
            .map_err(FrameError::Read)?
            .ok_or(FrameError::Torn)?;
        if chunk.bytes.len() == length {
            return Ok(chunk.bytes);
        }
        body.extend_from_slice(&chunk.bytes);
    }
    Ok(body.freeze())
}

/// The longest stream header, in bytes: names are at most 253 long, methods are ours.
const HEADER_MAX: usize = 2048;
