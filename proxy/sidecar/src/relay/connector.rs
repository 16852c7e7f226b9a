//! A sidecar's connector: its gateways' relay ports.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;
use weft_decide::{Locality, Reason};
use weft_proto::peer::{RelayStream, relay_stream};

use super::{RelaySession, RelaySessions, preamble};
use crate::inner::{Connector, Line, RemoteTarget, connect_tcp};

/// Reaches other clusters through this cluster's gateways, in turn. One that cannot
/// help is skipped for the next; beside one that does not answer, the next is asked too.
pub(crate) struct RelayConnector {
    sessions: RelaySessions,
    turn: Cell<usize>,
}

/// How long a gateway may take to answer before the next one is asked beside it: the
/// way there and back three times, and at least this long.
const PATIENCE_MIN: Duration = Duration::from_millis(250);

impl RelayConnector {
    pub(crate) fn new(sessions: RelaySessions) -> Rc<Self> {
        Rc::new(Self {
            sessions,
            turn: Cell::new(0),
        })
    }

    /// The gateways in the order in which they are asked: those that did not answer
    /// lately come last.
    fn in_turn(&self) -> Vec<Arc<RelaySession>> {
        let mut sessions = self.sessions.load().to_vec();
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        if !sessions.is_empty() {
            let first = turn % sessions.len();
            sessions.rotate_left(first);
        }
        sessions.sort_by_key(|session| session.is_doubted());
        sessions
    }
}

impl Connector for RelayConnector {
    fn connect<'a>(&'a self, target: RemoteTarget<'a>) -> LocalBoxFuture<'a, Result<Line, Reason>> {
        Box::pin(async move {
            let patience = patience(target);
            let mut rest = self.in_turn().into_iter().peekable();
            let mut asked = FuturesUnordered::new();
            let mut last = Reason::NoPath;
            loop {
                let newest = rest.next();
                asked.extend(newest.clone().map(|session| relay(session, target)));
                tokio::select! {
                    answer = asked.next() => match answer {
                        Some(Ok(line)) => return Ok(line),
                        // Whatever it is: one that has just started may not know yet what
                        // the others know.
                        Some(Err(reason)) => last = reason,
                        None => return Err(last),
                    },
                    () = sleep(patience), if rest.peek().is_some() => {
                        newest.iter().for_each(|session| session.doubt());
                    }
                }
            }
        })
    }
}

fn patience(target: RemoteTarget<'_>) -> Duration {
    let rtt = match target.view.locality {
        Locality::Remote { rtt, .. } => rtt,
        Locality::Local => Duration::ZERO,
    };
    (rtt * 3).max(PATIENCE_MIN)
}

async fn relay(session: Arc<RelaySession>, target: RemoteTarget<'_>) -> Result<Line, Reason> {
    let failed = |error: std::io::Error| {
        tracing::debug!(relay = %session.relay(), %error, "relay not reached");
        Reason::ConnectFailed
    };
    let mut stream = connect_tcp(session.relay()).await.map_err(failed)?;
    let way = session.open_line();
    let header = header(target);
    let preamble = preamble::encode(session.session(), way.counter, session.key(), &header);
    stream.write_all(&preamble).await.map_err(failed)?;
    let status = stream.read_u8().await.map_err(failed)?;
    Reason::from_wire(status)?;
    Ok(Line {
        stream: Box::new(stream),
        way: Box::new(way),
    })
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
