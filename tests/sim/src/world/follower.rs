//! The follower's part: how it begins anew each time, and whom it may believe then.

use std::collections::BTreeSet;

use weft_model::{Federation, GatewayRole, NodeId};
use weft_registry::driver::Input;

use super::{TICK, World};
use crate::coverage::Seen;
use crate::member::Member;

/// A further gateway's cluster: it is never removed.
const OWN: u8 = 1;
/// How often it looks whom it may believe, in units of time.
const LOOKS_EVERY: u64 = 5 * TICK;

impl World {
    /// Whether one is to join and has not.
    pub(super) fn lacks_follower(&self) -> bool {
        self.follows && self.follower.is_none()
    }

    /// Its token is redeemed: it starts, with the list that it was given.
    pub(super) fn begin_follower(&mut self) -> Result<(), String> {
        let found = self.members.values().find_map(|member| {
            let state = &member.driver.as_ref()?.image().state;
            let follows = |node: &weft_model::Node| node.gateway.role == GatewayRole::Follower;
            let (node, _) = state.nodes().find(|(_, node)| follows(node))?;
            Some((node, believed(state)))
        });
        let (node, heeds) = found.ok_or("a redeemed token made no follower")?;
        self.follower = Some(node);
        self.invariants.follower.begin(node);
        self.members.insert(node, Member::follower(node, heeds)?);
        self.start(node)
    }

    /// What the start of a follower means: none of what it said before holds.
    pub(super) fn note_life(&mut self, node: NodeId) {
        if self.follower != Some(node) {
            return;
        }
        self.seen.note(Seen::FollowerBegan);
        for watcher in &mut self.watchers {
            watcher.told.remove(&node);
        }
    }

    /// Whether it is the follower, and has been sent nothing since it began.
    pub(super) fn is_anew(&self, node: NodeId) -> bool {
        let member = self.members.get(&node);
        member.is_some_and(|member| member.follows() && member.knows_nothing())
    }

    /// As a gateway does: it keeps the list of its state, and while it has none asks the other
    /// gateway of its cluster for a newer one.
    pub(super) fn learn(&mut self, node: NodeId) {
        if self.follower != Some(node) || !self.now.is_multiple_of(LOOKS_EVERY) {
            return;
        }
        let anew = self.is_anew(node);
        let told = match anew {
            true => self.asks_own_cluster(node),
            false => self
                .driver(node)
                .map(|driver| believed(&driver.image().state)),
        };
        let (Some(told), Some(member)) = (told, self.members.get_mut(&node)) else {
            return;
        };
        if anew {
            member.handle(Input::Heed(told.clone()));
        }
        member.heeds = Some(told);
    }

    /// What the other gateway knows, if it runs and hears the question, and its answer arrives.
    fn asks_own_cluster(&self, node: NodeId) -> Option<BTreeSet<NodeId>> {
        let other = *self.joined.get(&OWN)?;
        let cuts = &self.network.cuts;
        let cut = cuts.contains(&(node, other)) || cuts.contains(&(other, node));
        let member = self
            .members
            .get(&other)
            .filter(|member| !cut && member.resumes_at.is_none())?;
        let state = &member.driver.as_ref()?.image().state;
        Some(believed(state)).filter(|told| !told.is_empty())
    }
}

/// Those who may tell a follower of the federation.
fn believed(state: &Federation) -> BTreeSet<NodeId> {
    let nodes = state.nodes().map(|(node, _)| node);
    nodes.filter(|node| state.may_vote(*node)).collect()
}
