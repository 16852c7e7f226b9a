//! A gateway's way to other clusters: relay streams on its own tunnels.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use weft_decide::Reason;
use weft_proto::peer::{RelayStream, relay_stream};
use weft_proxy::{BoxStream, Connector, RemoteTarget, Stream};

use crate::tunnel::{Hold, PeerStream, Tunnels};

/// Makes the connector of a worker, on that worker's thread.
pub type Connectors = Arc<dyn Fn(usize) -> Rc<dyn Connector> + Send + Sync>;

/// Connectors that open relay streams on each worker's own data connections.
pub fn through(tunnels: Tunnels) -> Connectors {
    Arc::new(move |worker| {
        Rc::new(TunnelConnector {
            tunnels: tunnels.clone(),
            worker,
        })
    })
}

/// Opens relay streams. It needs no preamble: the tunnel's peer knows the
/// gateway by its certificate.
struct TunnelConnector {
    tunnels: Tunnels,
    worker: usize,
}

/// Gateways of the target's cluster that are asked in turn.
const TRIES: usize = 3;
/// How long a stream may take to open: it waits while the peer allows no more.
const OPEN_MAX: Duration = Duration::from_secs(2);

impl Connector for TunnelConnector {
    fn connect<'a>(
        &'a self,
        target: RemoteTarget<'a>,
    ) -> LocalBoxFuture<'a, Result<BoxStream, Reason>> {
        Box::pin(async move {
            let mut last = Reason::NoPath;
            for _ in 0..TRIES {
                match self.relay(target).await {
                    Ok(stream) => return Ok(stream),
                    Err(reason) => last = reason,
                }
                if !another_may_help(last) {
                    break;
                }
            }
            Err(last)
        })
    }
}

impl TunnelConnector {
    async fn relay(&self, target: RemoteTarget<'_>) -> Result<BoxStream, Reason> {
        let endpoint = target.endpoint().0.to_vec().into();
        let header = RelayStream {
            target: Some(relay_stream::Target::Endpoint(endpoint)),
            port: u32::from(target.port.get()),
            priority: 0,
            hops: 0,
        };
        let cluster = &target.view.endpoint.cluster;
        let opened = timeout(
            OPEN_MAX,
            self.tunnels.open_relay(self.worker, cluster, header),
        );
        let mut stream = match opened.await {
            Ok(Ok(stream)) => TunnelStream::new(stream),
            Ok(Err(error)) => {
                tracing::debug!(%cluster, %error, "a relay stream could not be opened");
                return Err(Reason::NoPath);
            }
            Err(_) => return Err(Reason::NoPath),
        };
        // The dialler bounds this read, together with the handshake that follows.
        let status = stream.read_u8().await.map_err(|_| Reason::NoPath)?;
        Reason::from_wire(status)?;
        Ok(Box::new(stream))
    }
}

/// Whether another gateway of the cluster may do better. What the gateway said
/// of the endpoint, others would only repeat.
fn another_may_help(reason: Reason) -> bool {
    matches!(reason, Reason::NoPath | Reason::Draining | Reason::Overload)
}

/// A relay stream as a byte stream. It ends well by shutdown, and otherwise by RESET.
struct TunnelStream {
    send: SendStream,
    recv: RecvStream,
    finished: bool,
    _hold: Hold,
}

/// The code of RESET and STOP_SENDING for a connection that was cut.
const CUT: VarInt = VarInt::from_u32(2);

impl TunnelStream {
    fn new(stream: PeerStream) -> Self {
        let PeerStream { send, recv, hold } = stream;
        Self {
            send,
            recv,
            finished: false,
            _hold: hold,
        }
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buffer)
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finished = true;
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), cx)
    }
}

impl Stream for TunnelStream {
    fn reset(&mut self) {
        self.finished = true;
        // Each fails only if that part has ended already.
        let _ = self.send.reset(CUT);
        let _ = self.recv.stop(CUT);
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        // Dropped as it is, the stream would end as if all had been said.
        if !self.finished {
            self.reset();
        }
    }
}
