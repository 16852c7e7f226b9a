//! The half of a catalog stream that reads: what the peer says of its cluster
//! goes to the catalog, what it asks for to the half that writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio::time::timeout;
use weft_model::{Clamp, Digest, Endpoint, EndpointId};
use weft_plan::catalog::{Epoch, Interest, SetHash, is_attestable};
use weft_proto::catalog::peer_frame::Frame;
use weft_proxy::catalog::wire::{self as convert, WireError};

use super::frame::{read_clamps, read_digest, read_frame};
use super::pace::Paced;
use super::{Asked, LinkError, Peer, Wish, asked_of};
use crate::catalog::handle::Inner;
use crate::catalog::session::interest;

/// A peer that says nothing for this long is gone; the tunnel usually knows sooner.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Takes what the peer says until the stream ends.
pub(super) async fn read(
    inner: &Inner,
    peer: &Peer,
    reader: &mut (impl AsyncRead + Unpin),
    mut paced: Paced,
    wish: &watch::Sender<Wish>,
) -> Result<(), LinkError> {
    loop {
        let frame = timeout(SILENCE_MAX, read_frame(reader)).await;
        let frame = frame.map_err(|_| LinkError::Silent(SILENCE_MAX))??;
        paced.count(&frame).await;
        match frame.frame {
            Some(Frame::Hello(hello)) => inner.meet(peer, hello.recovering),
            Some(Frame::Interest(asked)) => {
                let asked = Asked {
                    interest: Arc::new(interest(asked.interest.as_ref())?),
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
        let said = match Said::read(said)? {
            Said::Clamps(clamps) => {
                self.hear_clamps(peer, clamps);
                return Ok(true);
            }
            said => said,
        };
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
                let lawful = is_attestable(&endpoint, cluster, &state.federation);
                if !lawful || !catalog.peer_attests(cluster, epoch, *endpoint) {
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
            Said::Clamps(_) => {}
        }
        self.nudge();
        Ok(in_step)
    }

    /// Takes those that are for the region of the peer's own cluster, and so lower nobody else. A
    /// cluster that this replica does not know yet tells again.
    fn hear_clamps(&self, peer: &Peer, clamps: Vec<Clamp>) {
        let federation = Arc::clone(&self.state().federation);
        let Some(member) = federation.cluster(&peer.cluster) else {
            return;
        };
        let region = &member.spec.region;
        let config = &self.config;
        let own = (&config.cluster, &config.gateway);
        let peer = (&peer.cluster, &peer.gateway);
        config.clamps.hear(own, peer, region, clamps);
    }
}

/// What a peer says, converted.
enum Said {
    Snapshot(u64),
    Endpoint(Box<Endpoint>),
    Withdrawn(EndpointId, u64),
    Retracted(EndpointId),
    Digest(Digest),
    Mark(SetHash),
    Clamps(Vec<Clamp>),
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
            Frame::Clamps(list) => Self::Clamps(read_clamps(&list)?),
            Frame::Hello(_) | Frame::Interest(_) | Frame::Resync(_) => {
                return Err(WireError::new("frame", "is about the stream"));
            }
        })
    }
}
