//! Accepting: handshakes on the shared port, and the judgement of who dialled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{Connection, Incoming};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use weft_model::{NodeId, SpiffeId, SpiffePath};

use super::close::Close;
use super::hello::{self, HelloError, Offered};
use super::link::{Dialled, Origin};
use super::shared::Shared;
use super::tls;

/// Accepts on `worker`'s share of the port until the tunnels drain.
pub(super) async fn accept(shared: Arc<Shared>, worker: usize) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let endpoint = shared.endpoints[worker].listen.clone();
    loop {
        let incoming = tokio::select! {
            () = shared.draining.cancelled() => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        if handshakes.available_permits() < HANDSHAKES_TRUSTED && incoming.may_retry() {
            // Many handshakes at once: let each address prove itself before it costs a signature.
            let _ = incoming.retry();
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            judge(&shared, worker, incoming, None).await;
            drop(permit);
        });
    }
    while let Some(incoming) = endpoint.accept().await {
        incoming.refuse();
    }
}

/// Whose ticket a connection came by, and who carried it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Through {
    pub(super) via: NodeId,
    pub(super) from: NodeId,
}

/// Completes one handshake and hello, and admits or closes the connection; it, if it was admitted.
pub(super) async fn judge(
    shared: &Arc<Shared>,
    worker: usize,
    incoming: Incoming,
    through: Option<Through>,
) -> Option<Connection> {
    let began = Instant::now();
    let address = incoming.remote_address();
    let connection = match timeout(HANDSHAKE, async { incoming.accept()?.await }).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            shared
                .metrics
                .refused
                .with_label_values(&["handshake"])
                .inc();
            tracing::debug!(%address, %error, "a handshake failed");
            return None;
        }
        Err(_) => {
            shared.metrics.refused.with_label_values(&["timeout"]).inc();
            return None;
        }
    };
    let refusal = match timeout(HANDSHAKE, welcome(shared, &connection, through)).await {
        Ok(Ok(mut origin)) => {
            origin.handshake = began.elapsed();
            shared.admit(worker, connection.clone(), origin);
            return Some(connection);
        }
        Ok(Err(refusal)) => refusal,
        Err(_) => Close::Timeout,
    };
    refuse(shared, &connection, refusal);
    None
}

fn refuse(shared: &Shared, connection: &Connection, reason: Close) {
    let label = format!("{reason:?}");
    shared.metrics.refused.with_label_values(&[&label]).inc();
    tracing::debug!(address = %connection.remote_address(), %reason, "a connection was refused");
    reason.apply(connection);
}

/// Who dialled, if it may, after it has been told so.
async fn welcome(
    shared: &Shared,
    connection: &Connection,
    through: Option<Through>,
) -> Result<Origin, Close> {
    let id = tls::peer_of(connection).ok_or(Close::WrongIdentity)?;
    if !matches!(id.path, SpiffePath::Gateway(_)) {
        return Err(Close::NotAGateway);
    }
    let offered = hello::accept(connection).await.map_err(|e| fault(&e))?;
    let mut origin = origin(shared, id, &offered)?;
    if through.is_some_and(|through| through.from != origin.node) {
        return Err(Close::WrongIdentity);
    }
    origin.through = through.map(|through| through.via);
    let own = shared.hello(offered.hello.purpose, origin.worker);
    offered.answer(&own).await.map_err(|e| fault(&e))?;
    Ok(origin)
}

fn origin(shared: &Shared, id: SpiffeId, offered: &Offered) -> Result<Origin, Close> {
    let hello = &offered.hello;
    let peers = shared.peers.load();
    let target = peers.get(hello.node).ok_or(Close::NotAMember)?;
    if target.id != id {
        return Err(Close::WrongIdentity);
    }
    let worker = usize::try_from(hello.worker).unwrap_or(usize::MAX);
    if worker >= super::cid::WORKERS_MAX {
        return Err(Close::BadHello);
    }
    if shared.links.load().of(hello.node).len() >= LINKS_MAX {
        return Err(Close::TooMany);
    }
    Ok(Origin {
        node: hello.node,
        cluster: target.cluster.clone(),
        id,
        incarnation: hello.incarnation,
        purpose: hello.purpose,
        dialled: Dialled::There,
        worker,
        handshake: Duration::ZERO,
        through: None,
    })
}

fn fault(error: &HelloError) -> Close {
    match error {
        HelloError::Version(_) => Close::Version,
        HelloError::Connection(_)
        | HelloError::Write(_)
        | HelloError::Frame(_)
        | HelloError::Field(_) => Close::BadHello,
    }
}

/// How long a handshake may take, and then a hello.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes in progress at one worker.
const HANDSHAKES_MAX: usize = 512;
/// While fewer permits than this are left, addresses must prove themselves first.
const HANDSHAKES_TRUSTED: usize = HANDSHAKES_MAX - 64;
/// Connections of one peer: those in use for the most workers, and as many on their way out.
const LINKS_MAX: usize = 2 * super::cid::WORKERS_MAX + 8;
