//! One session with one gateway, kept up as long as the client lives.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use weft_model::{EndpointId, GatewayName};
use weft_proto::catalog as wire;
use weft_proto::catalog::catalog_client::CatalogClient;

use super::backoff::Backoff;
use super::client::{ConnectError, Interest, Shared, lock, until_closing};
use super::merge::Source;
use super::mirror::{Change, Mirror, MirrorError};
use super::report::to_report;
use super::taps::{filter, tap_id, to_frames};
use super::wire::{self as convert, WireError};
use crate::{RelaySession, SessionId, Taps};

const HEARTBEAT: Duration = Duration::from_secs(2);
/// How often what taps saw is shown, while there are any.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);
/// A gateway that wants a tap for longer says so again.
const TAP_MAX: Duration = Duration::from_secs(60);
/// Gateways speak every few seconds; a silent one is gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Frames that wait for the gateway to take them.
const UPSTREAM_DEPTH: usize = 64;
/// A gateway that takes no frame for this long is gone.
const SEND_MAX: Duration = Duration::from_secs(5);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    /// The gateway cannot be reached.
    #[error("cannot reach it: {0}")]
    Connect(ConnectError),
    /// It does not answer.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The stream broke.
    #[error("{}", .0.message())]
    Stream(#[from] tonic::Status),
    /// The gateway ended it.
    #[error("the gateway ended the session")]
    Ended,
    /// The gateway takes no frames.
    #[error("the gateway takes no frames")]
    Stuck,
    /// A frame is not lawful.
    #[error("frame: {0}")]
    Frame(#[from] WireError),
    /// The gateway is of another cluster.
    #[error("it is a gateway of cluster {0}")]
    Cluster(String),
}

/// Keeps a session with the gateway at `address` until the client ends.
pub(super) async fn keep(shared: Arc<Shared>, address: String) {
    let mut closing = shared.closing.subscribe();
    let mut backoff = Backoff::default();
    loop {
        let opened = tokio::select! {
            opened = timeout(CONNECT_MAX, Session::open(&shared, &address)) => {
                opened.unwrap_or(Err(SessionError::Timeout(CONNECT_MAX)))
            }
            // A gateway that cannot be told now learns it from the others.
            () = until_closing(&mut closing) => return,
        };
        let ended = match opened {
            Ok(session) => {
                backoff = Backoff::default();
                session.run().await
            }
            Err(why) => Err(why),
        };
        match ended {
            Ok(()) => return,
            Err(why) => {
                tracing::info!(gateway = %address, %why, "no catalog session");
                shared.note(&address, |status| {
                    status.synced = false;
                    status.trouble = Some(why.to_string());
                });
            }
        }
        let pause = backoff.next(&mut rand::rng());
        tokio::select! {
            () = sleep(pause) => {}
            () = until_closing(&mut closing) => return,
        }
    }
}

/// An open session.
struct Session<'a> {
    shared: &'a Shared,
    address: &'a str,
    source: Source,
    relay: Option<Arc<RelaySession>>,
    up: mpsc::Sender<wire::Upstream>,
    down: Streaming<wire::Downstream>,
    sent: BTreeMap<EndpointId, u64>,
}

impl<'a> Session<'a> {
    async fn open(shared: &'a Shared, address: &'a str) -> Result<Self, SessionError> {
        let connected = (shared.connect)(address.to_owned()).await;
        let channel = connected.map_err(SessionError::Connect)?;
        let (up, frames) = mpsc::channel(UPSTREAM_DEPTH);
        let resume = lock(&shared.merge).resume(address);
        let (stream, position) = resume.unwrap_or_default();
        let hello = wire::Hello {
            interest: Some(to_interest(&shared.interest.borrow())),
            stream: resume.map(|_| stream.to_vec().into()).unwrap_or_default(),
            position,
        };
        send(&up, wire::upstream::Frame::Hello(hello)).await?;
        let mut client = CatalogClient::new(channel);
        let mut down = client
            .session(ReceiverStream::new(frames))
            .await?
            .into_inner();
        let first = down.message().await?.ok_or(SessionError::Ended)?;
        let Some(wire::downstream::Frame::Welcome(welcome)) = first.frame else {
            return Err(WireError::new("frame", "is not a welcome").into());
        };
        let (source, relay) = greet(shared, address, &welcome)?;
        Ok(Self {
            shared,
            address,
            source,
            relay,
            up,
            down,
            sent: BTreeMap::new(),
        })
    }

