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
    /// How many attempts are on their way to a leader, also of requests that nobody waits for any
    /// more: one may be proposed again.
    sent: Sent,
    timeout: Duration,
}

type Sent = BTreeMap<RequestId, usize>;

struct Waiting {
    proposal: Proposal,
    /// Several, if a request is proposed again while it waits.
    replies: Vec<Reply>,
    begun: Instant,
    again: Instant,
    pause: Duration,
    /// How far it came, but for the attempts that are on their way.
    reach: Reach,
    foreseen: Option<Foreseen>,
    /// A leader without room for it, and since when.
    no_room: Option<(NodeId, Instant)>,
}

/// What every replica would say of a proposal, as a node's state is.
struct Foreseen {
    /// The leader, or this node.
    by: NodeId,
    since: Instant,
    refusal: Refusal,
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
            sent: Sent::new(),
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
        let (waiting, sent) = (&mut self.waiting, &self.sent);
        let due = waiting.iter_mut().filter(|(_, w)| w.again <= now);
        due.map(|(request, waiting)| {
            waiting.again = now + patience;
            (waiting.proposal.clone(), waiting.reach(request, sent))
        })
        .collect()
    }

    /// The state of `node`, this one, has nothing against it, or no longer.
    pub(super) fn passed(&mut self, request: &RequestId, node: NodeId) {
        if let Some(waiting) = self.waiting.get_mut(request) {
            waiting.foreseen.take_if(|foreseen| foreseen.by == node);
        }
    }

    /// It is on its way to a leader, which may have it from now on.
    pub(super) fn sent(&mut self, request: RequestId) {
        *self.sent.entry(request).or_default() += 1;
    }

    /// An attempt that was on its way has an end; what it came to is said besides.
    pub(super) fn returned(&mut self, request: &RequestId) {
        if let Some(count) = self.sent.get_mut(request) {
            *count -= 1;
            if *count == 0 {
                self.sent.remove(request);
            }
        }
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

    /// Every replica would refuse it, or should, as the state of `by` is, the leader or this node:
    /// it comes again after a pause, since that state may be a moment behind.
    pub(super) fn declined_for_good(
        &mut self,
        now: Instant,
        request: &RequestId,
        by: NodeId,
        refusal: Refusal,
    ) {
        self.declined(now, request);
        if let Some(waiting) = self.waiting.get_mut(request) {
            let before = waiting.foreseen.as_ref().filter(|it| it.by == by);
            let since = before.map_or(now, |it| it.since);
            waiting.foreseen = Some(Foreseen { by, since, refusal });
        }
    }

    /// This node has no room any more: what no leader took is refused. What one may have taken
    /// waits for its time, since it may yet be applied.
    pub(super) fn refuse_untaken(&mut self, node: NodeId) {
        let sent = &self.sent;
        let untaken = self
            .waiting
            .extract_if(.., |request, waiting| waiting.is_here(request, sent));
        for (_, waiting) in untaken {
            waiting.reply(&Err(ProposeError::NoRoom { node }));
        }
    }

    /// Another leads, or nobody: what was said of a proposal until now is asked anew.
    pub(super) fn forget(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.foreseen = None;
            waiting.no_room = None;
        }
    }

    /// Somebody new leads: everything is due again.
    pub(super) fn hurry(&mut self, now: Instant) {
        for waiting in self.waiting.values_mut() {
            waiting.again = now;
            waiting.pause = PAUSE_MIN;
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
        let (timeout, sent) = (self.timeout, &self.sent);
        let expired = self.waiting.extract_if(.., |request, waiting| {
            let timed_out = now.duration_since(waiting.begun) >= timeout;
            let gives_up = waiting.gives_up_on_room(now) || waiting.gives_up_on_news(now);
            timed_out || (gives_up && waiting.is_here(request, sent))
        });
        let mut count = 0;
        for (request, mut waiting) in expired {
            count += 1;
            let waited = timeout;
            let error = match waiting.reach(&request, sent) {
                Reach::Here if let Some(Foreseen { refusal, .. }) = waiting.foreseen.take() => {
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
            let error = match (waiting.reach(&request, &self.sent), error) {
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
    /// How far it may have come, with the attempts that are on their way.
    fn reach(&self, request: &RequestId, sent: &Sent) -> Reach {
        match sent.contains_key(request) {
            true => Reach::MaybeLeader,
            false => self.reach,
        }
    }

    /// Whether no leader has it or may come to have it: then its end can be told.
    fn is_here(&self, request: &RequestId, sent: &Sent) -> bool {
        self.reach(request, sent) == Reach::Here
    }

    /// Whether it has been tried for so long that no leader will come to know better of it.
    fn gives_up_on_news(&self, now: Instant) -> bool {
        let tried = |it: &Foreseen| now.duration_since(it.since) >= NEWS_PATIENCE;
        self.foreseen.as_ref().is_some_and(tried)
    }

    /// Whether the leader has had no room for so long that nobody else will lead.
    fn gives_up_on_room(&self, now: Instant) -> bool {
        let waited = |(_, since)| now.duration_since(since) >= ROOM_PATIENCE;
        self.no_room.is_some_and(waited)
    }

    fn reply(self, result: &Result<Index, ProposeError>) {
        for reply in self.replies {
            // Who asked may have gone.
            let _ = reply.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests;
