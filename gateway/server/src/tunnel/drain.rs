//! Ending without cutting: tell the peers, let streams end, then close.
//!
//! Two notices travel as calls that the tunnels keep to themselves: that this
//! gateway drains, and that one connection is retired since another took its
//! place. The second is answered once the peer's streams on it have ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use quinn::SendStream;
use tokio::time::{timeout, timeout_at};
use weft_proto::peer::RpcStream;

use super::call::{self, Answer};
use super::close::Close;
use super::hello::Purpose;
use super::link::Link;
use super::shared::Shared;
use super::table::Snapshot;

/// Begins the drain: new connections are refused from now on, and peers are told
/// to send no new relayed connections and to leave those that are there.
pub(super) async fn announce(shared: &Arc<Shared>) {
    if shared.draining.is_cancelled() {
        return;
    }
    shared.draining.cancel();
    let links = shared.links.load_full();
    let control = of_purpose(&links, Purpose::Control);
    join_all(control.map(notify)).await;
}

/// Drains the tunnels: what is open may go on until `deadline`. Then every
/// connection is closed.
pub(super) async fn drain(shared: &Arc<Shared>, deadline: Instant) {
    idle(shared, deadline).await;
    close(shared).await;
}

/// Resolves once no relayed connection is open any more, or at `deadline`.
pub(super) async fn idle(shared: &Arc<Shared>, deadline: Instant) {
    let _ = timeout_at(tokio::time::Instant::from_std(deadline), async {
        announce(shared).await;
        let links = shared.links.load_full();
        let data = of_purpose(&links, Purpose::Data);
        join_all(data.map(until_ended)).await;
    })
    .await;
}

fn of_purpose(links: &Snapshot, purpose: Purpose) -> impl Iterator<Item = &Arc<Link>> {
    links
        .iter()
        .filter(move |link| link.origin.purpose == purpose)
}

async fn until_ended(link: &Arc<Link>) {
    tokio::select! {
        () = link.wait_idle() => {}
        _ = link.connection.closed() => {}
    }
}

/// Tells one peer, and waits briefly for it to have heard.
async fn notify(link: &Arc<Link>) {
    let told = async {
        let stream = link.open(&call::header(DRAIN)).await?;
        call::ask(stream, Bytes::new()).await
    };
    if let Ok(Err(error)) = timeout(NOTICE, told).await {
        tracing::debug!(peer = %link.origin.id, %error, "a peer could not be told of the drain");
    }
}

/// Closes everything, and waits until the peers have been told or a second has passed.
async fn close(shared: &Arc<Shared>) {
    shared.lanes.retain(|_| false);
    for link in shared.links.load().iter() {
        Close::Shutdown.apply(&link.connection);
    }
    shared.stop.cancel();
    let endpoints = || {
        let both = shared.endpoints.iter();
        both.flat_map(|endpoints| [&endpoints.listen, &endpoints.dial])
    };
    for endpoint in endpoints() {
        // Handshakes in progress.
        Close::Shutdown.apply_all(endpoint);
    }
    let idle = endpoints().map(quinn::Endpoint::wait_idle);
    let _ = timeout(NOTICE, join_all(idle)).await;
}

/// Closes a superseded link once nobody uses it: the peer says when its streams
/// have ended, and knows from then on not to open more. At most after `patience`.
///
/// It stays if its successor has ended meanwhile, as one of two simultaneous dials
/// does: the peer gives its own up when ours has come through first.
pub(super) async fn retire(shared: &Shared, link: &Arc<Link>, patience: Duration) {
    until_unused(link, patience).await;
    let links = shared.links.load();
    let mut superseded = links.superseded(shared.node);
    if superseded.any(|other| other.sequence == link.sequence) {
        Close::Superseded.apply(&link.connection);
    }
}

/// The same for a link that goes through a third: it stays if there is no direct one any more.
pub(super) async fn leave_detour(shared: &Shared, link: &Arc<Link>, patience: Duration) {
    until_unused(link, patience).await;
    if shared.direct_control(link.origin.node).is_some() {
        Close::Superseded.apply(&link.connection);
    }
}

async fn until_unused(link: &Arc<Link>, patience: Duration) {
    let unused = async {
        if let Ok(stream) = link.open(&call::header(RETIRE)).await {
            // A peer that cannot answer has lost the connection.
            let _ = call::ask(stream, Bytes::new()).await;
        }
        link.wait_idle().await;
    };
    tokio::select! {
        _ = timeout(patience, unused) => {}
        _ = link.connection.closed() => {}
    }
}

/// A call that is not for the users of the tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// The peer takes no new relayed connections, and will close those that are open.
    Drains,
    /// The peer will close the link that this comes on.
    Retires,
}

impl Notice {
    pub(super) fn of(rpc: &RpcStream) -> Option<Self> {
        match rpc.method.as_str() {
            DRAIN => Some(Self::Drains),
            RETIRE => Some(Self::Retires),
            _ => None,
        }
    }

    /// Heeds the notice that came on `link`, and answers it.
    pub(super) async fn heed(self, shared: &Shared, link: &Arc<Link>, send: SendStream) {
        match self {
            Self::Drains => {
                for link in shared.links.load().of(link.origin.node) {
                    link.set_draining();
                }
                shared.links.touch();
            }
            Self::Retires => {
                link.retire();
                shared.links.touch();
                unused(shared, link).await;
            }
        }
        // If the peer is gone already, nothing is lost.
        let _ = Answer::new(send, link.hold()).send(Bytes::new()).await;
    }
}

/// Resolves once another link is used in place of `link`, and its streams have ended.
async fn unused(shared: &Shared, link: &Arc<Link>) {
    let mut links = shared.links.subscribe();
    let is_used = || {
        let links = shared.links.load();
        links
            .control(shared.node, link.origin.node)
            .is_some_and(|used| used.sequence == link.sequence)
    };
    while is_used() && link.is_alive() {
        if links.changed().await.is_err() {
            return;
        }
    }
    link.wait_idle().await;
}

const DRAIN: &str = "weft.tunnel/drain";
const RETIRE: &str = "weft.tunnel/retire";
/// How long the peers have to take notice.
const NOTICE: Duration = Duration::from_secs(1);
