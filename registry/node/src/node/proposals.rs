//! Proposals that wait for their answer, and when each is to be sent again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use weft_model::{Index, NodeId, Refusal, RequestId};

use super::error::ProposeError;
use crate::proposal::Proposal;
use crate::replica::Answer;

pub(super) type Reply = oneshot::Sender<Result<Index, ProposeError>>;

/// The proposals made on this node that are not answered yet.
pub(super) struct Proposals {
    waiting: BTreeMap<RequestId, Waiting>,
    timeout: Duration,
}

struct Waiting {
    proposal: Proposal,
    /// Several, if a request is proposed again while it waits.
    replies: Vec<Reply>,
    begun: Instant,
    again: Instant,
    pause: Duration,
    reach: Reach,
    /// What every replica would say of it, as far as is known, and since when.
    foreseen: Option<(Instant, Refusal)>,
    /// A leader without room for it, and since when.
    no_room: Option<(NodeId, Instant)>,
}

/// How far a proposal may have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// No leader took it.
    Here,
    /// A leader may have it.
    MaybeLeader,
}

/// How many may wait at once.
const WAITING_MAX: usize = 4096;
/// The pause after a first attempt that no leader took. It doubles.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a leader, or this node, may take to learn of its author's key or of its format level.
const NEWS_PATIENCE: Duration = Duration::from_secs(1);
/// How long a leader without room may take to hand over.
const ROOM_PATIENCE: Duration = Duration::from_secs(3);

impl Proposals {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            waiting: BTreeMap::new(),
            timeout,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a proposal; it is due at once.
    pub(super) fn add(&mut self, now: Instant, proposal: Proposal, reply: Reply) {
        let waiting = self.waiting.len();
        if waiting >= WAITING_MAX {
            let _ = reply.send(Err(ProposeError::Overloaded { waiting }));
            return;
        }
        let entry = self.waiting.entry(proposal.request());
        let waiting = entry.or_insert_with(|| Waiting {
            proposal,
            replies: Vec::new(),
            begun: now,
            again: now,
            pause: PAUSE_MIN,
            reach: Reach::Here,
            foreseen: None,
            no_room: None,
        });
        waiting.replies.push(reply);
    }

    /// What is to be sent now. Each comes again after `patience`, unless it is told otherwise.
    pub(super) fn take_due(&mut self, now: Instant, patience: Duration) -> Vec<(Proposal, Reach)> {
        let due = self.waiting.values_mut().filter(|w| w.again <= now);
        due.map(|waiting| {
            waiting.again = now + patience;
            (waiting.proposal.clone(), waiting.reach)
        })
        .collect()
    }

    /// A leader took it, or may have.
    pub(super) fn reached(&mut self, request: &RequestId) {
        if let Some(waiting) = self.waiting.get_mut(request) {
            waiting.reach = Reach::MaybeLeader;
        }
    }

    /// It was not taken, or not heard of: it comes again after a pause.
    pub(super) fn declined(&mut self, now: Instant, request: &RequestId) {
        if let Some(waiting) = self.waiting.get_mut(request) {
            waiting.again = now + waiting.pause;
            waiting.pause = (waiting.pause * 2).min(PAUSE_MAX);
        }
    }

    /// The leader has no room for it: it comes again after a pause, since leadership should move on.
    pub(super) fn declined_for_room(&mut self, now: Instant, request: &RequestId, leader: NodeId) {
        self.declined(now, request);
        if let Some(waiting) = self.waiting.get_mut(request) {
            let since = waiting.no_room.map_or(now, |(_, since)| since);
            waiting.no_room = Some((leader, since));
        }
    }

    /// Every replica would refuse it, or should, as the leader's state is, or this node's: it comes
    /// again after a pause, since that state may be a moment behind.
    pub(super) fn declined_for_good(
        &mut self,
        now: Instant,
        request: &RequestId,
        refusal: Refusal,
    ) {
        self.declined(now, request);
        if let Some(waiting) = self.waiting.get_mut(request) {
            let since = waiting.foreseen.as_ref().map_or(now, |(since, _)| *since);
            waiting.foreseen = Some((since, refusal));
        }
    }

    /// This node has no room any more: what no leader took is refused. What one may have taken
    /// waits for its time, since it may yet be applied.
    pub(super) fn refuse_untaken(&mut self, node: NodeId) {
        let untaken = |_: &RequestId, waiting: &mut Waiting| waiting.reach == Reach::Here;
        let untaken: Vec<Waiting> = self
            .waiting
            .extract_if(.., untaken)
            .map(|(_, w)| w)
            .collect();
        for waiting in untaken {
            waiting.reply(&Err(ProposeError::NoRoom { node }));
        }
    }

    /// Somebody new leads: everything is due again.
    pub(super) fn hurry(&mut self, now: Instant) {
        for waiting in self.waiting.values_mut() {
            waiting.again = now;
            waiting.pause = PAUSE_MIN;
            waiting.no_room = None;
        }
    }

