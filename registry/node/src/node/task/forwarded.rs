//! Proposals that peers forward to this node, which leads, or did when they were sent.

use bytes::Bytes;
use tokio::sync::oneshot;
use weft_proto::peer::ProposeAnswer;

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
        if self.leads() && !self.driver.proves(&proposal) {
            return self.unproven.push(proposal.request());
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
            let unproven = self.unproven.contains(&request);
            let taken = !unproven && !self.declined.contains(&request);
            if !taken {
                self.shared.shares.give_back(&request);
            }
            let answer = ProposeAnswer {
                taken,
                leader: leader.map_or(0, |leader| leader.0),
                no_room: !taken && space != Space::Enough,
                unproven,
            };
            let _ = reply.send(call::propose_answer(&answer));
        }
    }
}
