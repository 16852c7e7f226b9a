//! The hello: the first thing that both ends of a connection tell each other.
//!
//! The dialler opens a stream and writes its hello; the other side judges it
//! and answers with its own, or closes the connection with a reason. In TLS 1.3
//! a client's handshake is complete before the server has judged the client's
//! certificate, so the answer is also the first sign that it was accepted.

use prost::Message;
use quinn::Connection;
use weft_model::{GatewayName, NodeId};

use super::frame::{self, FrameError};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Raft, catalog and RPC streams: one per pair of gateways.
    Control,
    /// Relayed connections: one per worker of a dialling gateway.
    Data,
}

/// Who is at the other end, by its own account; the node is checked against the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) node: NodeId,
    pub(super) gateway: GatewayName,
    /// Random per process: a new one means that the peer's earlier connections are dead.
    pub(super) incarnation: u64,
    pub(super) purpose: Purpose,
    /// The dialler's worker that holds this connection.
    pub(super) worker: u32,
}

/// Why no hello was exchanged.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The connection failed or the peer closed it.
    #[error("the connection closed")]
    Connection(#[from] quinn::ConnectionError),
    /// The hello could not be written.
    #[error("the hello could not be sent")]
    Write(#[from] quinn::WriteError),
    /// The hello could not be read.
    #[error("the hello could not be read")]
    Frame(#[from] FrameError),
    /// The peer's hello has a version that is not known here.
    #[error("the hello has version {0}, this gateway knows {VERSION}")]
    Version(u32),
    /// A field of the hello makes no sense.
    #[error("the hello's {0} makes no sense")]
    Field(&'static str),
}

/// The dialler's half: says who we are, and waits for who answers.
pub(super) async fn offer(connection: &Connection, own: &Hello) -> Result<Hello, HelloError> {
    let (mut send, mut recv) = connection.open_bi().await?;
    frame::write_short(&mut send, &Wire::from(own)).await?;
    // Already finished only if the peer stopped it, and then the read below says why.
    let _ = send.finish();
    read(&mut recv).await
}

/// The other half: reads who dialled; [`Offered::answer`] completes it.
pub(super) async fn accept(connection: &Connection) -> Result<Offered, HelloError> {
    let (send, mut recv) = connection.accept_bi().await?;
    let hello = read(&mut recv).await?;
    Ok(Offered { hello, send })
}

/// A hello that awaits its answer.
pub(super) struct Offered {
    pub(super) hello: Hello,
    send: quinn::SendStream,
}

impl Offered {
    /// Tells the dialler that it is welcome, and who we are.
    pub(super) async fn answer(mut self, own: &Hello) -> Result<(), HelloError> {
        frame::write_short(&mut self.send, &Wire::from(own)).await?;
        let _ = self.send.finish();
        Ok(())
    }
}

async fn read(recv: &mut quinn::RecvStream) -> Result<Hello, HelloError> {
    frame::read_short::<Wire>(recv, LENGTH_MAX)
        .await?
        .try_into()
}

/// The hello on the wire.
#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    node: u64,
    #[prost(string, tag = "3")]
    gateway: String,
    #[prost(fixed64, tag = "4")]
    incarnation: u64,
    #[prost(uint32, tag = "5")]
    purpose: u32,
    #[prost(uint32, tag = "6")]
    worker: u32,
}

impl From<&Hello> for Wire {
    fn from(hello: &Hello) -> Self {
        Self {
            version: VERSION,
            node: hello.node.0,
            gateway: hello.gateway.to_string(),
            incarnation: hello.incarnation,
            purpose: match hello.purpose {
                Purpose::Control => 1,
                Purpose::Data => 2,
            },
            worker: hello.worker,
        }
    }
}

impl TryFrom<Wire> for Hello {
    type Error = HelloError;

    fn try_from(wire: Wire) -> Result<Self, HelloError> {
        if wire.version != VERSION {
            return Err(HelloError::Version(wire.version));
        }
        Ok(Self {
            node: NodeId(wire.node),
            gateway: wire
                .gateway
                .parse()
                .map_err(|_| HelloError::Field("gateway"))?,
            incarnation: wire.incarnation,
            purpose: match wire.purpose {
                1 => Purpose::Control,
                2 => Purpose::Data,
                _ => return Err(HelloError::Field("purpose")),
            },
            worker: wire.worker,
        })
    }
}

/// A hello's bytes, for tests that change them.
#[cfg(test)]
pub(super) fn written(hello: &Hello) -> Vec<u8> {
    Wire::from(hello).encode_to_vec()
}

#[cfg(test)]
pub(super) fn parsed(bytes: &[u8]) -> Result<Hello, HelloError> {
    let wire = Wire::decode(bytes).map_err(FrameError::Decode)?;
    wire.try_into()
}

/// The version of the hello that this gateway speaks.
const VERSION: u32 = 1;
/// The longest hello, in bytes.
const LENGTH_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_survives_the_wire_and_nonsense_does_not() {
        let hello = Hello {
            node: NodeId(7),
            gateway: "gw-1".parse().unwrap(),
            incarnation: 99,
            purpose: Purpose::Data,
            worker: 3,
        };
        let wire = Wire::from(&hello);
        assert_eq!(Hello::try_from(wire.clone()).unwrap(), hello);
        let refused = |change: fn(&mut Wire)| {
            let mut wire = wire.clone();
            change(&mut wire);
            Hello::try_from(wire).unwrap_err().to_string()
        };
        assert!(refused(|w| w.version = 2).contains("version 2"));
        assert!(refused(|w| w.gateway = "No Name".into()).contains("gateway"));
        assert!(refused(|w| w.purpose = 0).contains("purpose"));
    }
}
