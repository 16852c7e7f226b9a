//! Who is at the other end of a connection.

use weft_model::SpiffeId;

/// The identity that the peer proved on the TLS handshake.
///
/// The listener puts it into the extensions of every request; nothing that a
/// peer sends can. A request without it came over a connection without a
/// client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity(pub SpiffeId);