    /// Runs until the client ends (`Ok`) or the session does.
    async fn run(mut self) -> Result<(), SessionError> {
        let ended = self.exchange().await;
        self.shared.stop_report(self.address);
        if let Some(taps) = self.shared.taps() {
            taps.forget(self.address);
        }
        self.shared.set_relay(self.address, None);
        lock(&self.shared.merge).lose(&self.source);
        self.shared.dirty.notify_one();
        ended
    }

    async fn exchange(&mut self) -> Result<(), SessionError> {
        let mut own = self.shared.own.subscribe();
        let mut interest = self.shared.interest.subscribe();
        let mut closing = self.shared.closing.subscribe();
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut showing = interval(SHOW_INTERVAL);
        showing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.tell().await?;
        loop {
            let is_tapped = self.shared.taps().is_some_and(Taps::is_on);
            tokio::select! {
                frame = timeout(SILENCE_MAX, self.down.message()) => {
                    let frame = frame.map_err(|_| SessionError::Timeout(SILENCE_MAX))??;
                    let frame = frame.ok_or(SessionError::Ended)?;
                    self.handle(frame).await?;
                }
                _ = own.changed() => self.tell().await?,
                _ = interest.changed() => {
                    let wanted = to_interest(&interest.borrow_and_update());
                    send(&self.up, wire::upstream::Frame::Interest(wanted)).await?;
                }
                _ = heartbeat.tick() => {
                    let beat = wire::upstream::Frame::Heartbeat(wire::Heartbeat {});
                    send(&self.up, beat).await?;
                    self.report().await?;
                }
                _ = showing.tick(), if is_tapped => self.show().await?,
                () = until_closing(&mut closing) => return self.close().await,
            }
        }
    }

    /// Tells what the gateway has not heard of this sidecar's endpoints.
    async fn tell(&mut self) -> Result<(), SessionError> {
        let frames = self.shared.own.borrow().unsent(&mut self.sent);
        for frame in frames {
            enqueue(&self.up, frame).await?;
        }
        Ok(())
    }

    /// Tells what was counted since the last time, if this gateway is the one that is told.
    async fn report(&self) -> Result<(), SessionError> {
        let taken = self.shared.take_report(self.address);
        match taken.and_then(|taken| to_report(&taken)) {
            Some(report) => send(&self.up, wire::upstream::Frame::Report(report)).await,
            None => Ok(()),
        }
    }

    /// Shows what this gateway's taps saw. While the gateway takes no frames, they keep it.
    async fn show(&self) -> Result<(), SessionError> {
        let taps = self.shared.taps();
        let Some(taps) = taps.filter(|_| self.up.capacity() > UPSTREAM_DEPTH / 2) else {
            return Ok(());
        };
        for (id, seen) in taps.take(self.address) {
            for frame in to_frames(id, &seen) {
                send(&self.up, wire::upstream::Frame::TapEvents(frame)).await?;
            }
        }
        Ok(())
    }

    /// Opens a tap for this gateway, or lets it last.
    fn order(&self, order: &wire::TapOrder) -> Result<(), WireError> {
        let filter = filter(&order.filter.clone().unwrap_or_default())?;
        let lasting = Duration::from_millis(order.lasting_ms.into()).min(TAP_MAX);
        if let Some(taps) = self.shared.taps() {
            taps.open(tap_id(&order.id)?, filter, self.address, lasting);
        }
        Ok(())
    }

    /// Tells the last words and waits until the gateway, having taken them, ends the stream.
    async fn close(&mut self) -> Result<(), SessionError> {
        self.tell().await?;
        self.report().await?;
        self.up = mpsc::channel(1).0;
        while self.down.message().await?.is_some() {}
        Ok(())
    }

