//! The catalog stream between two gateways.
//!
//! Each side attests what it knows at first hand and asks for what it wants;
//! neither passes on what it heard from a third. The two directions are alike
//! and independent of each other.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use weft_model::{ClusterName, Digest, DigestRow, Endpoint, GatewayName, ServiceKey};
use weft_plan::catalog::{Attestation, Cursor, Epoch, Interest, SetHash};
use weft_proto::catalog as wire;
use weft_proto::catalog::peer_frame::Frame;
use weft_proxy::catalog::wire::{self as convert, WireError};

use super::handle::{CatalogHandle, Inner, State};
use super::session::interest;

/// A longer frame is refused.
const FRAME_MAX: u32 = 4 << 20;
const HELLO_MAX: Duration = Duration::from_secs(10);
/// A peer that says nothing for this long is gone; the tunnel usually knows sooner.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// A side that has nothing to say says so this often.
const MARK_INTERVAL: Duration = Duration::from_secs(5);
/// A digest is told at most this often.
const DIGEST_INTERVAL: Duration = Duration::from_secs(1);
/// Attestations read under one lock.
const BATCH: usize = 256;

/// Why a catalog stream ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The stream broke or ended.
    #[error("the stream ended")]
    Stream(#[from] io::Error),
    /// The peer does not speak.
    #[error("the peer said nothing for {0:?}")]
    Silent(Duration),
    /// A frame is longer than allowed, in bytes.
    #[error("a frame of {0} bytes, at most {FRAME_MAX} are allowed")]
    TooLong(u32),
    /// A frame cannot be read.
    #[error("a frame cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// A frame breaks a rule.
    #[error("a frame is not lawful: {0}")]
    Frame(#[from] WireError),
    /// The peer says it is somebody else than its certificate says.
    #[error("the peer says it is {said}, its certificate says {proved}")]
    Peer {
        /// As it says.
        said: String,
        /// As it proved.
        proved: String,
    },
}

/// Who is at the other end, as proved by its certificate, and which run of it.
#[derive(Debug, Clone)]
struct Peer {
    cluster: ClusterName,
    gateway: GatewayName,
    epoch: Epoch,
}

/// What the half that reads asks of the half that writes.
#[derive(Debug, Clone, Default)]
struct Wish {
    /// What the peer wants to hear of; none before it said so.
    interest: Option<Asked>,
    /// Counts snapshots that the peer asked for.
    snapshots: u64,
    /// Counts snapshots to ask the peer for.
    resyncs: u64,
}

#[derive(Debug, Clone)]
struct Asked {
    interest: Interest,
    revision: u64,
    /// The run and hash of what the peer still has.
    holds: Option<(Epoch, SetHash)>,
}

impl CatalogHandle {
    /// Runs the catalog stream with gateway `gateway` of `cluster`, which is who
    /// its certificate says it is, until it ends. Both sides call this once the
    /// stream is open. There may be one at a time per gateway.
    pub async fn link(
        &self,
        cluster: ClusterName,
        gateway: GatewayName,
        mut reader: impl AsyncRead + Unpin + Send,
        mut writer: impl AsyncWrite + Unpin + Send,
    ) -> Result<(), LinkError> {
        let inner = &*self.inner;
        write_frame(&mut writer, Frame::Hello(inner.hello())).await?;
        let first = timeout(HELLO_MAX, read_frame(&mut reader)).await;
        let first = first.map_err(|_| LinkError::Silent(HELLO_MAX))??;
        let Some(Frame::Hello(hello)) = first.frame else {
            return Err(WireError::new("frame", "the first one is a hello").into());
        };
        let peer = greet(cluster, gateway, &hello)?;
        inner.meet(&peer, hello.recovering);
        let _linked = Linked { inner, peer: &peer };
        let (wish, wishes) = watch::channel(Wish::default());
        tokio::select! {
            ended = read(inner, &peer, &mut reader, &wish) => ended,
            ended = write(inner, &peer, &mut writer, wishes) => ended,
        }
    }
}

/// The peer can be heard; no longer when dropped, however the stream ends.
struct Linked<'a> {
    inner: &'a Inner,
    peer: &'a Peer,
}

