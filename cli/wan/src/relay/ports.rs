//! The relay's ends: fronts that clients dial, flows that lead on to sites.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::SelectAll;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use super::config::{Front, Origin, Pair, RelayConfig, SiteId};
use super::flows::{FlowId, FlowKey, FlowTable};
use super::links::{LinkId, Links};
use super::socket::{self, Packet, Readiness};
use crate::moment::Moment;

/// Every socket of the relay, and which of them can be read.
#[derive(Debug)]
pub(super) struct Ports {
    sites: BTreeMap<SiteId, SocketAddr>,
    fronts: Vec<BoundFront>,
    flows: FlowTable<Flow>,
    ready: SelectAll<Readiness<Port>>,
}

/// A socket that can be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Port {
    Front(usize),
    Flow(FlowId),
}

/// A front and its socket.
#[derive(Debug)]
pub(super) struct BoundFront {
    pub(super) listen: SocketAddr,
    pub(super) socket: Arc<UdpSocket>,
    target: SiteId,
    origin: Origin,
    /// Ends the front's readiness when dropped.
    _open: oneshot::Sender<()>,
}

/// The last step out of the relay: through which socket, to which address.
pub(super) type Way = (Arc<UdpSocket>, SocketAddr);

/// A client's way through a front.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) upstream: Arc<UdpSocket>,
    /// The site's real address.
    target: SocketAddr,
    /// Where the client's packets come from.
    origin: SiteId,
    pub(super) there: LinkId,
    pub(super) back: LinkId,
    /// Ends the flow's readiness when dropped.
    _open: oneshot::Sender<()>,
}

/// Why a client gets no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is no site, or the very site it wants to reach.
    Unroutable,
    /// The table is full.
    TooMany,
    /// The kernel gives no socket.
    NoSocket,
}

impl Flow {
    pub(super) fn way_there(&self) -> Way {
        (Arc::clone(&self.upstream), self.target)
    }
}

impl Ports {
    pub(super) fn new(config: &RelayConfig) -> Self {
        let sites = config
            .sites
            .iter()
            .map(|site| (site.id.clone(), site.address));
        Self {
            sites: sites.collect(),
            fronts: Vec::with_capacity(config.fronts.len()),
            flows: FlowTable::new(config.flows_max, config.flow_idle_max),
            ready: SelectAll::new(),
        }
    }

    pub(super) fn open_front(&mut self, front: Front) -> io::Result<()> {
        let socket = Arc::new(socket::bind(front.listen)?);
        let listen = socket.local_addr()?;
        let _open = self.watch(Port::Front(self.fronts.len()), &socket);
        self.fronts.push(BoundFront {
            listen,
            socket,
            target: front.target,
            origin: front.origin,
            _open,
        });
        Ok(())
    }

    pub(super) fn fronts(&self) -> &[BoundFront] {
        &self.fronts
    }

    pub(super) fn flows(&mut self) -> &mut FlowTable<Flow> {
        &mut self.flows
    }

    pub(super) fn flows_len(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn next_sweep(&self) -> Option<Moment> {
        self.flows.next_sweep()
    }

    /// A port that can be read; never, if there is none.
    pub(super) async fn readable(&mut self) -> (Port, io::Result<()>) {
        match self.ready.next().await {
            Some(readable) => readable,
            None => std::future::pending().await,
        }
    }

    /// Forgets the flows of a site's packets.
    pub(super) fn rebind(&mut self, site: &SiteId) {
        self.flows.retain(|flow| flow.origin != *site);
    }

    /// Makes a flow for a client that has none.
    pub(super) fn open_flow(
        &mut self,
        now: Moment,
        key: FlowKey,
        links: &Links<Packet>,
    ) -> Result<&Flow, Refusal> {
        let (front, client) = key;
        let (origin, source) = self.origin_of(front, client.ip())?;
        let pair = Pair::new(origin.clone(), self.fronts[front].target.clone());
        // No link leads from a site to itself.
        let there = links.id(&pair).map_err(|_| Refusal::Unroutable)?;
        let back = links.id(&pair.reverse()).map_err(|_| Refusal::Unroutable)?;
        if self.flows.is_full() {
            return Err(Refusal::TooMany);
        }
        let target = *self.sites.get(&pair.to).ok_or(Refusal::Unroutable)?;
        let upstream = socket::connect(source, target).map_err(|_| Refusal::NoSocket)?;
        let upstream = Arc::new(upstream);
        let _open = self.watch(Port::Flow(self.flows.next_id()), &upstream);
        let flow = Flow {
            upstream,
            target,
            origin,
            there,
            back,
            _open,
        };
        Ok(self.flows.insert(now, key, flow))
    }

    /// The site that a front's client is, and the IP address it shall be seen with.
    fn origin_of(&self, front: usize, client: IpAddr) -> Result<(SiteId, IpAddr), Refusal> {
        let site = match &self.fronts[front].origin {
            Origin::Site(id) => self.sites.get_key_value(id),
            Origin::ByAddress => self.sites.iter().find(|(_, site)| site.ip() == client),
        };
        let (id, address) = site.ok_or(Refusal::Unroutable)?;
        Ok((id.clone(), address.ip()))
    }

    fn watch(&mut self, port: Port, socket: &Arc<UdpSocket>) -> oneshot::Sender<()> {
        let (open, closed) = oneshot::channel();
        self.ready.push(Readiness {
            port,
            socket: Arc::clone(socket),
            closed,
        });
        open
    }
}
