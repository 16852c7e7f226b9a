//! What the registry needs of the tunnels.

use std::future::Future;

use bytes::Bytes;
use weft_model::NodeId;
use weft_proto::peer::RaftBatch;

use super::error::CallError;

/// Forwards a proposal to the leader.
pub const METHOD_PROPOSE: &str = "registry.propose";
/// Asks the leader to hand over.
pub const METHOD_TRANSFER: &str = "registry.transfer";

/// Asks for digests of the peer's state.
pub const METHOD_DIGESTS: &str = "registry.digests.2";

/// Carries Raft messages and calls to other gateways, whose identities it proves.
pub trait Transport: Send + Sync + 'static {
    /// Sends, or drops. Never blocks.
    fn send(&self, to: NodeId, batch: RaftBatch);

    /// Calls a peer's `Registry::answer`. May take long or never end: the caller gives up by itself.
    fn call(
        &self,
        to: NodeId,
        method: &'static str,
        body: Bytes,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send;
}
