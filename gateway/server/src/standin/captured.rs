//! One port for all virtual IPs: the kernel redirects connections here (`weft capture
//! on --gateway`) and remembers where they were going.
//!
//! Five thousand services cost two descriptors, and an entry of a map each.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use weft_proxy::Hint;
use weft_proxy::capture::original_destination;

use super::StartError;
use super::listeners::listen;
use super::metrics::StandInMetrics;
use super::pool::{Pool, Work};

type Meanings = ArcSwap<BTreeMap<SocketAddr, Hint>>;

/// The open port. Dropped, it closes.
pub(super) struct Captured {
    meanings: Arc<Meanings>,
    metrics: StandInMetrics,
    stop: DropGuard,
    accepting: TaskTracker,
}

impl Captured {
    /// Opens the port on every address of the machine: a redirected packet gets the
    /// address of the interface that it came in by.
    ///
    /// # Errors
    /// It cannot be bound on IPv4. A machine without IPv6 goes without.
    pub(super) fn start(
        port: NonZeroU16,
        pool: &Pool,
        metrics: &StandInMetrics,
    ) -> Result<Self, StartError> {
        let meanings = Arc::<Meanings>::default();
        let bind = |ip: IpAddr| {
            let address = SocketAddr::new(ip, port.get());
            listen(address).map_err(|source| StartError::Capture { address, source })
        };
        let ipv4 = bind(Ipv4Addr::UNSPECIFIED.into())?;
        let ipv6 = bind(Ipv6Addr::UNSPECIFIED.into())
            .inspect_err(|error| tracing::info!(%error, "no capture of IPv6"))
            .ok();
        let (stop, accepting) = (CancellationToken::new(), TaskTracker::new());
        let accept = |listener: TcpListener, family: Family| {
            let meanings = Arc::clone(&meanings);
            let work = move |tcp: &TcpStream| meaning(&meanings.load(), tcp, family);
            accepting.spawn(pool.clone().accept(listener, stop.clone(), work));
        };
        accept(ipv4, Family::V4);
        if let Some(listener) = ipv6 {
            accept(listener, Family::V6);
        }
        accepting.close();
        Ok(Self {
            stop: stop.drop_guard(),
            accepting,
            meanings,
            metrics: metrics.clone(),
        })
    }

    /// New connections mean this from now on.
    pub(super) fn settle(&self, wanted: BTreeMap<SocketAddr, Hint>) {
        self.metrics.listening(wanted.len(), 0);
        self.meanings.store(Arc::new(wanted));
    }

    /// Stops accepting; what has been accepted is with the workers then.
    pub(super) async fn close(self) {
        drop(self.stop);
        self.accepting.wait().await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// What a redirected connection is for. One that nothing redirected was going to the
/// port itself, which is no service's address: it is refused like any other.
fn meaning(meanings: &BTreeMap<SocketAddr, Hint>, tcp: &TcpStream, family: Family) -> Option<Work> {
    let to = original_destination(tcp, family == Family::V6);
    let hint = to.as_ref().ok().and_then(|to| meanings.get(to));
    if hint.is_none() {
        tracing::debug!(?to, "captured connection refused: no service here");
    }
    hint.cloned().map(Work::Client)
}