impl Drop for Linked<'_> {
    fn drop(&mut self) {
        let now = self.inner.now();
        let mut state = self.inner.state();
        state
            .catalog
            .lose_peer(&self.peer.cluster, self.peer.epoch, now);
        drop(state);
        self.inner.nudge();
    }
}

fn greet(
    cluster: ClusterName,
    gateway: GatewayName,
    hello: &wire::PeerHello,
) -> Result<Peer, LinkError> {
    if hello.cluster != cluster.as_str() || hello.gateway != gateway.as_str() {
        return Err(LinkError::Peer {
            said: format!("{}/{}", hello.cluster, hello.gateway),
            proved: format!("{cluster}/{gateway}"),
        });
    }
    Ok(Peer {
        cluster,
        gateway,
        epoch: epoch(&hello.epoch)?,
    })
}

fn epoch(bytes: &[u8]) -> Result<Epoch, WireError> {
    let epoch = Epoch::from_slice(bytes).filter(|epoch| *epoch != Epoch::DISK);
    epoch.ok_or_else(|| WireError::new("epoch", "has not 16 bytes, or only zeros"))
}

impl Inner {
    fn hello(&self) -> wire::PeerHello {
        wire::PeerHello {
            cluster: self.config.cluster.to_string(),
            gateway: self.config.gateway.to_string(),
            epoch: self.epoch.0.to_vec().into(),
            recovering: self.state().catalog.is_recovering(),
        }
    }

    fn meet(&self, peer: &Peer, recovering: bool) {
        let now = self.now();
        let mut state = self.state();
        let catalog = &mut state.catalog;
        catalog.open_peer(&peer.cluster, &peer.gateway, peer.epoch, recovering, now);
        drop(state);
        self.nudge();
    }
}

/// Takes what the peer says until the stream ends.
async fn read(
    inner: &Inner,
    peer: &Peer,
    reader: &mut (impl AsyncRead + Unpin),
    wish: &watch::Sender<Wish>,
) -> Result<(), LinkError> {
    loop {
        let frame = timeout(SILENCE_MAX, read_frame(reader)).await;
        let frame = frame.map_err(|_| LinkError::Silent(SILENCE_MAX))??;
        match frame.frame {
            Some(Frame::Hello(hello)) => inner.meet(peer, hello.recovering),
            Some(Frame::Interest(asked)) => {
                let asked = Asked {
                    interest: interest(asked.interest.as_ref())?,
                    revision: asked.revision,
                    holds: Epoch::from_slice(&asked.epoch).map(|e| (e, SetHash(asked.hash))),
                };
                wish.send_modify(|wish| wish.interest = Some(asked));
            }
            Some(Frame::Resync(_)) => wish.send_modify(|wish| wish.snapshots += 1),
            // A newer peer may say more than this version knows.
            None => {}
            Some(said) => {
                let in_step = inner.hear(peer, said)?;
                if !in_step {
                    wish.send_modify(|wish| wish.resyncs += 1);
                }
            }
        }
    }
}

impl Inner {
    /// Takes in what the peer says of its cluster; false if what is held here
    /// differs from what the peer has.
    fn hear(&self, peer: &Peer, said: Frame) -> Result<bool, WireError> {
        let now = self.now();
        let (cluster, epoch) = (&peer.cluster, peer.epoch);
        // Converted before the lock.
        let said = Said::read(said)?;
        let mut state = self.state();
        let state = &mut *state;
        let catalog = &mut state.catalog;
        let mut in_step = true;
        match said {
            Said::Snapshot(revision) => {
                let answers =
                    revision == state.interest_revision || peer.cluster == self.config.cluster;
                let covers = match answers {
                    true => asked_of(&peer.cluster, &self.config.cluster, &state.interest),
                    // It answers an older question; the newer one is under way.
                    false => Interest::default(),
                };
                catalog.peer_snapshot(cluster, epoch, covers);
            }
            Said::Endpoint(endpoint) => {
                let id = endpoint.id;
                if !catalog.peer_attests(cluster, epoch, *endpoint) {
                    tracing::warn!(peer = %peer.cluster, endpoint = %id, "left out an endpoint that is not its to attest");
                }
            }
            Said::Withdrawn(id, sequence) => {
                catalog.peer_withdraws(cluster, epoch, id, sequence, now);
            }
            Said::Retracted(id) => catalog.peer_retracts(cluster, epoch, id, now),
            Said::Digest(digest) => catalog.peer_digest(cluster, epoch, Arc::new(digest)),
            Said::Mark(hash) => {
                if let Err(why) = catalog.peer_mark(cluster, epoch, hash, now) {
                    tracing::warn!(peer = %peer.cluster, %why, "asking for all of it");
                    in_step = false;
                }
            }
        }
        self.nudge();
        Ok(in_step)
    }
}

