//! Proposals that peers forward to this node, which leads, or did when they were sent.

use bytes::Bytes;
use tokio::sync::oneshot;
use weft_model::NodeId;
use weft_proto::peer::ProposeAnswer;

use super::{Task, wall_time};
use crate::disk::Space;
use crate::driver::Input;
use crate::node::call;
use crate::node::shares::Share;
use crate::node::transport::Transport;
use crate::proposal::Proposal;

impl<T: Transport> Task<T> {
    /// Taken like an own one; whether it was shows once the step is done.
    pub(super) fn take_forwarded(
        &mut self,
        from: NodeId,
        proposal: Proposal,
        reply: oneshot::Sender<Bytes>,
    ) {
        self.counters.forwarded += 1;
        self.forwarded.push((proposal.request(), reply));
        if self.leads() && !self.driver.proves(&proposal) {
            return self.unproven.push(proposal.request());
        }
        let share = match self.leads() {
            true => self.share_of(from, &proposal),
            false => Share::Free,
        };
        match share {
            Share::Free => {}
            Share::There => return,
            Share::Spent => return self.declined.push(proposal.request()),
        }
        let now = wall_time();
        self.driver.handle(Input::Propose { proposal, now });
    }

    /// Takes a forwarded proposal into the share of the cluster that it comes from.
    fn share_of(&mut self, from: NodeId, proposal: &Proposal) -> Share {
        let state = &self.driver.image().state;
        let Some(node) = state.node(from) else {
            return Share::Spent;
        };
        let (cluster, request) = (node.cluster.clone(), proposal.request());
        self.shares.take(&cluster, request, proposal.bytes())
    }

    /// Tells those who forwarded proposals in this step whether they were taken.
    pub(super) fn answer_forwarded(&mut self) {
        let leader = self.driver.leadership().leader;
        let space = self.disk_status.room.space;
        for (request, reply) in self.forwarded.drain(..) {
            let unproven = self.unproven.contains(&request);
            let taken = !unproven && !self.declined.contains(&request);
            if !taken {
                self.shares.give_back(&request);
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
