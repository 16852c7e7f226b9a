//! The gRPC session of a sidecar with this gateway.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use weft_model::{SpiffeId, SpiffePath};
use weft_plan::catalog::{Cursor, Interest, SessionId};
use weft_proto::catalog as wire;
use weft_proto::catalog::catalog_server::{Catalog, CatalogServer};
use weft_proxy::catalog::wire::{self as convert, WireError};

use super::handle::{CatalogHandle, Inner, RelayGrant};
use super::tap;
use crate::PeerIdentity;

/// A sidecar says who it is within this time.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// A stream that says nothing for this long is dead. Its endpoints were given up before.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// A stream that has nothing to say says so this often.
const MARK_INTERVAL: Duration = Duration::from_secs(5);
/// Items read under one lock.
const BATCH: usize = 256;
/// Frames between the reader of the journal and the connection.
const DOWNSTREAM_DEPTH: usize = 32;

pub(super) type Down = Result<wire::Downstream, Status>;

impl CatalogHandle {
    /// The gRPC service for sidecars. Its listener must put a [`PeerIdentity`]
    /// into each request.
    pub fn service(&self) -> CatalogServer<Self> {
        CatalogServer::new(self.clone())
    }
}

#[tonic::async_trait]
impl Catalog for CatalogHandle {
    type SessionStream = Pin<Box<dyn Stream<Item = Down> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::Upstream>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let identity = request.extensions().get::<PeerIdentity>().cloned();
        let Some(PeerIdentity(identity)) = identity else {
            return Err(Status::unauthenticated("a client certificate is needed"));
        };
        self.inner.check(&identity)?;
        if self.inner.ending.is_cancelled() {
            return Err(ending());
        }
        let (down, stream) = mpsc::channel(DOWNSTREAM_DEPTH);
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let up = request.into_inner();
            let ended = run(&inner, identity.clone(), up, &down).await;
            if let Err(why) = ended {
                tracing::info!(%identity, why = why.message(), "catalog session ended");
                // The sidecar learns why, unless it is gone.
                let _told = down.try_send(Err(why));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

impl Inner {
    /// Only workloads of this cluster have sessions.
    fn check(&self, identity: &SpiffeId) -> Result<(), Status> {
        let state = self.state();
        let own = state.federation.cluster(&self.config.cluster);
        let lawful = own.is_some_and(|member| member.trust_domain == identity.trust_domain)
            && matches!(identity.path, SpiffePath::Workload { .. });
        if lawful {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "{identity} is no workload of cluster {}",
            self.config.cluster
        )))
    }
}

/// What the sidecar asked for, from the half that reads to the half that writes.
#[derive(Debug, Clone)]
struct Wish {
    interest: Interest,
    /// Counts snapshots asked for.
    snapshots: u64,
}

/// The open session; gone in every way when dropped.
struct Open<'a> {
    inner: &'a Inner,
    id: SessionId,
    identity: &'a SpiffeId,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        (self.inner.grants.revoke)(self.id.0);
        let mut state = self.inner.state();
        state.catalog.close_session(self.id);
        state.set_interest(self.id, None, &self.inner.config.interest);
        drop(state);
        self.inner.nudge();
    }
}

