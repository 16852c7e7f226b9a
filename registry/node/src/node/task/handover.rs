//! Leadership that moves: on request, and before a shutdown.

use std::time::Instant;

use tokio::sync::oneshot;
use weft_model::NodeId;

use super::{CALL_TIMEOUT, HANDOVER, PATIENCE_TICKS, Stopping, TRANSFER_TICKS, Task, Transfer};
use crate::driver::Input;
use crate::node::call;
use crate::node::error::TransferError;
use crate::node::transport::{METHOD_TRANSFER, Transport};

impl<T: Transport> Task<T> {
    pub(super) fn begin_transfer(
        &mut self,
        now: Instant,
        to: NodeId,
        reply: oneshot::Sender<Result<(), TransferError>>,
    ) {
        let leader = self.driver.leadership().leader;
        let is_voter = self.driver.status().voters.contains(&to);
        let own = self.driver.status().node;
        let refused = match leader {
            _ if !self.may_move_leadership(own) => Some(TransferError::NoVote),
            _ if !is_voter => Some(TransferError::NotAVoter(to)),
            None => Some(TransferError::NoLeader),
            Some(_) => None,
        };
        if let Some(error) = refused {
            let _ = reply.send(Err(error));
            return;
        }
        let until = now + self.shared.clock.tick() * TRANSFER_TICKS;
        self.transfers.push(Transfer {
            to,
            again: now,
            until,
            reply,
        });
    }

    /// Voters are trusted with who leads; a member without a vote has no business with it.
    pub(super) fn may_move_leadership(&self, node: NodeId) -> bool {
        let state = &self.driver.image().state;
        let cluster = state.node(node).map(|node| &node.cluster);
        let member = cluster.and_then(|cluster| state.cluster(cluster));
        member.is_some_and(|member| member.spec.role.votes())
    }

    fn request_transfer(&mut self, to: NodeId) {
        if self.leads() {
            self.driver.handle(Input::Transfer { to });
            return;
        }
        let leader = self.driver.leadership().leader;
        if let Some(leader) = leader.filter(|leader| *leader != to) {
            let transport = self.transport.clone();
            tokio::spawn(async move {
                let body = call::transfer_request(to);
                let call = transport.call(leader, METHOD_TRANSFER, body);
                // Whether it worked shows in who leads.
                let _ = tokio::time::timeout(CALL_TIMEOUT, call).await;
            });
        }
    }

    pub(super) fn settle_transfers(&mut self, now: Instant) {
        let leader = self.driver.leadership().leader;
        let done = |transfer: &mut Transfer| leader == Some(transfer.to) || transfer.until <= now;
        for transfer in self.transfers.extract_if(.., done) {
            let result = match leader == Some(transfer.to) {
                true => Ok(()),
                false => Err(TransferError::Timeout(transfer.to)),
            };
            let _ = transfer.reply.send(result);
        }
        let pause = self.shared.clock.tick() * PATIENCE_TICKS;
        let mut due = Vec::new();
        for transfer in self.transfers.iter_mut().filter(|t| t.again <= now) {
            transfer.again = now + pause;
            due.push(transfer.to);
        }
        for to in due {
            self.request_transfer(to);
        }
    }

    pub(super) fn begin_stopping(&mut self, now: Instant, reply: oneshot::Sender<()>) {
        let stopping = self.stopping.get_or_insert_with(|| Stopping {
            replies: Vec::new(),
            until: now + HANDOVER,
        });
        stopping.replies.push(reply);
        if let Some(to) = self.leads().then(|| self.driver.successor()).flatten() {
            self.driver.handle(Input::Transfer { to });
        }
    }

    /// Whether a shutdown has come to its end: somebody else leads, or nobody can.
    pub(super) fn has_stopped(&self) -> bool {
        let Some(stopping) = &self.stopping else {
            return false;
        };
        let handing_over = self.leads() && self.driver.successor().is_some();
        !handing_over || stopping.until <= Instant::now()
    }
}
