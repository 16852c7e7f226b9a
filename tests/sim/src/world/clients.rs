//! The clients' part: what they ask, and what they are told.

use rand::Rng;
use weft_model::NodeId;
use weft_registry::driver::{Input, ReadId};
use weft_registry::{Answer, Proposal, Record};

use super::{NEWCOMERS, PATIENCE, Phase, World};
use crate::client::{self, Acknowledged, Aim, Writer};
use crate::member::Member;
use crate::network::Letter;

impl World {
    /// Gives a client at this node its answer, if the record is its request.
    pub(super) fn answer_clients(&mut self, node: NodeId, record: &Record) -> Result<(), String> {
        let (Some(request), Some(Answer::Judged(outcome))) = (record.request, &record.answer)
        else {
            return Ok(());
        };
        let mut answers = Vec::new();
        for writer in self.writers.iter_mut().filter(|writer| writer.home == node) {
            let mine = writer.pending.take_if(|p| p.proposal.request() == request);
            answers.extend(mine.map(|pending| (Some(writer.number), pending.what)));
        }
        let admin = self
            .admin
            .pending
            .take_if(|p| p.proposal.request() == request);
        answers.extend(admin.map(|pending| (None, pending.what)));
        for (cluster, what) in answers {
            self.note_membership(&what, record)?;
            let answer = Acknowledged {
                request,
                cluster,
                what,
                outcome: outcome.clone(),
            };
            self.invariants
                .durable
                .acknowledge(answer, &self.invariants.agreement)?;
        }
        Ok(())
    }

    /// What the administrator's answered requests mean for the world.
    fn note_membership(&mut self, what: &Aim, record: &Record) -> Result<(), String> {
        let accepted = matches!(record.answer, Some(Answer::Judged(Ok(_))));
        match what {
            Aim::Write { .. } | Aim::Release => Ok(()),
            _ if !accepted => Err(format!("{what:?} was refused: {:?}", record.answer)),
            Aim::Raise => {
                self.raised = true;
                Ok(())
            }
            Aim::Grant { number } => {
                self.granted.push(*number);
                Ok(())
            }
            Aim::Redeem { number } => {
                self.granted.retain(|granted| granted != number);
                match *number {
                    client::FOLLOWER => self.begin_follower(),
                    number => self.begin_member(number),
                }
            }
            Aim::Remove { number } => {
                self.removed.push(*number);
                self.writers.retain(|writer| writer.number != *number);
                Ok(())
            }
        }
    }

    fn begin_member(&mut self, number: u8) -> Result<(), String> {
        let name = client::cluster(number);
        let node = self.members.values().find_map(|member| {
            let state = &member.driver.as_ref()?.image().state;
            state
                .nodes()
                .find(|(_, node)| node.cluster == name)
                .map(|(id, _)| id)
        });
        let node = node.ok_or("a redeemed token made no gateway")?;
        self.joined.insert(number, node);
        self.members.insert(node, Member::new(node, None)?);
        self.writers.push(Writer::new(number, node));
        self.start(node)
    }

    pub(super) fn run_clients(&mut self, phase: Phase) -> Result<(), String> {
        let now = self.now;
        let raises = self.joined.len() >= self.clusters && self.raises && !self.raised;
        if phase != Phase::Healing {
            for writer in &mut self.writers {
                if writer.pending.is_none() && self.rng.random_bool(0.05) {
                    match raises && writer.number == 1 {
                        true => writer.raise(now, &mut self.rng),
                        false => writer.begin(now, &mut self.rng),
                    }
                }
            }
            self.run_admin(phase);
        }
        let mut due = Vec::new();
        for writer in &mut self.writers {
            if let Some(pending) = writer.pending.as_mut().filter(|p| p.again_at <= now) {
                pending.again_at = now + PATIENCE;
                due.push((writer.home, pending.proposal.clone()));
            }
        }
        let running: Vec<NodeId> = self.running();
        if let Some(pending) = self.admin.pending.as_mut().filter(|p| p.again_at <= now)
            && !running.is_empty()
        {
            pending.again_at = now + PATIENCE;
            let through = running[self.rng.random_range(0..running.len())];
            due.push((through, pending.proposal.clone()));
        }
        for (home, proposal) in due {
            self.propose(home, proposal)?;
        }
        if !running.is_empty() && self.rng.random_bool(0.05) {
            let at = running[self.rng.random_range(0..running.len())];
            self.read(at)?;
        }
        Ok(())
    }

    /// One membership order at a time; removals only while enough clusters are left.
    fn run_admin(&mut self, phase: Phase) {
        if self.admin.pending.is_some() {
            return;
        }
        let (now, time) = (self.now, self.wall());
        if let Some(number) = self.granted.first().copied() {
            return self.admin.redeem(now, &mut self.rng, number);
        }
        let fresh = NEWCOMERS
            .into_iter()
            .find(|number| !self.joined.contains_key(number));
        if phase == Phase::Founding {
            let next = match self.joined.len() < self.clusters {
                true => fresh,
                false => {
                    let may = self.raised && self.lacks_follower();
                    may.then_some(client::FOLLOWER)
                }
            };
            if let Some(number) = next {
                self.admin.grant(now, &mut self.rng, number, time);
            }
            return;
        }
        if !self.rng.random_bool(0.004) {
            return;
        }
        let members: Vec<u8> = self.joined.keys().copied().collect();
        let removable: Vec<u8> = members
            .into_iter()
            .filter(|number| *number != 1 && !self.removed.contains(number))
            .collect();
        match fresh {
            Some(number) if removable.len() < 3 || self.rng.random_bool(0.5) => {
                self.admin.grant(now, &mut self.rng, number, time);
            }
            _ if removable.len() > 2 => {
                let number = removable[self.rng.random_range(0..removable.len())];
                self.admin.remove(now, &mut self.rng, number);
            }
            _ => {}
        }
    }

    /// As a gateway does: to the driver itself if it leads, otherwise over the network to who does.
    fn propose(&mut self, home: NodeId, proposal: Proposal) -> Result<(), String> {
        let time = self.wall();
        let Some(member) = self.members.get_mut(&home) else {
            return Ok(());
        };
        // What stands still forwards nothing; the client asks again.
        if member.resumes_at.is_some() {
            return Ok(());
        }
        let time = member.clock.wall(time);
        let leader = member.driver.as_ref().and_then(|d| d.leadership().leader);
        match leader {
            Some(leader) if leader == home => {
                member.handle(Input::Propose {
                    proposal,
                    now: time,
                });
                self.drain(home)
            }
            Some(leader) => {
                let letter = Letter::Forward(proposal);
                self.network.send(
                    self.now,
                    &mut self.rng,
                    &mut self.seen,
                    (home, leader),
                    letter,
                );
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn read(&mut self, node: NodeId) -> Result<(), String> {
        self.next_read += 1;
        let read = ReadId(self.next_read);
        let acknowledged = self.invariants.durable.highest();
        self.invariants.reads.ask(node, read, acknowledged);
        if let Some(member) = self.members.get_mut(&node) {
            member.handle(Input::Read { read });
        }
        self.drain(node)
    }
}
