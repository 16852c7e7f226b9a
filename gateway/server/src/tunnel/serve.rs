//! One task per connection: it takes the peer's streams, reads what they are
//! for, and hands them on.

use std::sync::Arc;
use std::time::Duration;

use quinn::{RecvStream, SendStream, VarInt};
use tokio::time::timeout;
use weft_proto::peer::StreamHeader;
use weft_proto::peer::stream_header::Kind;

use super::drain::Notice;
use super::frame;
use super::hello::Purpose;
use super::incoming::{IncomingRelay, IncomingStream};
use super::link::Link;
use super::shared::Shared;
use super::through::Asked;

/// Serves `link` on `worker`, which is the caller's, until it closes.
pub(super) async fn serve(shared: Arc<Shared>, worker: usize, link: Arc<Link>) {
    shared.metrics.links.inc();
    let error = loop {
        let (send, recv) = tokio::select! {
            accepted = link.connection.accept_bi() => match accepted {
                Ok((send, recv)) => (Some(send), recv),
                Err(error) => break error,
            },
            accepted = link.connection.accept_uni() => match accepted {
                Ok(recv) => (None, recv),
                Err(error) => break error,
            },
        };
        let stream = Accepted {
            shared: Arc::clone(&shared),
            worker,
            link: Arc::clone(&link),
        };
        tokio::spawn(stream.take(send, recv));
    };
    shared.links.remove(&link);
    shared.metrics.links.dec();
    tracing::info!(
        peer = %link.origin.id, purpose = ?link.origin.purpose, worker, %error,
        "tunnel connection down"
    );
}

/// A stream whose header has not been read.
struct Accepted {
    shared: Arc<Shared>,
    worker: usize,
    link: Arc<Link>,
}

impl Accepted {
    async fn take(self, send: Option<SendStream>, mut recv: RecvStream) {
        let hold = self.link.hold();
        let header = match timeout(HEADER, frame::read_header(&mut recv)).await {
            Ok(Ok(header)) => header,
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.link.origin.id, %error, "a stream's header");
                return refuse(send, recv);
            }
            Err(_) => return refuse(send, recv),
        };
        let name = kind_name(&header);
        self.shared.metrics.streams.with_label_values(&[name]).inc();
        match (self.link.origin.purpose, header.kind, send) {
            (Purpose::Data, Some(Kind::Relay(header)), Some(send)) => {
                let relay = IncomingRelay {
                    peer: self.link.origin.id.clone(),
                    cluster: self.link.origin.cluster.clone(),
                    header,
                    send,
                    recv,
                    hold,
                };
                // If nobody takes relays, the stream ends without a status byte.
                let _ = self.shared.relays[self.worker].send(relay).await;
            }
            (Purpose::Data, Some(Kind::Through(header)), Some(send)) => {
                let asked = Asked {
                    shared: self.shared,
                    worker: self.worker,
                    link: self.link,
                    header,
                    send,
                    recv,
                    hold,
                };
                asked.take().await;
            }
            (_, Some(Kind::Rpc(rpc)), Some(send)) if Notice::of(&rpc).is_some() => {
                // Itself it does not keep the link in use.
                drop(hold);
                if let Some(notice) = Notice::of(&rpc) {
                    notice.heed(&self.shared, &self.link, send).await;
                }
            }
            (Purpose::Control, Some(kind @ Kind::Raft(_)), None) => {
                self.hand_on(kind, None, recv, hold).await;
            }
            (Purpose::Control, Some(kind @ (Kind::Catalog(_) | Kind::Rpc(_))), Some(send)) => {
                self.hand_on(kind, Some(send), recv, hold).await;
            }
            (_, _, send) => refuse(send, recv),
        }
    }

    async fn hand_on(
        self,
        kind: Kind,
        send: Option<SendStream>,
        recv: RecvStream,
        hold: super::link::Hold,
    ) {
        let stream = IncomingStream {
            peer: self.link.origin.id.clone(),
            node: self.link.origin.node,
            header: StreamHeader { kind: Some(kind) },
            send,
            recv,
            hold,
        };
        let _ = self.shared.incoming.send(stream).await;
    }
}

fn refuse(send: Option<SendStream>, mut recv: RecvStream) {
    let _ = recv.stop(REFUSED);
    if let Some(mut send) = send {
        let _ = send.reset(REFUSED);
    }
}

fn kind_name(header: &StreamHeader) -> &'static str {
    match header.kind {
        Some(Kind::Raft(_)) => "raft",
        Some(Kind::Catalog(_)) => "catalog",
        Some(Kind::Rpc(_)) => "rpc",
        Some(Kind::Relay(_)) => "relay",
        Some(Kind::Through(_)) => "through",
        None => "unknown",
    }
}

/// The stream's header is missing, unknown here, or of a kind that this connection is not for.
const REFUSED: VarInt = VarInt::from_u32(1);
/// How long a stream's header may take.
const HEADER: Duration = Duration::from_secs(5);
