//! One opaque inner connection to the app.

use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use weft_decide::Reason;

use super::{Destination, Inbound, Peer};
use crate::http::HEAD_TIMEOUT;
use crate::inner::{Target, connect_tcp};
use crate::pipe::pipe;
use crate::stream::Stream;

/// The status byte for a connected app.
const CONNECTED: u8 = 0;

impl Inbound {
    /// Reads the target, connects the app, says so in one byte, then forwards.
    pub(super) async fn serve_tcp<S: Stream>(&self, mut tls: TlsStream<S>, peer: Rc<Peer>) {
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
        let Ok(app) = connect_tcp(destination.app).await else {
            return refuse(&mut tls, Reason::ConnectFailed).await;
        };
        self.carry(tls, app, &peer, &destination).await;
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
