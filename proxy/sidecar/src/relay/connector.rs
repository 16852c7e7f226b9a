//! A sidecar's connector: its gateways' relay ports.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_decide::Reason;
use weft_proto::peer::{RelayStream, relay_stream};

use super::{RelaySession, RelaySessions, preamble};
use crate::inner::{Connector, RemoteTarget, connect_tcp};
use crate::stream::BoxStream;

/// Reaches other clusters through this cluster's gateways, in turn; one that
/// cannot help is skipped for the next.
pub(crate) struct RelayConnector {
    sessions: RelaySessions,
    turn: Cell<usize>,
}

impl RelayConnector {
    pub(crate) fn new(sessions: RelaySessions) -> Rc<Self> {
        Rc::new(Self {
            sessions,
            turn: Cell::new(0),
        })
    }
}

impl Connector for RelayConnector {
    fn connect<'a>(
        &'a self,
        target: RemoteTarget<'a>,
    ) -> LocalBoxFuture<'a, Result<BoxStream, Reason>> {
        Box::pin(async move {
            let sessions = self.sessions.load().clone();
            let turn = self.turn.get();
            self.turn.set(turn.wrapping_add(1));
            let mut last = Reason::NoPath;
            for at in 0..sessions.len() {
                let session = &sessions[turn.wrapping_add(at) % sessions.len()];
                match relay(session, target).await {
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

async fn relay(session: &RelaySession, target: RemoteTarget<'_>) -> Result<BoxStream, Reason> {
    let failed = |error: std::io::Error| {
        tracing::debug!(relay = %session.relay(), %error, "relay not reached");
        Reason::ConnectFailed
    };
    let mut stream = connect_tcp(session.relay()).await.map_err(failed)?;
    let header = header(target);
    let preamble = preamble::encode(
        session.session(),
        session.next_counter(),
        session.key(),
        &header,
    );
    stream.write_all(&preamble).await.map_err(failed)?;
    let status = stream.read_u8().await.map_err(failed)?;
    Reason::from_wire(status)?;
    Ok(Box::new(stream))
}

/// What the gateway is asked for.
fn header(target: RemoteTarget<'_>) -> RelayStream {
    let endpoint = target.endpoint().0.to_vec();
    RelayStream {
        target: Some(relay_stream::Target::Endpoint(endpoint.into())),
        port: u32::from(target.port.get()),
        priority: 0,
        hops: 0,
    }
}

/// Whether the refusal is this gateway's own trouble. The rest another gateway
/// of the cluster would only repeat.
fn another_may_help(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ConnectFailed
            | Reason::NoPath
            | Reason::Overload
            | Reason::BadPreamble
            | Reason::Draining
            | Reason::Timeout
    )
}
