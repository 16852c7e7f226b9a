//! The shop's customers: ten requests a second in each region, and what became of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use weft_model::{ClusterName, RegionName};

use super::http;
use super::plan::Plan;

/// Requests per second in each region.
pub(super) const RATE: u32 = 10;
/// How long a customer waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests under way at a time in a region; a further one counts as failed, so that
/// a shop that does not answer cannot fill the memory.
const UNDER_WAY_MAX: usize = 64;
/// Results that the figures of [`Load::recent`] are made of.
const RECENT_MAX: usize = 100;

/// All customers.
#[derive(Debug)]
pub(super) struct Load {
    customers: Vec<Rc<Customers>>,
}

/// The customers of one region.
#[derive(Debug)]
struct Customers {
    cluster: ClusterName,
    region: RegionName,
    web: SocketAddr,
    paused: Cell<bool>,
    under_way: Cell<usize>,
    ok: Cell<u64>,
    failed: Cell<u64>,
    recent: RefCell<VecDeque<Visit>>,
}

/// One request's end.
#[derive(Debug, Clone, Copy)]
struct Visit {
    ended: Instant,
    took: Duration,
    ok: bool,
}

/// A region's figures.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figures {
    pub(super) cluster: ClusterName,
    pub(super) region: RegionName,
    pub(super) paused: bool,
    pub(super) ok: u64,
    pub(super) failed: u64,
    /// Of the last hundred.
    pub(super) recent_ok: usize,
    pub(super) recent: usize,
    /// The median of the last hundred that succeeded.
    pub(super) median: Option<Duration>,
}

/// What happened to the customers since a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) visits: u32,
    pub(super) failed: u32,
    /// From that moment to the end of the last failure.
    pub(super) last_failure: Option<Duration>,
}

impl Load {
    /// Nobody yet; [`run`](Self::run) brings them.
    pub(super) fn new(plan: &Plan) -> Self {
        let web = |cluster: &super::plan::ClusterPlan| {
            cluster
                .workloads
                .iter()
                .find(|workload| workload.service.name.as_str() == "web")
                .map(|workload| {
                    Rc::new(Customers {
                        cluster: cluster.name.clone(),
                        region: cluster.region.clone(),
                        web: workload.app,
                        paused: Cell::new(false),
                        under_way: Cell::new(0),
                        ok: Cell::new(0),
                        failed: Cell::new(0),
                        recent: RefCell::default(),
                    })
                })
        };
        Self {
            customers: plan.clusters.iter().filter_map(web).collect(),
        }
    }

    /// Sends requests until it is dropped. Runs inside a `LocalSet`.
    pub(super) async fn run(&self) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for customers in self
                .customers
                .iter()
                .filter(|customers| !customers.paused.get())
            {
                customers.clone().visit();
            }
        }
    }

    /// One request in each region that answers, or else why it does not: never. Bound it.
    pub(super) async fn until_served(&self) {
        for customers in &self.customers {
            http::until_success(customers.web, "/").await;
        }
    }

    /// Stops or resumes the requests of one cluster's region.
    pub(super) fn pause(&self, cluster: &ClusterName, paused: bool) {
        let named = self
            .customers
            .iter()
            .filter(|customers| customers.cluster == *cluster);
        named.for_each(|customers| customers.paused.set(paused));
    }

    /// Every region's figures.
    pub(super) fn recent(&self) -> Vec<Figures> {
        self.customers
            .iter()
            .map(|customers| customers.figures())
            .collect()
    }

    /// What happened since a moment to the customers that are not paused.
    pub(super) fn since(&self, moment: Instant) -> Since {
        let mut since = Since::default();
        for customers in self
            .customers
            .iter()
            .filter(|customers| !customers.paused.get())
        {
            for visit in customers
                .recent
                .borrow()
                .iter()
                .filter(|visit| visit.ended >= moment)
            {
                since.visits += 1;
                if !visit.ok {
                    since.failed += 1;
                    since.last_failure = since.last_failure.max(Some(visit.ended - moment));
                }
            }
        }
        since
    }
}

impl Customers {
    fn visit(self: Rc<Self>) {
        let began = Instant::now();
        if self.under_way.get() >= UNDER_WAY_MAX {
            return self.note(began, false);
        }
        self.under_way.set(self.under_way.get() + 1);
        tokio::task::spawn_local(async move {
            let answer = tokio::time::timeout(PATIENCE, http::get(self.web, "/")).await;
            self.under_way.set(self.under_way.get() - 1);
            self.note(
                began,
                matches!(answer, Ok(Ok(status)) if status.is_success()),
            );
        });
    }

    fn note(&self, began: Instant, ok: bool) {
        let counter = if ok { &self.ok } else { &self.failed };
        counter.set(counter.get() + 1);
        let mut recent = self.recent.borrow_mut();
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        let ended = Instant::now();
        recent.push_back(Visit {
            ended,
            took: ended - began,
            ok,
        });
    }

    fn figures(&self) -> Figures {
        let recent = self.recent.borrow();
        let mut times: Vec<Duration> = recent
            .iter()
            .filter(|visit| visit.ok)
            .map(|visit| visit.took)
            .collect();
        times.sort_unstable();
        Figures {
            cluster: self.cluster.clone(),
            region: self.region.clone(),
            paused: self.paused.get(),
            ok: self.ok.get(),
            failed: self.failed.get(),
            recent_ok: times.len(),
            recent: recent.len(),
            median: times.get(times.len() / 2).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::*;

    #[test]
    fn figures_follow_the_visits() {
        let load = Load::new(&Plan::new(&Options::default()));
        let moment = Instant::now();
        for ok in [true, false, true] {
            load.customers[0].note(moment, ok);
        }
        let figures = &load.recent()[0];
        assert_eq!((figures.ok, figures.failed), (2, 1));
        assert_eq!((figures.recent_ok, figures.recent), (2, 3));
        let since = load.since(moment);
        assert_eq!((since.visits, since.failed), (3, 1));
        load.pause(&"us-east-1".parse().unwrap(), true);
        assert_eq!(load.since(moment), Since::default());
    }
}
