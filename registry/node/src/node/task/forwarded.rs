//! Proposals that peers forward to this node, which leads, or did when they were sent.

use bytes::Bytes;
use tokio::sync::oneshot;
use weft_model::Refusal;
use weft_proto::peer::ProposeAnswer;
use weft_proto::peer::propose_answer::Early;

use super::{Task, wall_time};
use crate::disk::Space;
use crate::driver::Input;
use crate::node::call;
use crate::node::transport::Transport;
use crate::proposal::Proposal;

impl<T: Transport> Task<T> {
    /// Taken like an own one; whether it was shows once the step is done.
    pub(super) fn take_forwarded(&mut self, proposal: Proposal, reply: oneshot::Sender<Bytes>) {
        self.counters.forwarded += 1;
        self.forwarded.push((proposal.request(), reply));
        if let Some(refusal) = self.driver.foresees(&proposal).filter(|_| self.leads()) {
            return self.foreseen.push((proposal.request(), refusal));
        }
        let now = wall_time();
        self.driver.handle(Input::Propose { proposal, now });
    }

    /// This node, which leads, writes: others' writes are beside its own.
    pub(super) fn note_own_write(&self) {
        let state = &self.driver.image().state;
        if let Some(own) = state.node(self.shared.folder.node) {
            self.shared.shares.note(&own.cluster);
        }
    }

    /// Tells those who forwarded proposals in this step whether they were taken.
    pub(super) fn answer_forwarded(&mut self) {
        let leader = self.driver.leadership().leader;
        let space = self.disk_status.room.space;
        for (request, reply) in self.forwarded.drain(..) {
            let foreseen = self.foreseen.iter().find(|(id, _)| *id == request);
            let foreseen = foreseen.map(|(_, refusal)| refusal);
            let taken = foreseen.is_none() && !self.declined.contains(&request);
            let early = match foreseen {
                Some(Refusal::Format { needs, has }) => Some(Early {
                    needs: needs.0,
                    has: has.0,
                }),
                _ => None,
            };
            if !taken {
                self.shared.shares.give_back(&request);
            }
            let answer = ProposeAnswer {
                taken,
                leader: leader.map_or(0, |leader| leader.0),
                no_room: !taken && space != Space::Enough,
                unproven: foreseen == Some(&Refusal::Signature),
                early,
            };
            let _ = reply.send(call::propose_answer(&answer));
        }
    }
}