/// What a peer says, converted.
enum Said {
    Snapshot(u64),
    Endpoint(Box<Endpoint>),
    Withdrawn(weft_model::EndpointId, u64),
    Retracted(weft_model::EndpointId),
    Digest(Digest),
    Mark(SetHash),
}

impl Said {
    fn read(frame: Frame) -> Result<Self, WireError> {
        Ok(match frame {
            Frame::Snapshot(begin) => Self::Snapshot(begin.revision),
            Frame::Endpoint(endpoint) => Self::Endpoint(Box::new(convert::endpoint(&endpoint)?)),
            Frame::EndpointWithdrawn(word) => {
                Self::Withdrawn(convert::endpoint_id(&word.id)?, word.sequence)
            }
            Frame::EndpointRetracted(id) => Self::Retracted(convert::endpoint_id(&id)?),
            Frame::Digest(digest) => Self::Digest(read_digest(&digest)?),
            Frame::Mark(mark) => Self::Mark(SetHash(mark.hash)),
            Frame::Hello(_) | Frame::Interest(_) | Frame::Resync(_) => {
                return Err(WireError::new("frame", "is about the stream"));
            }
        })
    }
}

/// What is asked of a peer: of one's own cluster everything.
fn asked_of(peer: &ClusterName, own: &ClusterName, interest: &Interest) -> Interest {
    if peer == own {
        Interest::Everything
    } else {
        interest.clone()
    }
}

/// How far the half that writes is.
struct Writer<'a, W> {
    inner: &'a Inner,
    peer: &'a Peer,
    to: &'a mut W,
    /// None until the peer has said what it wants.
    cursor: Option<Cursor>,
    /// What the peer may see; none stands for everything.
    visible: Option<BTreeSet<ServiceKey>>,
    intent_revision: u64,
    asked: Option<Asked>,
    snapshots: u64,
    resyncs: u64,
    interest_told: u64,
    recovering_told: bool,
    digest_told: Option<Digest>,
    digest_due: Instant,
    mark_due: Instant,
}

async fn write(
    inner: &Inner,
    peer: &Peer,
    to: &mut (impl AsyncWrite + Unpin),
    mut wishes: watch::Receiver<Wish>,
) -> Result<(), LinkError> {
    let mut changed = inner.changed.subscribe();
    let now = Instant::now();
    let mut writer = Writer {
        inner,
        peer,
        to,
        cursor: None,
        visible: Some(BTreeSet::new()),
        intent_revision: 0,
        asked: None,
        snapshots: 0,
        resyncs: 0,
        interest_told: 0,
        recovering_told: inner.state().catalog.is_recovering(),
        digest_told: None,
        digest_due: now,
        mark_due: now,
    };
    loop {
        changed.mark_unchanged();
        let wish = wishes.borrow_and_update().clone();
        writer.tell_interest(&wish).await?;
        writer.tell_recovery().await?;
        writer.tell_endpoints(wish).await?;
        writer.tell_digest().await?;
        let due = match writer.digest_told {
            Some(_) => writer.mark_due,
            None => writer.mark_due.min(writer.digest_due),
        };
        tokio::select! {
            _ = changed.changed() => {}
            gone = wishes.changed() => if gone.is_err() { return Ok(()) },
            () = sleep_until(due) => {}
        }
    }
}

