//! Why a gateway cannot start, or had to stop.

use std::sync::Arc;

use crate::api::ApiError;
use crate::clamps::ClampFileError;
use crate::membership::MembershipError;
use crate::{standin, tunnel};

/// Why a gateway cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Its membership cannot be read.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The registry cannot start.
    #[error(transparent)]
    Registry(#[from] weft_registry::StartError),
    /// The founding entry on disk does not read.
    #[error("the founding entry does not read")]
    Founding(#[from] weft_registry::wire::WireError),
    /// The clamps that it kept cannot be used.
    #[error(transparent)]
    Clamps(#[from] ClampFileError),
    /// The tunnels cannot start.
    #[error(transparent)]
    Tunnels(#[from] tunnel::StartError),
    /// The API cannot start.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The stand-in cannot start.
    #[error(transparent)]
    StandIn(#[from] standin::StartError),
    /// The relay cannot start.
    #[error(transparent)]
    Relay(#[from] crate::relay::ListenError),
    /// DNS cannot start.
    #[error(transparent)]
    Dns(#[from] crate::dns::DnsError),
    /// The configured zone is no name.
    #[error("dns.zone {zone:?} is no domain name: {source}")]
    Zone {
        /// As configured.
        zone: String,
        /// What is wrong with it.
        source: weft_plan::dns::NameError,
    },
    /// Only a follower leaves when it stops.
    #[error("leaveOnStop is for a follower: a member comes back with its log")]
    LeaveOnStop,
    /// The metrics contradict each other.
    #[error("the metrics cannot be set up")]
    Metrics(#[from] prometheus::Error),
    /// The console port cannot be listened on.
    #[error("cannot listen on {address}")]
    Console {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// A file in the state folder cannot be used, or a thread not be started.
    #[error("cannot use {what}")]
    Io {
        /// What.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The log's disk failed: nothing may be acknowledged any more.
    #[error("the registry's disk failed: {0}")]
    Disk(Arc<weft_registry::Failure>),
}
