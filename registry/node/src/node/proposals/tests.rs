//! What is told of proposals that were not seen applied.

use weft_identity::SigningKey;
use weft_model::{Author, Command, FormatLevel, Generation, SignerEpoch};

use super::*;
use crate::proposal::Draft;

const TIMEOUT: Duration = Duration::from_secs(8);
/// This node.
const HERE: NodeId = NodeId(1);
const LEADER: NodeId = NodeId(2);
const EARLY: Refusal = Refusal::Format {
    needs: FormatLevel(7),
    has: FormatLevel(6),
};

fn proposal(number: u8) -> Proposal {
    let draft = Draft {
        request: RequestId([number; 16]),
        author: Author::Operator("ana".parse().unwrap(), SignerEpoch::FIRST),
        by_order_of: None,
        generation: Generation(1),
        command: Command::RemoveCluster("eu".parse().unwrap()),
    };
    Proposal::sign(&SigningKey::from_seed([7; 32]), &draft)
}

/// One proposal that waits, and a clock.
struct One {
    proposals: Proposals,
    request: RequestId,
    begun: Instant,
    answer: oneshot::Receiver<Result<Index, ProposeError>>,
}

impl One {
    fn new() -> Self {
        let (mut proposals, begun) = (Proposals::new(TIMEOUT), Instant::now());
        let (reply, answer) = oneshot::channel();
        proposals.add(begun, proposal(1), reply);
        Self {
            proposals,
            request: proposal(1).request(),
            begun,
            answer,
        }
    }

    fn at(&self, millis: u64) -> Instant {
        self.begun + Duration::from_millis(millis)
    }

    fn foreseen(&mut self, millis: u64, by: NodeId, refusal: Refusal) {
        let now = self.at(millis);
        self.proposals
            .declined_for_good(now, &self.request, by, refusal);
    }

    /// It is forwarded: what this node's state says has been looked at before.
    fn sent(&mut self) {
        self.proposals.passed(&self.request, HERE);
        self.proposals.sent(self.request);
    }

    /// A leader did not take it, and says nothing of why.
    fn declined(&mut self, millis: u64) {
        let now = self.at(millis);
        self.proposals.returned(&self.request);
        self.proposals.declined(now, &self.request);
    }

    /// A leader took it, or may have.
    fn reached(&mut self) {
        self.proposals.returned(&self.request);
        self.proposals.reached(&self.request);
    }

    /// What its author is told by then.
    fn told(&mut self, millis: u64) -> Option<ProposeError> {
        let now = self.at(millis);
        self.proposals.expire(now);
        self.answer.try_recv().ok().map(Result::unwrap_err)
    }
}

fn is_unknown(told: Option<ProposeError>) -> bool {
    matches!(told, Some(ProposeError::Timeout { .. }))
}

fn has_no_leader(told: Option<ProposeError>) -> bool {
    matches!(told, Some(ProposeError::NoLeader { .. }))
}

#[test]
fn a_shutdown_says_nothing_of_what_a_leader_may_have() {
    let mut proposals = Proposals::new(TIMEOUT);
    let answers = [1, 2, 3].map(|number| {
        let (reply, answer) = oneshot::channel();
        proposals.add(Instant::now(), proposal(number), reply);
        answer
    });
    proposals.reached(&proposal(2).request());
    proposals.sent(proposal(3).request());
    proposals.fail(&ProposeError::Shutdown);
    let [here, taken, sent] = answers.map(|mut answer| answer.try_recv().unwrap());
    assert!(matches!(here, Err(ProposeError::Shutdown)), "{here:?}");
    for unknown in [taken, sent] {
        assert!(is_unknown(unknown.err()));
    }
}