impl<W: AsyncWrite + Unpin> Writer<'_, W> {
    /// What this side wants, when that changed; or that it must have everything again.
    async fn tell_interest(&mut self, wish: &Wish) -> Result<(), LinkError> {
        if wish.resyncs != self.resyncs {
            self.resyncs = wish.resyncs;
            write_frame(self.to, Frame::Resync(wire::Resync {})).await?;
        }
        let asked = {
            let state = self.inner.state();
            if state.interest_revision == self.interest_told {
                return Ok(());
            }
            self.interest_told = state.interest_revision;
            let own = &self.inner.config.cluster;
            let interest = asked_of(&self.peer.cluster, own, &state.interest);
            let hash = state.catalog.peer_hash(&self.peer.cluster, self.peer.epoch);
            wire::PeerInterest {
                interest: Some(to_interest(&interest)),
                revision: state.interest_revision,
                epoch: self.peer.epoch.0.to_vec().into(),
                hash: hash.0,
            }
        };
        write_frame(self.to, Frame::Interest(asked)).await
    }

    async fn tell_recovery(&mut self) -> Result<(), LinkError> {
        let hello = self.inner.hello();
        if hello.recovering == self.recovering_told {
            return Ok(());
        }
        self.recovering_told = hello.recovering;
        write_frame(self.to, Frame::Hello(hello)).await
    }

    async fn tell_endpoints(&mut self, wish: Wish) -> Result<(), LinkError> {
        let Some(asked) = wish.interest else {
            return Ok(());
        };
        let again = wish.snapshots != self.snapshots;
        self.snapshots = wish.snapshots;
        if self.must_begin(&asked) || again {
            self.cursor = None;
        }
        self.asked = Some(asked.clone());
        let mut news = false;
        loop {
            let cursor = match self.cursor {
                Some(cursor) => cursor,
                None => {
                    news = true;
                    self.begin(&asked, again).await?
                }
            };
            let Some((frames, cursor, mark)) = self.batch(cursor, &asked.interest) else {
                // So far behind that only a snapshot helps.
                self.cursor = None;
                continue;
            };
            self.cursor = Some(cursor);
            for frame in frames {
                news = true;
                write_frame(self.to, frame).await?;
            }
            if let Some(mark) = mark {
                if news || Instant::now() >= self.mark_due {
                    self.mark_due = Instant::now() + MARK_INTERVAL;
                    write_frame(self.to, Frame::Mark(mark)).await?;
                }
                return Ok(());
            }
        }
    }

    /// Whether what the peer may see, or wants to, is another than before.
    fn must_begin(&mut self, asked: &Asked) -> bool {
        let state = self.inner.state();
        let mut changed = match &self.asked {
            Some(before) => before.revision != asked.revision,
            None => true,
        };
        if self.intent_revision != state.intent_revision {
            self.intent_revision = state.intent_revision;
            let visible = state.visible_to(&self.peer.cluster, &self.inner.config.cluster);
            changed |= visible != self.visible;
            self.visible = visible;
        }
        changed
    }

    /// A peer that still has what this run told, as the hash shows, goes on from
    /// there; any other begins with a snapshot.
    async fn begin(&mut self, asked: &Asked, again: bool) -> Result<Cursor, LinkError> {
        let (cursor, resumed) = {
            let state = self.inner.state();
            let journal = state.catalog.journal();
            let hash = journal.hash(|service| covers(&self.visible, &asked.interest, service));
            let has = asked.holds == Some((self.inner.epoch, hash)) && !again;
            match journal
                .resume(journal.head())
                .filter(|_| has && hash != SetHash::default())
            {
                Some(cursor) => (cursor, true),
                None => (journal.begin(), false),
            }
        };
        if !resumed {
            let revision = asked.revision;
            write_frame(self.to, Frame::Snapshot(wire::SnapshotBegin { revision })).await?;
        }
        self.cursor = Some(cursor);
        Ok(cursor)
    }

    fn batch(
        &self,
        mut cursor: Cursor,
        interest: &Interest,
    ) -> Option<(Vec<Frame>, Cursor, Option<wire::Mark>)> {
        let state: &State = &self.inner.state();
        let journal = state.catalog.journal();
        let covers = |service: &ServiceKey| covers(&self.visible, interest, service);
        let batch = journal.read(&mut cursor, BATCH, covers)?;
        let mark = batch.caught_up.then(|| wire::Mark {
            applied_index: state.federation.applied().0,
            hash: journal.hash(covers).0,
            recovering: state.catalog.is_recovering(),
        });
        let abroad = self.peer.cluster != self.inner.config.cluster;
        let words = batch.steps.into_iter().map(|step| step.value);
        Some((
            words.map(|word| to_frame(word, abroad)).collect(),
            cursor,
            mark,
        ))
    }

    /// How much of what this cluster has, of the services that leave it.
    async fn tell_digest(&mut self) -> Result<(), LinkError> {
        if Instant::now() < self.digest_due {
            return Ok(());
        }
        let own = self.inner.config.cluster.clone();
        let view = self.inner.view.load_full();
        let Some(liveness) = view.liveness(&own) else {
            return Ok(());
        };
        let mut digest = Digest::clone(&liveness.digest);
        if self.peer.cluster != own {
            let state = self.inner.state();
            let leaves = |key: &ServiceKey| state.federation.export(key, &own).is_some();
            digest.rows.retain(|(service, _, _), _| leaves(service));
        }
        if self.digest_told.as_ref() == Some(&digest) {
            return Ok(());
        }
        self.digest_due = Instant::now() + DIGEST_INTERVAL;
        write_frame(self.to, Frame::Digest(to_digest(&digest))).await?;
        self.digest_told = Some(digest);
        Ok(())
    }
}

