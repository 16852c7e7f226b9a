//! One inner connection to the app: opaque, unless the port it is for speaks HTTP.

use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use weft_decide::Reason;
use weft_model::AppProtocol;

use super::{Destination, Inbound, Peer};
use crate::http::HEAD_TIMEOUT;
use crate::inner::{Target, connect_tcp};
use crate::pipe::pipe;
use crate::stream::Stream;

/// The status byte for a connected app.
const CONNECTED: u8 = 0;

impl Inbound {
    /// Reads the target, connects the app, says so in one byte, then forwards: bytes to a port of
    /// TCP, requests to one of HTTP, where raw bytes could claim anybody's identity.
    pub(super) async fn serve_tcp<S: Stream + 'static>(
        &self,
        mut tls: TlsStream<S>,
        peer: Rc<Peer>,
    ) {
        let target = match timeout(HEAD_TIMEOUT, Target::read(&mut tls)).await {
            Ok(Ok(target)) => target,
            Ok(Err(error)) => {
                tracing::debug!(peer = %peer.id, %error, "no target");
                return refuse(&mut tls, Reason::BadPreamble).await;
            }
            Err(_) => return,
        };
        let destination = match self.shared.find(&target) {
            Ok(destination) => destination,
            Err(reason) => return refuse(&mut tls, reason).await,
        };
        match destination.protocol {
            AppProtocol::Tcp => match connect_tcp(destination.app).await {
                Ok(app) => self.carry(tls, app, &peer, &destination).await,
                Err(_) => refuse(&mut tls, Reason::ConnectFailed).await,
            },
            AppProtocol::Http | AppProtocol::Http2 | AppProtocol::Grpc => {
                let (app, protocol) = (destination.app, destination.protocol);
                if self.shared.apps.reach(app, protocol).await.is_err() {
                    return refuse(&mut tls, Reason::ConnectFailed).await;
                }
                if tell(&mut tls, CONNECTED).await.is_ok() {
                    self.serve_within(tls, peer, destination).await;
                }
            }
        }
    }

    async fn carry<S: Stream>(
        &self,
        mut tls: TlsStream<S>,
        mut app: impl Stream,
        peer: &Peer,
        destination: &Destination,
    ) {
        let labels = self.shared.labels(peer, destination, "tcp");
        self.shared.recorder.connection_opened(labels.clone());
        let (sent, received) = match tell(&mut tls, CONNECTED).await {
            Ok(()) => {
                let transfer = pipe(&mut tls, &mut app).await;
                (transfer.backward, transfer.forward)
            }
            Err(_) => {
                app.reset();
                (0, 0)
            }
        };
        self.shared
            .recorder
            .connection_closed(labels, sent, received);
    }
}

async fn refuse<S: Stream>(tls: &mut TlsStream<S>, reason: Reason) {
    // The peer may be gone already; then nobody needs the reason.
    if tell(tls, reason.to_wire()).await.is_ok() {
        let _ = tls.shutdown().await;
    }
}

async fn tell<S: Stream>(tls: &mut TlsStream<S>, status: u8) -> std::io::Result<()> {
    tls.write_all(&[status]).await?;
    tls.flush().await
}
