//! The far side: from a tunnel to a sidecar of this cluster.

use std::sync::Arc;
use std::time::Duration;

use quinn::VarInt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::timeout;
use weft_decide::Reason;

use super::pump::pump;
use super::{Local, Relay};
use crate::address::{is_local, is_no_host};
use crate::tunnel::{IncomingRelay, PeerStream};

/// Takes the relay streams of `worker`'s connections, on that worker.
pub(super) async fn accept(relay: Arc<Relay>, mut streams: mpsc::Receiver<IncomingRelay>) {
    loop {
        let stream = tokio::select! {
            () = relay.tunnels.stopped() => return,
            stream = streams.recv() => stream,
        };
        let Some(stream) = stream else { return };
        spawn_local(serve(Arc::clone(&relay), stream));
    }
}

async fn serve(relay: Arc<Relay>, incoming: IncomingRelay) {
    let admitted = match relay.far.admit(&incoming.peer.trust_domain) {
        Some(permit) => relay.reach(&incoming).await.map(|tcp| (tcp, permit)),
        None => Err(Reason::Overload),
    };
    let IncomingRelay {
        peer,
        mut send,
        recv,
        hold,
        ..
    } = incoming;
    let (tcp, _permit) = match admitted {
        Ok(admitted) => admitted,
        Err(reason) => {
            relay.metrics.refused(reason);
            refuse(send, recv, reason).await;
            return;
        }
    };
    let _open = relay.metrics.opened();
    if send.write_all(&[Reason::CONNECTED]).await.is_err() {
        return;
    }
    let stream = PeerStream { send, recv, hold };
    if let Err(error) = pump(tcp, stream, relay.idle, &relay.metrics).await {
        tracing::debug!(%peer, %error, "a relayed connection was cut");
    }
}

/// Says why, and stops listening. The byte is delivered after the stream is dropped.
async fn refuse(mut send: quinn::SendStream, mut recv: quinn::RecvStream, reason: Reason) {
    let _ = recv.stop(REFUSED);
    // If the caller is gone, nobody needs to know.
    if send.write_all(&[reason.to_wire()]).await.is_ok() {
        let _ = send.finish();
    }
}

impl Relay {
    /// Connects to where the stream should go.
    async fn reach(&self, incoming: &IncomingRelay) -> Result<TcpStream, Reason> {
        if self.tunnels.is_draining() {
            return Err(Reason::Draining);
        }
        let destination = (self.deliver)(&incoming.peer, &incoming.header)?;
        let refused = match destination.local {
            Local::Refuse => is_local(destination.address),
            Local::Allow => is_no_host(destination.address),
        };
        if refused {
            tracing::warn!(
                peer = %incoming.peer, address = %destination.address,
                "an endpoint claims an address that names this machine; refused"
            );
            return Err(Reason::NoSuchEndpoint);
        }
        let tcp = match timeout(CONNECT, TcpStream::connect(destination.address)).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => {
                tracing::debug!(address = %destination.address, %error, "connecting failed");
                return Err(Reason::ConnectFailed);
            }
            Err(_) => return Err(Reason::Timeout),
        };
        let _ = tcp.set_nodelay(true);
        Ok(tcp)
    }
}

const REFUSED: VarInt = VarInt::from_u32(3);
/// How long the endpoint may take to accept.
const CONNECT: Duration = Duration::from_secs(5);
