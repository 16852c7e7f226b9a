//! How clients without a sidecar are answered: by a listener for each address, by
//! one for all of them, or not at all.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use weft_proxy::Hint;

use super::captured::Captured;
use super::listeners::Listeners;
use super::metrics::StandInMetrics;
use super::pool::Pool;
use super::{Clients, StartError};

/// What accepts. Dropped, it stops.
pub(super) enum Answering {
    /// A listener for each address and port. No privilege, a descriptor each.
    Each(Listeners),
    /// One for all: the kernel redirects.
    Captured(Captured),
    /// None.
    Nobody,
}

impl Answering {
    /// As configured, with nothing to answer for yet.
    pub(super) fn start(
        clients: Clients,
        pool: &Pool,
        metrics: &StandInMetrics,
    ) -> Result<Self, StartError> {
        Ok(match clients {
            Clients::Answer => Self::Each(Listeners::new(pool.clone(), metrics.clone())),
            Clients::Captured(port) => Self::Captured(Captured::start(port, pool, metrics)?),
            Clients::Ignore => Self::Nobody,
        })
    }

    /// Whether [`Answering::settle`] would do anything.
    pub(super) fn is_wanted(&self) -> bool {
        !matches!(self, Self::Nobody)
    }

    /// Whether it is answered for whatever becomes of the service. Where the kernel redirects,
    /// no other gateway could answer instead.
    pub(super) fn is_open(&self, at: &SocketAddr) -> bool {
        match self {
            Self::Each(listeners) => listeners.is_open(at),
            Self::Captured(_) => true,
            Self::Nobody => false,
        }
    }

    /// Answers for `wanted` and nothing else from now on.
    pub(super) fn settle(&mut self, wanted: BTreeMap<SocketAddr, Hint>) {
        match self {
            Self::Each(listeners) => listeners.settle(&wanted),
            Self::Captured(captured) => captured.settle(wanted),
            Self::Nobody => {}
        }
    }

    /// The addresses that should be open and are not, with the system's reason.
    pub(super) fn unbound(&self) -> Vec<(SocketAddr, io::ErrorKind)> {
        match self {
            Self::Each(listeners) => {
                let unbound = listeners.unbound().iter();
                unbound.map(|(at, why)| (*at, *why)).collect()
            }
            Self::Captured(_) | Self::Nobody => Vec::new(),
        }
    }

    /// Stops accepting; what has been accepted is with the workers then.
    pub(super) async fn close(self) {
        match self {
            Self::Each(listeners) => listeners.close().await,
            Self::Captured(captured) => captured.close().await,
            Self::Nobody => {}
        }
    }
}
