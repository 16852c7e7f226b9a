//! One direction of a stream between two gateways: the real journal read into the real catalog.

use weft_model::fixture::name;
use weft_model::{ClusterName, Endpoint, RegionName};
use weft_plan::Moment;
use weft_plan::catalog::{Attestation, Cursor, Interest};

use super::gateway::Gateway;
use super::invariant::Order;

/// A stream that is up.
#[derive(Debug)]
pub(super) struct Stream {
    /// The runs that it joins.
    pub(super) runs: (u8, u8),
    cursor: Cursor,
    order: Order,
    /// When it began.
    pub(super) since: u64,
    recovering_told: bool,
    /// Whether the other end has given it up.
    pub(super) ended: bool,
    /// What is on its way stands still until then.
    pub(super) stalled_until: u64,
}

impl Stream {
    /// Begins with a hello and a snapshot. None if one of the two is down.
    pub(super) fn open(from: &Gateway, to: &mut Gateway, step: u64, now: Moment) -> Option<Self> {
        let runs = (from.run, to.run);
        let (said, heard) = (from.catalog.as_ref()?, to.catalog.as_mut()?);
        let cluster = name(from.cluster);
        let recovering = said.is_recovering();
        heard.open_peer(&cluster, &from.name, said.epoch(), recovering, now);
        heard.peer_snapshot(&cluster, said.epoch(), Interest::Everything);
        Some(Self {
            runs,
            cursor: said.journal().begin_anew(),
            order: Order::default(),
            since: step,
            recovering_told: recovering,
            ended: false,
            stalled_until: 0,
        })
    }

    /// Delivers at most `most` words; false if the reader has to begin again.
    pub(super) fn deliver(
        &mut self,
        from: &Gateway,
        to: &mut Gateway,
        most: usize,
        now: Moment,
    ) -> Result<bool, String> {
        let (Some(said), Some(heard)) = (&from.catalog, &mut to.catalog) else {
            return Ok(false);
        };
        let (cluster, epoch) = (name(from.cluster), said.epoch());
        let Some(batch) = said.journal().read(&mut self.cursor, most, |_| true) else {
            return Ok(false);
        };
        for step in batch.steps {
            self.order.read(step.position)?;
            match step.value {
                Attestation::Present(endpoint) => {
                    heard.peer_attests(&cluster, epoch, Endpoint::clone(&endpoint));
                }
                Attestation::Retracted(id) => heard.peer_retracts(&cluster, epoch, id, now),
                Attestation::Withdrawn(id, sequence) => {
                    heard.peer_withdraws(&cluster, epoch, id, sequence, now);
                }
            }
        }
        if batch.caught_up {
            let hash = said.journal().hash(|_| true);
            self.order
                .caught_up(heard.peer_mark(&cluster, epoch, hash, now))?;
            if said.is_recovering() != self.recovering_told {
                self.recovering_told = said.is_recovering();
                heard.open_peer(&cluster, &from.name, epoch, self.recovering_told, now);
            }
        }
        Self::tell_clamps(from, to);
        Ok(true)
    }

    /// What the gateway made itself, and what the other one of its cluster made.
    fn tell_clamps(from: &Gateway, to: &mut Gateway) {
        let (teller, hearer): (ClusterName, ClusterName) = (name(from.cluster), name(to.cluster));
        let region: RegionName = name(from.region);
        let from_whom = (&teller, &from.name);
        let to_whom = (&hearer, &to.name);
        let mut news = false;
        for clamp in from.clamps.told_to(from_whom, to_whom) {
            let heard = to.clamps.hear(to_whom, from_whom, &region, clamp.clone());
            news |= heard == Ok(true);
        }
        if news {
            to.clamps.prune(&to.federation);
            to.save_clamps();
        }
    }
}
