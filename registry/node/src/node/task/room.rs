//! A disk that runs out of room, and gets some again: the node only reads meanwhile.

use std::time::Instant;

use super::Task;
use crate::disk::Space;
use crate::driver::Input;
use crate::node::error::ProposeError;
use crate::node::proposals;
use crate::node::transport::Transport;
use crate::proposal::Proposal;

impl<T: Transport> Task<T> {
    /// Takes over what the disk's thread saw.
    pub(super) fn note_room(&mut self) {
        let room = self.shared.room.borrow().to_owned();
        let before = std::mem::replace(&mut self.disk_status.room, room).space;
        if room.space == before {
            return;
        }
        let free = room.free;
        match room.space {
            Space::Enough => tracing::info!(free, "there is room on the disk: writes go on"),
            Space::Low => tracing::error!(free, "the disk is nearly full: writes are refused"),
            Space::Full => {
                tracing::error!(free, "the disk is full: what is under way waits for room");
            }
        }
        self.driver.handle(Input::Space(room.space));
        if room.space != Space::Enough {
            self.proposals.refuse_untaken(self.shared.folder.node);
        }
        self.publish_status();
    }

    /// Takes a proposal made here, unless it could not be applied here.
    pub(super) fn take_proposal(
        &mut self,
        now: Instant,
        proposal: Proposal,
        reply: proposals::Reply,
    ) {
        if self.driver.fenced().is_some() {
            // Who asked may have gone.
            let _ = reply.send(Err(ProposeError::Fenced));
        } else if let Some(outranked) = self.driver.status().outranked {
            let recovered = outranked.at();
            let _ = reply.send(Err(ProposeError::Outranked { recovered }));
        } else if self.disk_status.room.space == Space::Enough {
            self.proposals.add(now, proposal, reply);
        } else {
            let node = self.shared.folder.node;
            // Who asked may have gone.
            let _ = reply.send(Err(ProposeError::NoRoom { node }));
        }
    }
}
