//! A data connection, as relayed connections use it.

use std::sync::Arc;

use weft_model::NodeId;
use weft_proto::peer::stream_header::Kind;
use weft_proto::peer::{RelayStream, StreamHeader};

use super::link::{Link, OpenError, PeerStream};

/// A connection that relay streams may be opened on.
#[derive(Clone)]
pub(crate) struct RelayLink {
    pub(super) link: Arc<Link>,
}

impl RelayLink {
    /// Opens a relay stream.
    pub(crate) async fn open(&self, header: RelayStream) -> Result<PeerStream, OpenError> {
        let kind = Some(Kind::Relay(header));
        self.link.open(&StreamHeader { kind }).await
    }

    /// Where it leads.
    pub(crate) fn node(&self) -> NodeId {
        self.link.origin.node
    }

    /// The smoothed round-trip time.
    pub(crate) fn rtt(&self) -> std::time::Duration {
        self.link.connection.rtt()
    }

    /// How many datagrams have come by it.
    pub(crate) fn arrived(&self) -> u64 {
        self.link.arrived()
    }

    /// Prefers others until something comes by it, if nothing has since `arrived`
    /// datagrams had. Says whether that is so.
    pub(crate) fn doubt(&self, arrived: u64) -> bool {
        self.link.doubt(arrived);
        self.link.is_doubted()
    }
}
