//! What each cluster may have under way at the leader: others' entries wait for a bounded number
//! of its own, however many it sends.
//!
//! What is beyond waits in its cluster's queue, in the call that brought it and for a while: until
//! its turn neither its signature nor the task is touched. A gateway answers a bounded number of
//! calls of each cluster at a time, and so takes no more from one that sends too much.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as Queue, Notify};
use tokio::time::{sleep, timeout};
use weft_model::{ClusterName, RequestId};

/// Entries of one cluster that are in the leader's log and not applied yet.
const ENTRIES_MAX: usize = 64;
/// Their bytes; one entry is taken whatever its size.
const BYTES_MAX: usize = 1 << 20;
/// Entries of one cluster in a second, while others write too. Every replica pays for each: higher
/// lets a busy cluster do more, lower lets the others notice less of it.
const RATE: f64 = 100.0;
/// As many may come at once.
const BURST: f64 = 16.0;
/// For how long after its last entry a cluster counts as one that writes.
const LATELY: Duration = Duration::from_secs(10);
/// How long a proposal waits for its turn before its sender is told to come again.
const PATIENCE: Duration = Duration::from_millis(500);

/// The forwarded proposals that this leader took and that are not applied yet, and those that
/// wait to be.
#[derive(Debug, Default)]
pub(super) struct Shares {
    ledger: Mutex<Ledger>,
}

/// Whether a proposal may enter the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// It may.
    Free,
    /// It is in this leader's log already: once more is once too often.
    There,
    /// Its cluster has its share under way: it comes again later.
    Spent,
}

impl Shares {
    /// Takes a proposal of `cluster` into its share, in the order of their arrival.
    pub(super) async fn enter(
        &self,
        cluster: &ClusterName,
        request: RequestId,
        bytes: usize,
    ) -> Share {
        let Queues { turn, room } = self.ledger().load(cluster).queues.clone();
        let entered = async {
            // Whoever holds it is the next of its cluster.
            let _turn = turn.lock().await;
            loop {
                let taken = self.ledger().take(Instant::now(), cluster, request, bytes);
                match taken {
                    Taken::Now => return Share::Free,
                    Taken::Before => return Share::There,
                    Taken::Full => room.notified().await,
                    Taken::Early(pause) => sleep(pause).await,
                }
            }
        };
        timeout(PATIENCE, entered).await.unwrap_or(Share::Spent)
    }

    /// Looks after a proposal that was taken in until the task has it.
    pub(super) fn hold(&self, request: RequestId) -> Held<'_> {
        Held {
            shares: self,
            request: Some(request),
        }
    }

    /// A gateway of the leader's own cluster, itself, has written.
    pub(super) fn note(&self, cluster: &ClusterName) {
        self.ledger().load(cluster).last = Some(Instant::now());
    }

    /// It was applied, or not taken after all.
    pub(super) fn give_back(&self, request: &RequestId) {
        self.ledger().give_back(request);
    }

    /// Who leads has changed: what this node took is the next leader's, or lost.
    pub(super) fn clear(&self) {
        self.ledger().clear();
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A proposal in its cluster's share that the task has not got yet. If its call is given up before
/// that, it goes back: nobody else would ever give it back.
#[derive(Debug)]
pub(super) struct Held<'a> {
    shares: &'a Shares,
    request: Option<RequestId>,
}

impl Held<'_> {
    /// The task has it, and gives it back.
    pub(super) fn hand_over(mut self) {
        self.request = None;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(request) = &self.request {
            self.shares.give_back(request);
        }
    }
}

/// Who has what. Pure.
#[derive(Debug, Default)]
struct Ledger {
    taken: BTreeMap<RequestId, (ClusterName, usize)>,
    /// Of each cluster that ever wrote here.
    load: BTreeMap<ClusterName, Load>,
}

/// One cluster's part.
#[derive(Debug, Default)]
struct Load {
    entries: usize,
    bytes: usize,
    rate: Rate,
    /// When it last brought one.
    last: Option<Instant>,
    queues: Queues,
}

/// How one cluster's proposals wait.
#[derive(Debug, Default, Clone)]
struct Queues {
    turn: Arc<Queue<()>>,
    /// One of them was applied.
    room: Arc<Notify>,
}

/// What comes of one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Now,
    /// In this leader's log already.
    Before,
    /// Not until another one is applied.
    Full,
    /// Not yet.
    Early(Duration),
}

impl Ledger {
    fn take(
        &mut self,
        now: Instant,
        cluster: &ClusterName,
        request: RequestId,
        bytes: usize,
    ) -> Taken {
        if self.taken.contains_key(&request) {
            return Taken::Before;
        }
        let is_alone = !self.others_write(now, cluster);
        let load = self.load(cluster);
        load.last = Some(now);
        let full = load.entries >= ENTRIES_MAX || load.bytes + bytes > BYTES_MAX;
        if full && load.entries > 0 {
            return Taken::Full;
        }
        if !is_alone && let Err(pause) = load.rate.take(now) {
            return Taken::Early(pause);
        }
        load.entries += 1;
        load.bytes += bytes;
        self.taken.insert(request, (cluster.clone(), bytes));
        Taken::Now
    }

    /// Whether another cluster than this one has written of late.
    fn others_write(&self, now: Instant, cluster: &ClusterName) -> bool {
        let lately = |last| now.saturating_duration_since(last) < LATELY;
        let mut others = self.load.iter().filter(|(other, _)| *other != cluster);
        others.any(|(_, load)| load.last.is_some_and(lately))
    }

    fn give_back(&mut self, request: &RequestId) {
        let Some((cluster, bytes)) = self.taken.remove(request) else {
            return;
        };
        let load = self.load(&cluster);
        load.entries = load.entries.saturating_sub(1);
        load.bytes = load.bytes.saturating_sub(bytes);
        load.queues.room.notify_one();
    }

