//! The half of a catalog stream that writes: what this gateway attests, as far
//! as the peer wants it and may see it, and what this gateway wants itself.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use weft_model::{Clamp, ClampId, Digest, ServiceKey};
use weft_plan::catalog::{Cursor, Interest, SetHash};
use weft_proto::catalog as wire;
use weft_proto::catalog::peer_frame::Frame;

use super::frame::{to_clamps, to_digest, to_frame, to_interest, write_frame};
use super::{Asked, LinkError, Peer, Wish, asked_of};
use crate::catalog::handle::{Inner, State};

/// A side that has nothing to say says so this often.
const MARK_INTERVAL: Duration = Duration::from_secs(5);
/// A digest is told at most this often.
const DIGEST_INTERVAL: Duration = Duration::from_secs(1);
/// Attestations read under one lock.
const BATCH: usize = 256;

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
    /// Whether this side was recovering at the last mark, and at the last hello.
    recovering_at_mark: bool,
    recovering_told: bool,
    digest_told: Option<Digest>,
    digest_due: Instant,
    mark_due: Instant,
    clamps_told: Vec<ClampId>,
    clamps_due: Instant,
}

/// Tells the peer what it wants to hear until the stream ends. Its hello said `recovering_told`.
pub(super) async fn write(
    inner: &Inner,
    peer: &Peer,
    to: &mut (impl AsyncWrite + Unpin),
    mut wishes: watch::Receiver<Wish>,
    recovering_told: bool,
) -> Result<(), LinkError> {
    let mut changed = inner.changed.subscribe();
    let mut clamped = inner.config.clamps.source().changed();
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
        recovering_at_mark: recovering_told,
        recovering_told,
        digest_told: None,
        digest_due: now,
        mark_due: now,
        clamps_told: Vec::new(),
        clamps_due: now,
    };
    loop {
        changed.mark_unchanged();
        clamped.mark_unchanged();
        let wish = wishes.borrow_and_update().clone();
        writer.tell_interest(&wish).await?;
        writer.tell_clamps().await?;
        writer.tell_endpoints(wish).await?;
        writer.tell_recovery().await?;
        writer.tell_digest().await?;
        let due = match writer.digest_told {
            Some(_) => writer.mark_due,
            None => writer.mark_due.min(writer.digest_due),
        };
        tokio::select! {
            _ = changed.changed() => {}
            _ = clamped.changed() => {}
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

    /// That this side recovers no more: only once the peer was told all that was attested when it
    /// ended. Before that, what is still on its way would look absent.
    async fn tell_recovery(&mut self) -> Result<(), LinkError> {
        if self.recovering_at_mark == self.recovering_told {
            return Ok(());
        }
        self.recovering_told = self.recovering_at_mark;
        let recovering = self.recovering_told;
        let hello = wire::PeerHello {
            recovering,
            ..self.inner.hello()
        };
        write_frame(self.to, Frame::Hello(hello)).await
    }

    /// The clamps made here, and those that a peer of this cluster made, which may have lost them: when
    /// they changed, and again now and then, since the peer may not have been able to judge them.
    async fn tell_clamps(&mut self) -> Result<(), LinkError> {
        let config = &self.inner.config;
        let known = config.clamps.known();
        let own = (&config.cluster, &config.gateway);
        let peer = (&self.peer.cluster, &self.peer.gateway);
        let told: Vec<&Clamp> = known.told_to(own, peer).collect();
        let ids: Vec<ClampId> = told.iter().map(|clamp| clamp.id).collect();
        let due = !ids.is_empty() && Instant::now() >= self.clamps_due;
        if ids == self.clamps_told && !due {
            return Ok(());
        }
        self.clamps_due = Instant::now() + MARK_INTERVAL;
        self.clamps_told = ids;
        write_frame(self.to, Frame::Clamps(to_clamps(told))).await
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
                self.recovering_at_mark = mark.recovering;
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
    /// there; any other begins with a snapshot. It may hold endpoints from its disk, or from before
    /// it wanted others, so it also hears which have gone lately, and by whose word.
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
                None => (journal.begin_anew(), false),
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

    /// How much of what this cluster has, of the services that the peer may see.
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
        let visible = self.inner.state().visible_to(&self.peer.cluster, &own);
        if let Some(visible) = visible {
            digest
                .rows
                .retain(|(service, _, _), _| visible.contains(service));
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