async fn run(
    inner: &Inner,
    identity: SpiffeId,
    mut up: Streaming<wire::Upstream>,
    down: &mpsc::Sender<Down>,
) -> Result<(), Status> {
    let first = timeout(HELLO_MAX, up.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no hello"))??;
    let Some(wire::upstream::Frame::Hello(hello)) = first.and_then(|up| up.frame) else {
        return Err(Status::invalid_argument("the first frame is a hello"));
    };
    let interest = interest(hello.interest.as_ref()).map_err(invalid)?;
    let key: [u8; 32] = rand::random();
    let (leave, mut left) = mpsc::unbounded_channel();
    let open = inner.open(&identity, interest.clone(), (key, leave));
    let cursor = inner.resume(&hello);
    let welcome = inner.welcome(open.id, key, cursor.is_some());
    send(down, 0, wire::downstream::Frame::Welcome(welcome)).await?;
    let (wish, wishes) = watch::channel(Wish {
        interest,
        snapshots: 0,
    });
    tokio::select! {
        ended = read(&open, up, &wish, down) => ended,
        ended = write(inner, cursor, wishes, down) => ended,
        ended = tell_left(&mut left, down) => ended,
        () = inner.ending.cancelled() => Err(ending()),
        ended = tap::tell(inner, down) => ended,
    }
}

impl Inner {
    fn open<'a>(
        &'a self,
        identity: &'a SpiffeId,
        interest: Interest,
        (key, leave): ([u8; 32], mpsc::UnboundedSender<u64>),
    ) -> Open<'a> {
        let id = SessionId(rand::random());
        (self.grants.grant)(RelayGrant {
            session: id.0,
            key,
            identity: identity.clone(),
            leave,
        });
        let now = self.now();
        let mut state = self.state();
        state.catalog.open_session(id, identity.clone(), now);
        state.set_interest(id, Some(interest), &self.config.interest);
        drop(state);
        self.nudge();
        Open {
            inner: self,
            id,
            identity,
        }
    }

    fn resume(&self, hello: &wire::Hello) -> Option<Cursor> {
        let same_run = *hello.stream == self.epoch.0;
        same_run.then(|| self.state().feed.resume(hello.position))?
    }

    fn welcome(&self, session: SessionId, key: [u8; 32], resumed: bool) -> wire::Welcome {
        let config = &self.config;
        wire::Welcome {
            stream: self.epoch.0.to_vec().into(),
            cluster: config.cluster.to_string(),
            region: config.region.to_string(),
            gateway: config.gateway.to_string(),
            preamble_key: key.to_vec().into(),
            session: session.0.to_vec().into(),
            relay: config
                .relay
                .map(|relay| relay.to_string())
                .unwrap_or_default(),
            resumed,
        }
    }
}

/// Takes the sidecar's frames until it ends the stream.
async fn read(
    open: &Open<'_>,
    mut up: Streaming<wire::Upstream>,
    wish: &watch::Sender<Wish>,
    down: &mpsc::Sender<Down>,
) -> Result<(), Status> {
    use wire::upstream::Frame;
    loop {
        let frame = timeout(SILENCE_MAX, up.message()).await;
        let Some(frame) = frame.map_err(|_| Status::deadline_exceeded("silent"))?? else {
            return Ok(());
        };
        match frame.frame {
            Some(Frame::Put(endpoint)) => put(open, &endpoint, down),
            Some(Frame::Withdraw(word)) => withdraw(open, &word, down),
            Some(Frame::Heartbeat(_)) => {
                let now = open.inner.now();
                open.inner.state().catalog.heard(open.id, now);
                open.inner.nudge();
            }
            Some(Frame::Interest(wanted)) => {
                let wanted = interest(Some(&wanted)).map_err(invalid)?;
                let gateway = &open.inner.config.interest;
                let mut state = open.inner.state();
                state.set_interest(open.id, Some(wanted.clone()), gateway);
                drop(state);
                open.inner.nudge();
                wish.send_modify(|wish| wish.interest = wanted);
            }
            Some(Frame::Report(report)) => {
                let observatory = &open.inner.observatory;
                observatory.report(open.inner.now(), open.identity, &report);
            }
            Some(Frame::TapEvents(seen)) => {
                open.inner.observatory.taps().arrived(open.identity, &seen);
            }
            Some(Frame::Resync(_)) => wish.send_modify(|wish| wish.snapshots += 1),
            // A newer sidecar may say more than this version knows.
            Some(Frame::Hello(_)) | None => {}
        }
    }
}

fn put(open: &Open<'_>, endpoint: &wire::Endpoint, down: &mpsc::Sender<Down>) {
    let refused = match convert::endpoint(endpoint) {
        Ok(endpoint) => {
            let now = open.inner.now();
            let mut state = open.inner.state();
            let federation = Arc::clone(&state.federation);
            let taken = state.catalog.put(open.id, endpoint, &federation, now);
            taken.err().map(|why| why.to_string())
        }
        Err(why) => Some(why.to_string()),
    };
    open.inner.nudge();
    if let Some(reason) = refused {
        refuse(open, (&endpoint.id, endpoint.sequence), reason, down);
    }
}

fn withdraw(open: &Open<'_>, word: &wire::Withdraw, down: &mpsc::Sender<Down>) {
    let refused = match convert::endpoint_id(&word.id) {
        Ok(id) => {
            let now = open.inner.now();
            let mut state = open.inner.state();
            let taken = state.catalog.withdraw(open.id, id, word.sequence, now);
            taken.err().map(|why| why.to_string())
        }
        Err(why) => Some(why.to_string()),
    };
    open.inner.nudge();
    if let Some(reason) = refused {
        refuse(open, (&word.id, word.sequence), reason, down);
    }
}

