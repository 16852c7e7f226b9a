//! Three drivers on perfect disks, with the same delay on every path and a clock of their own.

use std::collections::BTreeMap;

use weft_model::fixture::{CLUSTERS, export, name};
use weft_model::{
    AppProtocol, Author, Command, Generation, RequestId, ServiceType, SignerEpoch, WallTime,
};

use super::*;
use crate::proposal::{Draft, Proposal};
use crate::wire::tests::golden;

/// Microseconds from one node to another: half a round trip.
pub(super) const ONE_WAY: u64 = 40_000;
pub(super) const TICK: u64 = 50_000;

pub(super) struct Trio {
    pub(super) drivers: BTreeMap<NodeId, Driver>,
    pub(super) now: u64,
    /// What is on its way, by when it arrives; the number keeps the order.
    under_way: BTreeMap<(u64, u64), (NodeId, NodeId, RaftMessage)>,
    sent: u64,
    /// All that was sent.
    pub(super) said: Vec<RaftMessage>,
    writes: u64,
}

impl Trio {
    pub(super) fn new() -> Self {
        let image = golden::founded();
        let open = |node: u64| {
            let (index, term) = (image.index.0, image.term);
            let mut stored = Stored {
                before: (index, term),
                image: image.clone(),
                history: Some(index),
                ..Stored::default()
            };
            stored.image.conf = raft::eraftpb::ConfState::from((vec![1, 2, 3], vec![]));
            stored.hard.commit = index;
            stored.hard.term = term;
            let settings = Settings::new(NodeId(node), node);
            (NodeId(node), Driver::open(settings, stored).unwrap())
        };
        let mut trio = Self {
            drivers: (1..=3).map(open).collect(),
            now: 0,
            under_way: BTreeMap::new(),
            sent: 0,
            said: Vec::new(),
            writes: 0,
        };
        trio.until(600, |trio| trio.leader().is_some());
        trio
    }

    /// Who leads, in the eyes of all.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let mut seen = self.drivers.values().map(|it| it.leadership().leader);
        let first = seen.next().flatten();
        seen.all(|it| it == first).then_some(first).flatten()
    }

    pub(super) fn tell(&mut self, node: NodeId, input: Input) {
        let driver = self.drivers.get_mut(&node).unwrap();
        driver.handle(input);
        loop {
            let outputs = driver.take_outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::Persist(batch) => driver.handle(Input::Persisted {
                        batch: batch.number,
                    }),
                    Output::Send(to, messages) => {
                        for message in messages {
                            self.sent += 1;
                            let key = (self.now + ONE_WAY, self.sent);
                            self.said.push(message.clone());
                            self.under_way.insert(key, (node, to, message));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Goes on until it holds, for so many ticks at most.
    pub(super) fn until(&mut self, ticks: u64, holds: impl Fn(&Self) -> bool) {
        let end = self.now + ticks * TICK;
        while !holds(self) {
            assert!(self.now < end, "not within {ticks} ticks");
            let tick = (self.now / TICK + 1) * TICK;
            match self.under_way.first_key_value().map(|((at, _), _)| *at) {
                Some(at) if at <= tick => {
                    let (_, (from, to, message)) = self.under_way.pop_first().unwrap();
                    self.now = at;
                    self.tell(to, Input::Message { from, message });
                }
                _ => {
                    self.now = tick;
                    for node in [1, 2, 3].map(NodeId) {
                        self.tell(node, Input::Tick);
                    }
                }
            }
        }
    }

    /// Goes on until all have applied what the leader has, within a second or so of simulated time.
    pub(super) fn settle(&mut self) {
        let leader = self.leader().unwrap();
        let last = self.drivers[&leader].status().last;
        // Some steps of 40 ms.
        self.until(20, |trio| {
            let mut applied = trio.drivers.values().map(|it| it.image().index);
            applied.all(|index| index == last)
        });
    }

    /// A write of a gateway, taken by the leader.
    pub(super) fn write(&mut self, by: u8) {
        let cluster = CLUSTERS[usize::from(by) - 1].0;
        let spec = export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
        let service = name(&format!("shop/w{}", (self.writes + 1) % 7));
        let put = Command::PutExport(name(cluster), service, Box::new(spec));
        self.order(by, put);
    }

    /// A command of a gateway, for the leader to take.
    pub(super) fn order(&mut self, by: u8, command: Command) {
        self.writes += 1;
        let draft = Draft {
            request: RequestId((u128::from(self.writes) << 70).to_be_bytes()),
            author: Author::Gateway(NodeId(by.into()), SignerEpoch::FIRST),
            by_order_of: None,
            generation: Generation(1_000 + self.writes),
            command,
        };
        let proposal = Proposal::sign(&golden::key(by), &draft);
        let leader = self.leader().unwrap();
        let now = WallTime(self.now / 1000);
        self.tell(leader, Input::Propose { proposal, now });
    }
}