    async fn handle(&mut self, down: wire::Downstream) -> Result<(), SessionError> {
        use wire::downstream::Frame;
        let position = down.position;
        if let Some(relay) = &self.relay {
            relay.trust();
        }
        let change = match down.frame {
            Some(Frame::Snapshot(_)) => {
                self.shared
                    .note(self.address, |status| status.snapshots += 1);
                self.with_mirror(|mirror| {
                    mirror.begin_snapshot();
                    Ok(Change::Nothing)
                })
            }
            Some(Frame::Item(item)) => self.with_mirror(|mirror| mirror.apply(position, item)),
            Some(Frame::Mark(mark)) => {
                let change = self.with_mirror(|mirror| mirror.mark(position, &mark));
                if lock(&self.shared.merge).marked(&self.source) {
                    self.shared.dirty.notify_one();
                }
                let synced = change.is_ok();
                self.shared
                    .note(self.address, |status| status.synced = synced);
                change
            }
            Some(Frame::Refused(refused)) => {
                tracing::warn!(gateway = %self.address, reason = %refused.reason, "an endpoint of this workload was refused");
                self.shared
                    .note(self.address, |status| status.trouble = Some(refused.reason));
                Ok(Change::Nothing)
            }
            Some(Frame::Leave(leave)) => {
                for counter in leave.counters {
                    self.relay.iter().for_each(|relay| relay.leave(counter));
                }
                Ok(Change::Nothing)
            }
            Some(Frame::Tap(order)) => {
                if let Err(why) = self.order(&order) {
                    tracing::warn!(gateway = %self.address, %why, "a tap does not read");
                }
                Ok(Change::Nothing)
            }
            // A newer gateway may say more than this version knows.
            Some(Frame::Welcome(_)) | None => Ok(Change::Nothing),
        };
        match change {
            Ok(Change::Nothing) => Ok(()),
            Ok(change) => {
                lock(&self.shared.merge).note(change);
                self.shared.dirty.notify_one();
                Ok(())
            }
            Err(MirrorError::Mismatch { held, said }) => {
                tracing::warn!(gateway = %self.address, held, said, "catalog differs from the gateway's: asking for all of it");
                send(&self.up, wire::upstream::Frame::Resync(wire::Resync {})).await
            }
            Err(MirrorError::Item(why)) => {
                tracing::warn!(gateway = %self.address, %why, "left out an item");
                Ok(())
            }
        }
    }

    fn with_mirror(
        &self,
        act: impl FnOnce(&mut Mirror) -> Result<Change, MirrorError>,
    ) -> Result<Change, MirrorError> {
        let mut merge = lock(&self.shared.merge);
        merge.mirror(&self.source).map_or(Ok(Change::Nothing), act)
    }
}

/// Takes a gateway's welcome in: who it is, where it relays, whether it resumes.
fn greet(
    shared: &Shared,
    address: &str,
    welcome: &wire::Welcome,
) -> Result<(Source, Option<Arc<RelaySession>>), SessionError> {
    if welcome.cluster != shared.config.place.cluster.as_str() {
        return Err(SessionError::Cluster(welcome.cluster.clone()));
    }
    let (gateway, stream, relay) = greet_parts(welcome)?;
    let relay = relay.map(Arc::new);
    shared.set_relay(address, relay.clone());
    shared.note(address, |status| {
        status.gateway = Some(gateway);
        status.sessions += 1;
    });
    let source = (address.to_owned(), stream);
    lock(&shared.merge).open(&source, welcome.resumed);
    shared.dirty.notify_one();
    Ok((source, relay))
}

/// Which gateway it is, in which run, and where it relays.
pub(super) fn greet_parts(
    welcome: &wire::Welcome,
) -> Result<(GatewayName, [u8; 16], Option<RelaySession>), WireError> {
    let session = SessionId(exactly("session", &welcome.session)?);
    let key: [u8; 32] = exactly("preamble_key", &welcome.preamble_key)?;
    let relay: Option<SocketAddr> = convert::parse_optional("relay", &welcome.relay)?;
    Ok((
        convert::parse("gateway", &welcome.gateway)?,
        exactly("stream", &welcome.stream)?,
        relay.map(|relay| RelaySession::new(relay, session, &key)),
    ))
}

fn exactly<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], WireError> {
    let exact = bytes.try_into();
    exact.map_err(|_| WireError::new(field, format!("has {} bytes, not {N}", bytes.len())))
}

fn to_interest(interest: &Interest) -> wire::Interest {
    match interest {
        Interest::Everything => wire::Interest {
            services: Vec::new(),
            everything: true,
        },
        Interest::Services(named) => wire::Interest {
            services: named.iter().map(convert::to_service_key).collect(),
            everything: false,
        },
    }
}

async fn send(
    up: &mpsc::Sender<wire::Upstream>,
    frame: wire::upstream::Frame,
) -> Result<(), SessionError> {
    enqueue(up, wire::Upstream { frame: Some(frame) }).await
}

async fn enqueue(
    up: &mpsc::Sender<wire::Upstream>,
    frame: wire::Upstream,
) -> Result<(), SessionError> {
    match timeout(SEND_MAX, up.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(SessionError::Ended),
        Err(_) => Err(SessionError::Stuck),
    }
}