fn refuse(
    open: &Open<'_>,
    (id, sequence): (&Bytes, u64),
    reason: String,
    down: &mpsc::Sender<Down>,
) {
    tracing::warn!(identity = %open.identity, %reason, "an endpoint was refused");
    let refused = wire::Refused {
        id: id.clone(),
        sequence,
        reason,
    };
    let frame = Some(wire::downstream::Frame::Refused(refused));
    // One that does not read what it is told need not be told.
    let _told = down.try_send(Ok(wire::Downstream { position: 0, frame }));
}

/// Sends what the sidecar does not know yet, for ever.
async fn write(
    inner: &Inner,
    mut cursor: Option<Cursor>,
    mut wishes: watch::Receiver<Wish>,
    down: &mpsc::Sender<Down>,
) -> Result<(), Status> {
    use wire::downstream::Frame;
    let mut changed = inner.changed.subscribe();
    let mut told: Option<wire::Mark> = None;
    loop {
        changed.mark_unchanged();
        if wishes.has_changed().unwrap_or(false) {
            cursor = None;
        }
        let interest = wishes.borrow_and_update().interest.clone();
        let mut news = cursor.is_none();
        if news {
            cursor = Some(inner.state().feed.begin());
            send(down, 0, Frame::Snapshot(wire::SnapshotBegin::default())).await?;
        }
        while let Some(at) = cursor.as_mut() {
            let Some((steps, mark)) = inner.read(at, &interest) else {
                // So far behind that only a snapshot helps.
                cursor = None;
                break;
            };
            for (position, item) in steps {
                news = true;
                send(down, position, Frame::Item(item)).await?;
            }
            if let Some(mark) = mark {
                if news || told.as_ref() != Some(&mark) {
                    send(down, at.position(), Frame::Mark(mark)).await?;
                    told = Some(mark);
                }
                break;
            }
        }
        if cursor.is_none() {
            continue;
        }
        tokio::select! {
            _ = changed.changed() => {}
            _ = wishes.changed() => cursor = None,
            () = sleep(MARK_INTERVAL) => told = None,
        }
    }
}

/// Tells which relayed connections should be left, for ever.
async fn tell_left(
    left: &mut mpsc::UnboundedReceiver<u64>,
    down: &mpsc::Sender<Down>,
) -> Result<(), Status> {
    let mut counters = Vec::new();
    while left.recv_many(&mut counters, BATCH).await > 0 {
        let counters = std::mem::take(&mut counters);
        let leave = wire::downstream::Frame::Leave(wire::Leave { counters });
        send(down, 0, leave).await?;
    }
    // No relay is there to say so.
    std::future::pending().await
}

impl Inner {
    /// A batch of items, and the mark if the reader has then seen everything.
    #[expect(clippy::type_complexity, reason = "a pair for one caller")]
    fn read(
        &self,
        at: &mut Cursor,
        interest: &Interest,
    ) -> Option<(Vec<(u64, Bytes)>, Option<wire::Mark>)> {
        let state = self.state();
        let batch = state.feed.read(at, BATCH, interest)?;
        let mark = batch.caught_up.then(|| wire::Mark {
            applied_index: state.fed.0,
            hash: state.feed.hash(interest).0,
            recovering: state.catalog.is_recovering(),
        });
        let steps = batch.steps.into_iter();
        Some((
            steps.map(|step| (step.position, step.value)).collect(),
            mark,
        ))
    }
}

pub(super) async fn send(
    down: &mpsc::Sender<Down>,
    position: u64,
    frame: wire::downstream::Frame,
) -> Result<(), Status> {
    let frame = wire::Downstream {
        position,
        frame: Some(frame),
    };
    let sent = down.send(Ok(frame)).await;
    sent.map_err(|_| Status::cancelled("the sidecar is gone"))
}

/// Reads what somebody wants to hear of.
pub(super) fn interest(from: Option<&wire::Interest>) -> Result<Interest, WireError> {
    let Some(from) = from else {
        return Ok(Interest::default());
    };
    if from.everything {
        return Ok(Interest::Everything);
    }
    let services = from
        .services
        .iter()
        .map(|key| convert::service_key(Some(key)));
    Ok(Interest::Services(services.collect::<Result<_, _>>()?))
}

fn ending() -> Status {
    Status::unavailable("the gateway is shutting down")
}

fn invalid(why: WireError) -> Status {
    Status::invalid_argument(why.to_string())
}
