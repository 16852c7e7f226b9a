//! The end: faults stop, the group converges, and what was promised is looked for.

use weft_model::NodeId;
use weft_registry::disk::Space;

use super::World;
use crate::coverage::Seen;
use crate::member::Member;
use crate::network::Weather;

impl World {
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.network.cuts.clear();
        self.network.weather = Weather::FAIR;
        let nodes: Vec<NodeId> = self.members.keys().copied().collect();
        for node in nodes {
            self.resume(node);
            if let Some(member) = self.members.get_mut(&node) {
                member.doomed = None;
                member.clock.settle();
                member.set_space(Space::Enough, None);
            }
            self.drain(node)?;
        }
        let down: Vec<NodeId> = self
            .members
            .values()
            .filter(|member| member.driver.is_none())
            .map(|member| member.node)
            .collect();
        for watcher in &mut self.watchers {
            watcher.stalls_until = 0;
        }
        down.into_iter().try_for_each(|node| self.start(node))
    }

    /// What still lacks before the group has converged.
    pub(super) fn lack(&self) -> Option<String> {
        if self.admin.pending.is_some() || self.writers.iter().any(|w| w.pending.is_some()) {
            return Some("answers to all clients".into());
        }
        let Some(leader) = self.leader().and_then(|leader| self.driver(leader)) else {
            return Some("a leader".into());
        };
        let (status, state) = (leader.status(), &leader.image().state);
        let group: Vec<NodeId> = status
            .voters
            .iter()
            .chain(&status.learners)
            .copied()
            .collect();
        for (node, _) in state.nodes() {
            if !group.contains(&node) {
                return Some(format!("node {node} in the group"));
            }
            if self.applied(node) != status.commit {
                return Some(format!("node {node} at {}", status.commit));
            }
        }
        if group.len() != state.nodes().count() {
            return Some("removed nodes out of the group".into());
        }
        let may_vote = group
            .iter()
            .filter(|node| state.may_vote(**node))
            .count()
            .min(5);
        let odd = may_vote - usize::from(may_vote.is_multiple_of(2));
        if status.voters.len() != odd {
            return Some(format!("{odd} voters, it has {:?}", status.voters));
        }
        self.unwatched(status.applied)
    }

    pub(super) fn check_final(&mut self) -> Result<(), String> {
        let nodes: Vec<NodeId> = match self.leader().and_then(|leader| self.driver(leader)) {
            Some(leader) => leader.image().state.nodes().map(|(node, _)| node).collect(),
            None => Vec::new(),
        };
        let mut digests = Vec::new();
        for node in nodes {
            let Some(driver) = self.members.get(&node).and_then(|m| m.driver.as_ref()) else {
                return Err(format!("node {node} is down"));
            };
            let image = driver.image();
            self.invariants
                .states
                .compare(node, image.index, &image.state)?;
            self.invariants.durable.check_final(&image.state)?;
            digests.push(image.state.digest());
        }
        let disks = self
            .members
            .iter()
            .map(|(node, member)| (*node, &member.disk));
        crate::invariant::history::check(disks)?;
        if self.members.values().any(Member::has_trimmed) {
            self.seen.note(Seen::HistoryTrimmed);
        }
        digests.dedup();
        match digests.len() {
            1 => Ok(()),
            _ => Err(format!("the final digests differ: {digests:?}")),
        }
    }
}