fn covers(
    visible: &Option<BTreeSet<ServiceKey>>,
    interest: &Interest,
    service: &ServiceKey,
) -> bool {
    interest.covers(service)
        && visible
            .as_ref()
            .is_none_or(|visible| visible.contains(service))
}

/// Addresses mean nothing outside their cluster and do not leave it.
fn to_frame(word: Attestation, abroad: bool) -> Frame {
    match word {
        Attestation::Present(endpoint) => {
            let mut endpoint = convert::to_endpoint(&endpoint);
            if abroad {
                endpoint.address.clear();
                endpoint.workload.clear();
            }
            Frame::Endpoint(endpoint)
        }
        Attestation::Retracted(id) => Frame::EndpointRetracted(id.0.to_vec().into()),
        Attestation::Withdrawn(id, sequence) => Frame::EndpointWithdrawn(wire::Withdraw {
            id: id.0.to_vec().into(),
            sequence,
        }),
    }
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

fn read_digest(from: &wire::Digest) -> Result<Digest, WireError> {
    let rows = from.rows.iter().map(|row| {
        let at = (
            convert::service_key(row.service.as_ref())?,
            convert::parse_optional("rows.zone", &row.zone)?,
            convert::parse_optional("rows.version", &row.version)?,
        );
        let counted = DigestRow {
            ready: row.ready,
            capacity: row.capacity,
        };
        Ok((at, counted))
    });
    let rows = rows.collect::<Result<_, WireError>>()?;
    Ok(Digest { rows })
}

fn to_digest(from: &Digest) -> wire::Digest {
    let rows = from
        .rows
        .iter()
        .map(|((service, zone, version), row)| wire::DigestRow {
            service: Some(convert::to_service_key(service)),
            zone: zone.as_ref().map(ToString::to_string).unwrap_or_default(),
            version: version
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            ready: row.ready,
            capacity: row.capacity,
        });
    wire::Digest {
        rows: rows.collect(),
    }
}

async fn write_frame(to: &mut (impl AsyncWrite + Unpin), frame: Frame) -> Result<(), LinkError> {
    let frame = wire::PeerFrame { frame: Some(frame) };
    let len = frame.encoded_len();
    let mut bytes = Vec::with_capacity(4 + len);
    let prefix = u32::try_from(len).map_err(|_| LinkError::TooLong(u32::MAX))?;
    bytes.extend_from_slice(&prefix.to_be_bytes());
    frame
        .encode(&mut bytes)
        .expect("a vector has room for every frame");
    to.write_all(&bytes).await?;
    to.flush().await?;
    Ok(())
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> Result<wire::PeerFrame, LinkError> {
    let len = from.read_u32().await?;
    if len > FRAME_MAX {
        return Err(LinkError::TooLong(len));
    }
    let len = usize::try_from(len).map_err(|_| LinkError::TooLong(len))?;
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes).await?;
    Ok(wire::PeerFrame::decode(bytes::Bytes::from(bytes))?)
}
