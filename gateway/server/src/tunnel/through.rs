//! Through a third cluster: two gateways that cannot reach each other keep their connections by
//! one that reaches both and whose cluster consents.
//!
//! ```text
//! a ── stream: ticket, datagrams ──> c ── the same ──> b
//! └───────────── QUIC between a and b, TLS from end to end ─────────────┘
//! ```
//!
//! What it is: a stream of datagrams in the place of a UDP socket, so that all that runs between two
//! gateways runs unchanged: Raft, catalog, calls, relayed connections.
//! What it is not: the third reads nothing, decides nothing but whether to carry, and passes on
//! nothing that it heard. A detour has one hop: it begins and goes on by direct connections alone.

mod arrive;
mod dial;
mod forward;
mod quota;
mod socket;
pub(super) mod ticket;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use quinn::{RecvStream, SendStream};
use tokio::sync::watch;
use weft_identity::SigningKey;
use weft_model::{ClusterName, Code, code};
use weft_plan::Moment;
use weft_proto::peer::ThroughStream;

use super::link::{Hold, Link};
use super::shared::Shared;
use quota::Quota;
use ticket::Spent;

pub(super) use dial::keep;

/// What a gateway needs to take part.
#[derive(Clone)]
pub struct Relaying {
    /// Its cluster.
    pub cluster: ClusterName,
    /// The key that it signs tickets with: the one that the log knows.
    pub signing: Arc<SigningKey>,
}

/// Why a detour is not taken. The number travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[repr(u8)]
pub enum Refused {
    /// The third cluster's `relay` is not `allow`.
    #[error("the cluster in between does not consent to relay")]
    Consent = 1,
    /// The ticket is not what it should be.
    #[error("the ticket does not hold: forged, too old, or for somebody else")]
    Ticket = 2,
    /// The ticket was used before.
    #[error("the ticket has been used")]
    Spent = 3,
    /// The cluster in between carries as much as it is willing to.
    #[error("the cluster in between carries as many connections as it may")]
    Quota = 4,
    /// The third does not reach the peer either.
    #[error("the cluster in between does not reach the peer directly")]
    NoPath = 5,
    /// It said something else, or nothing.
    #[error("the gateway in between gave no answer")]
    Silent = 255,
}

impl Refused {
    fn of(byte: u8) -> Self {
        let known = [
            Self::Consent,
            Self::Ticket,
            Self::Spent,
            Self::Quota,
            Self::NoPath,
        ];
        let found = known.into_iter().find(|refused| *refused as u8 == byte);
        found.unwrap_or(Self::Silent)
    }

    /// What the user finds more about.
    pub fn code(self) -> Code {
        match self {
            Self::Consent => code::RELAY_DENIED,
            Self::Ticket | Self::Spent => code::RELAY_TICKET,
            Self::Quota => code::RELAY_QUOTA,
            Self::NoPath | Self::Silent => code::RELAY_NO_PATH,
        }
    }
}

/// The byte that stands for no refusal.
const ADMITTED: u8 = 0;

/// What the parts share.
pub(super) struct Through {
    relaying: Option<Relaying>,
    /// Whether this cluster carries between two others.
    consent: watch::Sender<bool>,
    spent: Mutex<Spent>,
    quota: Arc<Quota>,
    began: Instant,
}

impl Through {
    pub(super) fn new(relaying: Option<Relaying>) -> Self {
        Self {
            relaying,
            consent: watch::Sender::new(false),
            spent: Mutex::default(),
            quota: Arc::default(),
            began: Instant::now(),
        }
    }

    pub(super) fn set_consent(&self, consent: bool) {
        self.consent.send_if_modified(|before| {
            let changed = *before != consent;
            *before = consent;
            changed
        });
    }

    fn now(&self) -> Moment {
        Moment(self.began.elapsed())
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that asks to be carried, or arrives carried.
pub(super) struct Asked {
    pub(super) shared: Arc<Shared>,
    /// The caller's.
    pub(super) worker: usize,
    pub(super) link: Arc<Link>,
    pub(super) header: ThroughStream,
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    pub(super) hold: Hold,
}

impl Asked {
    /// Carries it on or takes it in, as its ticket says, until it ends.
    pub(super) async fn take(mut self) {
        let outcome = match self.judge() {
            Ok(ticket) if ticket.to == self.shared.node => return arrive::take(self, ticket).await,
            Ok(ticket) => return forward::take(self, ticket).await,
            Err(refused) => refused,
        };
        self.refuse(outcome).await;
    }

    /// Whether the ticket holds here: whoever is in between, and whoever it is for, ask the same.
    fn judge(&self) -> Result<ticket::Ticket, Refused> {
        let shared = &self.shared;
        let own = shared.through.relaying.as_ref().ok_or(Refused::Ticket)?;
        let ticket = ticket::read(&self.header).ok_or(Refused::Ticket)?;
        let peers = shared.peers.load();
        let cluster = |node| match node {
            node if node == shared.node => Some(own.cluster.clone()),
            node => peers.get(node).map(|target| target.cluster.clone()),
        };
        let (Some(from), Some(via), Some(to)) = (
            cluster(ticket.from),
            cluster(ticket.via),
            cluster(ticket.to),
        ) else {
            return Err(Refused::Ticket);
        };
        let three = from != via && via != to && from != to;
        let sender = match ticket.to == shared.node {
            true => ticket.via,
            false => ticket.from,
        };
        let ours = ticket.to == shared.node || ticket.via == shared.node;
        // One hop: what came here by a detour goes no further.
        let direct = self.link.origin.through.is_none();
        let key = peers.get(ticket.from).and_then(|target| target.key);
        let signed = key.is_some_and(|key| ticket::is_signed(&self.header, &key));
        if !three || !ours || sender != self.link.origin.node || !direct || !signed {
            return Err(Refused::Ticket);
        }
        if !ticket.is_fresh(crate::hub::wall_clock()) {
            return Err(Refused::Ticket);
        }
        // Its own consent only the one in between knows for certain: who is cut off may have
        // heard nothing of it.
        if ticket.via == shared.node && !*shared.through.consent.borrow() {
            return Err(Refused::Consent);
        }
        match shared.through.spent().spend(&ticket, shared.through.now()) {
            true => Ok(ticket),
            false => Err(Refused::Spent),
        }
    }

    async fn refuse(&mut self, refused: Refused) {
        let peer = &self.link.origin.id;
        tracing::debug!(%peer, %refused, code = %refused.code(), "a detour was refused");
        let metrics = &self.shared.metrics.detours_refused;
        metrics.with_label_values(&[&format!("{refused:?}")]).inc();
        let _ = self.send.write_all(&[refused as u8]).await;
        let _ = self.send.finish();
    }
}
