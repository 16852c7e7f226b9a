//! One question, one answer: RPC over a stream of the control connection.
//!
//! The question is a frame, then the stream's end. The answer is a byte and a
//! frame: 0 and the answer, or 1 and a sentence that says why there is none.

use bytes::{BufMut, Bytes, BytesMut};
use quinn::SendStream;
use weft_model::{NodeId, SpiffeId};
use weft_proto::peer::stream_header::Kind;
use weft_proto::peer::{RpcStream, StreamHeader};

use super::frame::{self, FrameError};
use super::incoming::IncomingStream;
use super::link::{Hold, OpenError, PeerStream};

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The stream could not be opened: the peer has not seen the question.
    #[error("the peer cannot be asked")]
    Open(#[from] OpenError),
    /// The question is longer than [`QUESTION_MAX`].
    #[error("a question of {0} bytes, at most {QUESTION_MAX} are allowed")]
    TooLong(usize),
    /// The question could not be sent; the peer may have acted on it.
    #[error("the question could not be sent")]
    Write(#[from] quinn::WriteError),
    /// The answer could not be read; the peer may have acted on the question.
    #[error("the answer could not be read")]
    Frame(#[from] FrameError),
    /// The peer answered with a refusal.
    #[error("the peer refused: {0}")]
    Refused(String),
    /// No answer within the deadline; the peer may have acted on the question.
    #[error("no answer in time")]
    Deadline,
}

impl CallError {
    /// Whether the peer cannot have seen the question, so that asking again is
    /// safe whatever it does.
    pub fn is_unseen(&self) -> bool {
        matches!(self, Self::Open(_) | Self::TooLong(_))
    }
}

/// The header of a call to `method`.
pub(super) fn header(method: &str) -> StreamHeader {
    StreamHeader {
        kind: Some(Kind::Rpc(RpcStream {
            method: method.to_owned(),
        })),
    }
}

/// Asks on a fresh stream and reads the answer.
pub(super) async fn ask(mut stream: PeerStream, question: Bytes) -> Result<Bytes, CallError> {
    frame::write_frame(&mut stream.send, question).await?;
    let _ = stream.send.finish();
    let mut status = [0];
    stream
        .recv
        .read_exact(&mut status)
        .await
        .map_err(FrameError::from)?;
    let answer = frame::read_frame(&mut stream.recv, CALL_MAX)
        .await?
        .ok_or(FrameError::Torn)?;
    match status {
        [ANSWERED] => Ok(answer),
        _ => Err(CallError::Refused(
            String::from_utf8_lossy(&answer).into_owned(),
        )),
    }
}

/// A question from a peer.
pub struct Question {
    /// Who asks.
    pub peer: SpiffeId,
    /// Its node.
    pub node: NodeId,
    /// What is asked.
    pub method: String,
    /// With what.
    pub body: Bytes,
    /// Where the answer goes.
    pub answer: Answer,
}

impl Question {
    /// Reads the question of an RPC stream; none if `stream` is of another kind.
    ///
    /// # Errors
    /// The stream broke or the question is too long.
    pub async fn read(mut stream: IncomingStream) -> Result<Option<Self>, FrameError> {
        let (Some(Kind::Rpc(rpc)), Some(send)) = (stream.header.kind, stream.send) else {
            return Ok(None);
        };
        let body = frame::read_frame(&mut stream.recv, QUESTION_MAX)
            .await?
            .ok_or(FrameError::Torn)?;
        Ok(Some(Self {
            peer: stream.peer,
            node: stream.node,
            method: rpc.method,
            body,
            answer: Answer::new(send, stream.hold),
        }))
    }
}

/// The open half of a question. Dropped without an answer, the asker reads a torn one.
pub struct Answer {
    send: SendStream,
    _hold: Hold,
}

impl Answer {
    pub(super) fn new(send: SendStream, hold: Hold) -> Self {
        Self { send, _hold: hold }
    }

    /// Answers; a body longer than [`CALL_MAX`] becomes a refusal.
    ///
    /// # Errors
    /// The asker is gone.
    pub async fn send(self, body: Bytes) -> Result<(), quinn::WriteError> {
        if body.len() > CALL_MAX {
            return self.refuse("the answer is too long").await;
        }
        self.finish(ANSWERED, body).await
    }

    /// Says why there is no answer.
    ///
    /// # Errors
    /// The asker is gone.
    pub async fn refuse(self, why: &str) -> Result<(), quinn::WriteError> {
        self.finish(REFUSED, Bytes::copy_from_slice(why.as_bytes()))
            .await
    }

    async fn finish(mut self, status: u8, body: Bytes) -> Result<(), quinn::WriteError> {
        let length = u32::try_from(body.len()).expect("bounded by CALL_MAX");
        let mut head = BytesMut::with_capacity(5);
        head.put_u8(status);
        head.put_u32(length);
        self.send
            .write_all_chunks(&mut [head.freeze(), body])
            .await?;
        // The stream goes on to deliver what it holds after it is dropped.
        let _ = self.send.finish();
        Ok(())
    }
}

/// The longest question, in bytes: twice a log entry. Whoever answers holds many at once.
pub const QUESTION_MAX: usize = 512 << 10;
/// The longest answer, in bytes: 8 MiB.
pub const CALL_MAX: usize = 8 << 20;

const ANSWERED: u8 = 0;
const REFUSED: u8 = 1;