#[test]
fn what_no_leader_should_take_is_refused_soon() {
    for (by, refusal) in [(LEADER, Refusal::Signature), (LEADER, EARLY), (HERE, EARLY)] {
        let mut one = One::new();
        // A state may be a moment behind with the author's key, or with the level.
        for millis in [0, 50, 150, 350, 750] {
            assert!(one.told(millis).is_none());
            if by == LEADER {
                one.sent();
                one.proposals.returned(&one.request);
            }
            one.foreseen(millis, by, refusal.clone());
        }
        assert!(one.told(999).is_none());
        match one.told(1000) {
            Some(ProposeError::Refused(said)) => assert_eq!(said, refusal),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_on_its_way_to_a_leader_is_not_refused() {
    // This node's state was behind, and no longer is when it is sent at last.
    let mut one = One::new();
    for millis in [0, 50, 150, 350] {
        one.foreseen(millis, HERE, EARLY);
    }
    one.sent();
    assert!(one.told(1000).is_none());
    one.reached();
    assert!(one.told(7999).is_none());
    assert!(is_unknown(one.told(8000)));
    // A leader's was; its last answer is not here yet.
    let mut one = One::new();
    one.foreseen(0, LEADER, Refusal::Signature);
    one.sent();
    assert!(one.told(1000).is_none());
    one.proposals.returned(&one.request);
    one.foreseen(1100, LEADER, Refusal::Signature);
    assert!(matches!(
        one.told(1100),
        Some(ProposeError::Refused(Refusal::Signature))
    ));
}

#[test]
fn what_a_state_said_that_was_behind_is_forgotten() {
    let mut one = One::new();
    one.foreseen(0, HERE, EARLY);
    one.sent();
    one.declined(900);
    assert!(one.told(7999).is_none());
    assert!(has_no_leader(one.told(8000)));
    // The same of a leader that leads no more: the next one is asked for as long.
    let mut one = One::new();
    one.foreseen(0, LEADER, EARLY);
    one.proposals.forget();
    assert!(one.told(1000).is_none());
    one.foreseen(1000, NodeId(3), EARLY);
    assert!(one.told(1999).is_none());
    assert!(matches!(one.told(2000), Some(ProposeError::Refused(EARLY))));
}

#[test]
fn no_leader_is_told_only_of_what_none_may_have() {
    let mut one = One::new();
    one.sent();
    one.declined(10);
    assert!(has_no_leader(one.told(8000)), "none took it");
    let mut one = One::new();
    one.sent();
    assert!(is_unknown(one.told(8000)), "it was on its way");
    let mut one = One::new();
    one.sent();
    one.sent();
    one.declined(10);
    assert!(is_unknown(one.told(8000)), "one of two attempts was");
    let mut one = One::new();
    one.sent();
    one.reached();
    one.sent();
    one.declined(10);
    assert!(is_unknown(one.told(8000)), "an earlier leader took it");
}

#[test]
fn what_is_proposed_again_may_still_be_on_its_way() {
    let mut one = One::new();
    one.sent();
    assert!(is_unknown(one.told(8000)));
    let mut again = {
        let (reply, answer) = oneshot::channel();
        let mut again = One { answer, ..one };
        again.begun = again.at(8000);
        again.proposals.add(again.begun, proposal(1), reply);
        again
    };
    again.foreseen(0, LEADER, EARLY);
    assert!(again.told(1000).is_none());
    again.reached();
    assert!(is_unknown(again.told(8000)));
}

#[test]
fn a_full_disk_refuses_what_no_leader_may_have() {
    let (mut here, mut sent) = (One::new(), One::new());
    sent.sent();
    for one in [&mut here, &mut sent] {
        one.proposals.refuse_untaken(HERE);
    }
    assert!(matches!(
        here.told(0),
        Some(ProposeError::NoRoom { node: HERE })
    ));
    assert!(is_unknown(sent.told(8000)));
    let mut one = One::new();
    let now = one.at(0);
    one.proposals.declined_for_room(now, &one.request, LEADER);
    one.sent();
    assert!(one.told(3000).is_none(), "the leader may have room by now");
    one.declined(3100);
    assert!(matches!(
        one.told(3100),
        Some(ProposeError::NoRoom { node: LEADER })
    ));
}
