//! The established connections, and which of them are in use.
//!
//! Readers take a snapshot; every change publishes a new one. Selection is
//! by slot: a pair of gateways has one control slot, and one data slot for each
//! worker of each side that dials. Of several links in a slot one is in use,
//! the others are superseded and closed by the side that dialled them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use weft_model::NodeId;

use super::hello::Purpose;
use super::link::{Dialled, Link};

/// All links at one moment.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    links: BTreeMap<NodeId, Vec<Arc<Link>>>,
}

impl Snapshot {
    /// Every link to `node`, in the order of their sequence.
    pub(super) fn of(&self, node: NodeId) -> &[Arc<Link>] {
        self.links.get(&node).map_or(&[], Vec::as_slice)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.values().flatten()
    }

    /// The control link in use: of several, one that is direct and heard from; of those
    /// the one dialled by the lower node; of those the latest.
    pub(super) fn control(&self, own: NodeId, node: NodeId) -> Option<&Arc<Link>> {
        let favoured = favoured_dialler(own, node);
        self.controls(node).max_by_key(|link| {
            let favoured = link.origin.dialled == favoured;
            let direct = link.is_direct() && !link.is_silent();
            (!link.is_retired(), direct, favoured, link.sequence)
        })
    }

    /// All control links that are up.
    pub(super) fn controls(&self, node: NodeId) -> impl Iterator<Item = &Arc<Link>> {
        let control = |link: &&Arc<Link>| link.origin.purpose == Purpose::Control;
        self.of(node)
            .iter()
            .filter(move |link| control(link) && link.is_alive())
    }

    /// The data links in use to `node`: the latest of each slot.
    pub(super) fn data(&self, node: NodeId) -> impl Iterator<Item = &Arc<Link>> {
        let links = self.of(node);
        links.iter().filter(move |link| {
            link.origin.purpose == Purpose::Data
                && link.is_alive()
                && !links.iter().any(|other| other.supersedes_data(link))
        })
    }

    /// Links that this side dialled and that another has taken the place of.
    pub(super) fn superseded(&self, own: NodeId) -> impl Iterator<Item = &Arc<Link>> {
        self.iter().filter(move |link| {
            let node = link.origin.node;
            // A detour is left by who keeps it.
            link.origin.dialled == Dialled::Here
                && link.is_direct()
                && link.is_alive()
                && match link.origin.purpose {
                    Purpose::Control => self
                        .control(own, node)
                        .is_some_and(|used| used.is_direct() && used.sequence != link.sequence),
                    Purpose::Data => self.of(node).iter().any(|o| o.supersedes_data(link)),
                }
        })
    }
}

impl Link {
    /// Whether this is a later data link of the same slot.
    fn supersedes_data(&self, other: &Self) -> bool {
        self.sequence > other.sequence
            && self.origin.purpose == Purpose::Data
            && self.origin.dialled == other.origin.dialled
            && self.origin.worker == other.origin.worker
            && self.is_direct() == other.is_direct()
            && self.is_alive()
    }
}

/// Both sides agree on this without a word: the lower node's dial is kept.
fn favoured_dialler(own: NodeId, peer: NodeId) -> Dialled {
    if own < peer {
        Dialled::Here
    } else {
        Dialled::There
    }
}

/// The current snapshot, and a way to hear of the next.
pub(super) struct Links {
    current: ArcSwap<Snapshot>,
    edit: Mutex<()>,
    sequence: AtomicU64,
    changed: watch::Sender<u64>,
}

impl Links {
    pub(super) fn new() -> Self {
        Self {
            current: ArcSwap::default(),
            edit: Mutex::new(()),
            sequence: AtomicU64::new(1),
            changed: watch::Sender::new(0),
        }
    }

    pub(super) fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// A snapshot to keep across an await.
    pub(super) fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Resolves at each change after the last seen.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn insert(&self, link: Arc<Link>) {
        self.edit(|links| {
            let of_node = links.entry(link.origin.node).or_default();
            let superseded = of_node.iter().filter(|other| link.supersedes_data(other));
            superseded.for_each(|other| other.leave());
            of_node.push(link);
        });
    }

    pub(super) fn remove(&self, link: &Link) {
        self.edit(|links| {
            if let Some(of_node) = links.get_mut(&link.origin.node) {
                of_node.retain(|other| other.sequence != link.sequence);
                if of_node.is_empty() {
                    links.remove(&link.origin.node);
                }
            }
        });
    }

    /// Tells subscribers to look again though no link came or went.
    pub(super) fn touch(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn edit(&self, change: impl FnOnce(&mut BTreeMap<NodeId, Vec<Arc<Link>>>)) {
        {
            let _held = self.edit.lock().unwrap_or_else(PoisonError::into_inner);
            let mut next = Snapshot::clone(&self.current.load());
            change(&mut next.links);
            self.current.store(Arc::new(next));
        }
        self.touch();
    }
}