    fn clear(&mut self) {
        self.taken.clear();
        for load in self.load.values_mut() {
            (load.entries, load.bytes) = (0, 0);
            load.queues.room.notify_one();
        }
    }

    fn load(&mut self, cluster: &ClusterName) -> &mut Load {
        self.load.entry(cluster.clone()).or_default()
    }
}

/// So many at once, and then so many a second.
#[derive(Debug, Default)]
struct Rate {
    /// What was taken beyond what time has paid for, and when that was reckoned.
    owed: Option<(f64, Instant)>,
}

impl Rate {
    /// Takes one, or says when to come again.
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let owed = self.owed.map_or(0.0, |(owed, at)| {
            let paid = now.saturating_duration_since(at).as_secs_f64() * RATE;
            (owed - paid).max(0.0)
        });
        if owed + 1.0 > BURST {
            return Err(Duration::from_secs_f64((owed + 1.0 - BURST) / RATE));
        }
        self.owed = Some((owed + 1.0, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: usize) -> RequestId {
        RequestId((number as u128).to_be_bytes())
    }

    fn clusters() -> [ClusterName; 2] {
        ["a", "b"].map(|name| name.parse().unwrap())
    }

    #[test]
    fn what_is_given_up_on_its_way_to_the_task_goes_back() {
        let ([a, _], now, shares) = (clusters(), Instant::now(), Shares::default());
        let take = || shares.ledger().take(now, &a, request(1), 100);
        assert_eq!(take(), Taken::Now);
        drop(shares.hold(request(1)));
        assert_eq!(take(), Taken::Now);
        shares.hold(request(1)).hand_over();
        assert_eq!(take(), Taken::Before);
    }

    #[test]
    fn one_cluster_has_its_share_and_another_one_its_own() {
        let ([a, b], now) = (clusters(), Instant::now());
        let mut ledger = Ledger::default();
        for number in 0..ENTRIES_MAX {
            assert_eq!(ledger.take(now, &a, request(number), 100), Taken::Now);
        }
        assert_eq!(ledger.take(now, &a, request(1_000), 100), Taken::Full);
        assert_eq!(ledger.take(now, &a, request(0), 100), Taken::Before);
        assert_eq!(ledger.take(now, &b, request(2_000), 100), Taken::Now);
        // From now on it is not alone.
        ledger.give_back(&request(0));
        ledger.give_back(&request(0));
        assert_eq!(ledger.take(now, &a, request(1_000), 100), Taken::Now);
        assert_eq!(ledger.take(now, &a, request(1_001), 100), Taken::Full);
        ledger.clear();
        assert_eq!(ledger.take(now, &a, request(0), 100), Taken::Now);
    }

    #[test]
    fn beside_others_a_cluster_is_held_to_a_rate() {
        let ([a, b], begun) = (clusters(), Instant::now());
        let mut ledger = Ledger::default();
        assert_eq!(ledger.take(begun, &b, request(0), 100), Taken::Now);
        let mut count = |now, from: usize| {
            let mut taken = 0;
            while ledger.take(now, &a, request(from + taken), 100) == Taken::Now {
                ledger.give_back(&request(from + taken));
                taken += 1;
            }
            taken as f64
        };
        assert_eq!(count(begun, 1_000), BURST);
        assert_eq!(count(begun, 2_000), 0.0);
        assert_eq!(
            count(begun + Duration::from_millis(100), 3_000),
            RATE / 10.0
        );
        // The other one has not written for long: this one need not wait, and fills its share.
        let mut entries = 0;
        while ledger.take(begun + LATELY, &a, request(4_000 + entries), 100) == Taken::Now {
            entries += 1;
        }
        assert_eq!(entries, ENTRIES_MAX);
    }

    #[test]
    fn who_comes_too_early_is_told_when_to_come() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        while rate.take(now).is_ok() {}
        let pause = rate.take(now).unwrap_err();
        assert!(rate.take(now + pause / 2).is_err());
        rate.take(now + pause).unwrap();
    }

    #[test]
    fn bytes_count_too_and_one_entry_always_fits() {
        let ([a, _], now) = (clusters(), Instant::now());
        let mut ledger = Ledger::default();
        assert_eq!(ledger.take(now, &a, request(0), BYTES_MAX + 1), Taken::Now);
        assert_eq!(ledger.take(now, &a, request(1), 1), Taken::Full);
        ledger.give_back(&request(0));
        assert_eq!(ledger.take(now, &a, request(1), BYTES_MAX), Taken::Now);
        assert_eq!(ledger.take(now, &a, request(2), 1), Taken::Full);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_beyond_waits_for_its_turn_and_not_for_ever() {
        let [a, _] = clusters();
        let shares = Arc::new(Shares::default());
        for number in 0..ENTRIES_MAX {
            assert_eq!(shares.enter(&a, request(number), 1).await, Share::Free);
        }
        let begun = tokio::time::Instant::now();
        assert_eq!(shares.enter(&a, request(1_000), 1).await, Share::Spent);
        assert_eq!(begun.elapsed(), PATIENCE);
        let [first, second] = [2_000, 2_001].map(|number| {
            let (shares, a) = (Arc::clone(&shares), a.clone());
            tokio::spawn(async move { shares.enter(&a, request(number), 1).await })
        });
        tokio::task::yield_now().await;
        shares.give_back(&request(0));
        assert_eq!(first.await.unwrap(), Share::Free);
        assert_eq!(begun.elapsed(), PATIENCE, "at once");
        assert_eq!(second.await.unwrap(), Share::Spent);
    }
}
