//! Ending without cutting: tell the peers, let streams end, then close.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use quinn::SendStream;
use tokio::time::{timeout, timeout_at};
use weft_model::NodeId;
use weft_proto::peer::RpcStream;

use super::call::{self, Answer};
use super::close::Close;
use super::hello::Purpose;
use super::link::{Hold, Link};
use super::shared::Shared;

/// Drains the tunnels: new connections are refused from now on, peers are told
/// to send no new relayed connections, and those that are open may go on until
/// `deadline`. Then every connection is closed.
pub(super) async fn drain(shared: &Arc<Shared>, deadline: Instant) {
    shared.draining.cancel();
    let deadline = tokio::time::Instant::from_std(deadline);
    let links = shared.links.load_full();
    let (control, data): (Vec<_>, Vec<_>) = links
        .iter()
        .cloned()
        .partition(|link| link.origin.purpose == Purpose::Control);
    let _ = timeout_at(deadline, async {
        join_all(control.iter().map(notify)).await;
        join_all(data.iter().map(until_ended)).await;
    })
    .await;
    close(shared).await;
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
        let stream = link.open(&call::header(METHOD)).await?;
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

/// Whether a call is a peer's notice that it drains.
pub(super) fn is_notice(rpc: &RpcStream) -> bool {
    rpc.method == METHOD
}

/// Marks the links to `node` so that relayed connections go elsewhere.
pub(super) fn heed(shared: &Shared, node: NodeId, send: SendStream, hold: Hold) {
    for link in shared.links.load().of(node) {
        link.set_draining();
    }
    shared.links.touch();
    tokio::spawn(async move {
        // If the peer is gone already, nothing is lost.
        let _ = Answer::new(send, hold).send(Bytes::new()).await;
    });
}

const METHOD: &str = "weft.tunnel/drain";
/// How long the peers have to take notice.
const NOTICE: Duration = Duration::from_secs(1);
