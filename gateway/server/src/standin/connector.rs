//! A gateway's way to other clusters: relay streams on its own tunnels.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use weft_decide::Reason;
use weft_proto::peer::{RelayStream, relay_stream};
use weft_proxy::{Connector, Line, RemoteTarget, Stream, Way};

use crate::relay;
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

impl Connector for TunnelConnector {
    fn connect<'a>(&'a self, target: RemoteTarget<'a>) -> LocalBoxFuture<'a, Result<Line, Reason>> {
        Box::pin(async move {
            let endpoint = target.endpoint().0.to_vec().into();
            let header = RelayStream {
                target: Some(relay_stream::Target::Endpoint(endpoint)),
                port: u32::from(target.port.get()),
                priority: 0,
                hops: 0,
            };
            let cluster = &target.view.endpoint.cluster;
            let stream = relay::open(&self.tunnels, self.worker, cluster, &header).await?;
            let (stream, hold) = TunnelStream::new(stream);
            Ok(Line {
                stream: Box::new(stream),
                way: Box::new(TunnelWay(hold)),
            })
        })
    }
}

/// The tunnel connection that a stream goes by.
struct TunnelWay(Arc<Hold>);

impl Way for TunnelWay {
    fn leaving(&self) -> Option<CancellationToken> {
        Some(self.0.leaving())
    }

    fn doubt(&self) {
        self.0.doubt();
    }
}

/// A relay stream as a byte stream. It ends well by shutdown, and otherwise by RESET.
pub(crate) struct TunnelStream {
    send: SendStream,
    recv: RecvStream,
    finished: bool,
    _hold: Arc<Hold>,
}

/// The code of RESET and STOP_SENDING for a connection that was cut.
const CUT: VarInt = VarInt::from_u32(2);

impl TunnelStream {
    /// The stream, from where it was read to, and what keeps its connection from being closed.
    pub(crate) fn new(stream: PeerStream) -> (Self, Arc<Hold>) {
        let PeerStream { send, recv, hold } = stream;
        let hold = Arc::new(hold);
        let stream = Self {
            send,
            recv,
            finished: false,
            _hold: Arc::clone(&hold),
        };
        (stream, hold)
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