    /// It was applied here.
    pub(super) fn answer(&mut self, index: Index, request: &RequestId, answer: &Answer) {
        let Some(waiting) = self.waiting.remove(request) else {
            return;
        };
        let result = match answer {
            Answer::Judged(Ok(index)) => Ok(*index),
            Answer::Judged(Err(refusal)) => Err(ProposeError::Refused(refusal.clone())),
            Answer::Quarantined(reason) => Err(ProposeError::Unreadable {
                index,
                reason: reason.clone(),
            }),
        };
        waiting.reply(&result);
    }

    /// Gives up on those that waited too long, and says how many.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let timeout = self.timeout;
        let expired = self.waiting.extract_if(.., |_, waiting| {
            let timed_out = now.duration_since(waiting.begun) >= timeout;
            timed_out || waiting.gives_up_on_room(now) || waiting.gives_up_on_news(now)
        });
        let mut count = 0;
        for (request, mut waiting) in expired {
            count += 1;
            let waited = timeout;
            let error = match waiting.reach {
                Reach::Here if let Some((_, refusal)) = waiting.foreseen.take() => {
                    ProposeError::Refused(refusal)
                }
                Reach::Here if let Some((node, _)) = waiting.no_room => {
                    ProposeError::NoRoom { node }
                }
                Reach::Here => ProposeError::NoLeader { waited },
                Reach::MaybeLeader => ProposeError::Timeout { request, waited },
            };
            waiting.reply(&Err(error));
        }
        count
    }

    /// Nobody will answer any more. What a leader may have taken may yet be applied: then a
    /// shutdown here says nothing of it.
    pub(super) fn fail(&mut self, error: &ProposeError) {
        for (request, waiting) in std::mem::take(&mut self.waiting) {
            let error = match (waiting.reach, error) {
                (Reach::MaybeLeader, ProposeError::Shutdown) => ProposeError::Timeout {
                    request,
                    waited: waiting.begun.elapsed(),
                },
                _ => error.clone(),
            };
            waiting.reply(&Err(error));
        }
    }
}

impl Waiting {
    /// Whether it has been tried for so long that no leader will come to know better of it.
    fn gives_up_on_news(&self, now: Instant) -> bool {
        let tried = |(since, _): &(Instant, Refusal)| now.duration_since(*since) >= NEWS_PATIENCE;
        self.reach == Reach::Here && self.foreseen.as_ref().is_some_and(tried)
    }

    /// Whether the leader has had no room for so long that nobody else will lead.
    fn gives_up_on_room(&self, now: Instant) -> bool {
        let waited = |(_, since)| now.duration_since(since) >= ROOM_PATIENCE;
        self.reach == Reach::Here && self.no_room.is_some_and(waited)
    }

    fn reply(self, result: &Result<Index, ProposeError>) {
        for reply in self.replies {
            // Who asked may have gone.
            let _ = reply.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_identity::SigningKey;
    use weft_model::{Author, Command, FormatLevel, Generation, SignerEpoch};

    use super::*;
    use crate::proposal::Draft;

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

    #[test]
    fn a_shutdown_says_nothing_of_what_a_leader_may_have() {
        let mut proposals = Proposals::new(Duration::from_secs(8));
        let answers = [1, 2].map(|number| {
            let (reply, answer) = oneshot::channel();
            proposals.add(Instant::now(), proposal(number), reply);
            answer
        });
        proposals.reached(&proposal(2).request());
        proposals.fail(&ProposeError::Shutdown);
        let [here, taken] = answers.map(|mut answer| answer.try_recv().unwrap());
        assert!(matches!(here, Err(ProposeError::Shutdown)), "{here:?}");
        assert!(
            matches!(taken, Err(ProposeError::Timeout { .. })),
            "{taken:?}"
        );
    }

    #[test]
    fn what_no_leader_should_take_is_refused_soon() {
        let (begun, request) = (Instant::now(), proposal(1).request());
        let (needs, has) = (FormatLevel(7), FormatLevel(6));
        for refusal in [Refusal::Signature, Refusal::Format { needs, has }] {
            let mut proposals = Proposals::new(Duration::from_secs(8));
            let (reply, mut answer) = oneshot::channel();
            proposals.add(begun, proposal(1), reply);
            proposals.declined_for_good(begun, &request, refusal.clone());
            // A leader may be a moment behind with the author's key, or with the level.
            assert_eq!(proposals.expire(begun + NEWS_PATIENCE / 2), 0);
            assert_eq!(proposals.expire(begun + NEWS_PATIENCE), 1);
            match answer.try_recv().unwrap() {
                Err(ProposeError::Refused(said)) => assert_eq!(said, refusal),
                other => panic!("{other:?}"),
            }
        }
    }
}
