//! Streams that peers opened.

use quinn::{RecvStream, SendStream};
use weft_model::{ClusterName, NodeId, SpiffeId};
use weft_proto::peer::{RelayStream, StreamHeader};

use super::link::Hold;

/// A Raft, catalog or RPC stream, after its header.
pub struct IncomingStream {
    /// The peer's proven identity.
    pub peer: SpiffeId,
    /// The peer's node.
    pub node: NodeId,
    /// What the stream is for.
    pub header: StreamHeader,
    /// Towards the peer; none on Raft streams, which are one-way.
    pub send: Option<SendStream>,
    /// From the peer.
    pub recv: RecvStream,
    /// Drop it when the stream is done with.
    pub hold: Hold,
}

/// A relayed connection, after its header; nothing has been answered yet.
pub struct IncomingRelay {
    /// The peer's proven identity.
    pub peer: SpiffeId,
    /// The peer's cluster.
    pub cluster: ClusterName,
    /// Where it should go.
    pub header: RelayStream,
    /// Towards the peer.
    pub send: SendStream,
    /// From the peer.
    pub recv: RecvStream,
    /// Drop it when the stream is done with.
    pub hold: Hold,
}
