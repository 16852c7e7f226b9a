//! What this process sent, counted for its gateway: by flow, taken out every two seconds.
//!
//! ```text
//! workers ─> Counter (a handle each, resolved once) ─> Cell <─ Traffic::take ─> report
//! ```
//!
//! A count is one atomic addition. Cells are found under a lock, once for each endpoint and class
//! in each worker; carrying requests takes none.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weft_model::{
    Carried, Endpoint, EndpointId, Flow, FlowClass, LATENCY_BUCKETS, LatencyBucket, Served,
    ServiceKey, Tally,
};

use crate::tap::Taps;

/// Flows of one process; requests of further ones are counted as left out.
pub(crate) const FLOWS_MAX: usize = 1024;

/// All flows of a process. Clones share them.
#[derive(Clone, Default)]
pub struct Traffic(Arc<Shared>);

#[derive(Default)]
struct Shared {
    cells: Mutex<BTreeMap<Flow, Arc<Cell>>>,
    /// Counts what finds no room; its times are told to nobody.
    overflow: Arc<Cell>,
    taps: Taps,
}

/// The counts of one flow since they were last taken.
struct Cell {
    latencies: [AtomicU64; LATENCY_BUCKETS],
    rerouted: AtomicU64,
}

/// What was counted since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Flows with at least one request.
    pub flows: Vec<(Flow, Tally)>,
    /// Requests of flows that found no room.
    pub left_out: u64,
}

impl Traffic {
    /// Takes out what was counted since the last time: each request is in one `Taken`.
    pub fn take(&self) -> Taken {
        let mut flows = Vec::new();
        self.cells().retain(|flow, cell| {
            // Nobody else holds it: a worker that wants it comes here first, and has to wait.
            let is_forgotten = Arc::get_mut(cell).is_some();
            let tally = cell.take();
            let is_idle = tally.count() == 0;
            if !is_idle {
                flows.push((flow.clone(), tally));
            }
            !(is_idle && is_forgotten)
        });
        Taken {
            flows,
            left_out: self.0.overflow.take().count(),
        }
    }

    /// Who wants to see requests one by one.
    pub fn taps(&self) -> &Taps {
        &self.0.taps
    }

    /// Counts one of `flow`, looking it up first: for what is rare.
    pub fn count(&self, flow: Flow, latency: Duration) {
        self.cell(flow).add(latency, false);
    }

    fn cell(&self, flow: Flow) -> Arc<Cell> {
        let mut cells = self.cells();
        if cells.len() >= FLOWS_MAX && !cells.contains_key(&flow) {
            return Arc::clone(&self.0.overflow);
        }
        Arc::clone(cells.entry(flow).or_default())
    }

    fn cells(&self) -> MutexGuard<'_, BTreeMap<Flow, Arc<Cell>>> {
        self.0.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Cell {
    fn default() -> Self {
        Self {
            latencies: std::array::from_fn(|_| AtomicU64::new(0)),
            rerouted: AtomicU64::new(0),
        }
    }
}

impl Cell {
    fn add(&self, latency: Duration, rerouted: bool) {
        let bucket = LatencyBucket::of(latency).number();
        self.latencies[bucket].fetch_add(1, Ordering::Relaxed);
        if rerouted {
            self.rerouted.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take(&self) -> Tally {
        let mut tally = Tally {
            rerouted: take(&self.rerouted),
            ..Tally::default()
        };
        for (number, count) in (0..).zip(&self.latencies) {
            if let Some(bucket) = LatencyBucket::new(number) {
                tally.latencies.add(bucket, take(count));
            }
        }
        tally
    }
}

/// Most buckets are empty most of the time: they are only looked at.
fn take(count: &AtomicU64) -> u64 {
    match count.load(Ordering::Relaxed) {
        0 => 0,
        _ => count.swap(0, Ordering::Relaxed),
    }
}

/// One worker's handles.
pub(crate) struct Counter {
    traffic: Traffic,
    /// An endpoint's id says service, cluster, version and identity.
    answered: RefCell<HashMap<(EndpointId, Carried, FlowClass), Arc<Cell>>>,
}

impl Counter {
    pub(crate) fn new(traffic: Traffic) -> Self {
        Self {
            traffic,
            answered: RefCell::default(),
        }
    }

    /// `endpoint` answered.
    pub(crate) fn answered(
        &self,
        endpoint: &Endpoint,
        carried: Carried,
        class: FlowClass,
        latency: Duration,
        rerouted: bool,
    ) {
        let mut answered = self.answered.borrow_mut();
        let cell = answered
            .entry((endpoint.id, carried, class))
            .or_insert_with(|| {
                self.traffic.cell(Flow {
                    service: endpoint.service.clone(),
                    served: Some(Served {
                        cluster: endpoint.cluster.clone(),
                        version: endpoint.version.clone(),
                        identity: endpoint.identity.clone(),
                    }),
                    carried,
                    class,
                })
            });
        cell.add(latency, rerouted);
    }

    /// Nobody answered a request for `service`.
    pub(crate) fn unanswered(&self, service: &ServiceKey, carried: Carried, class: FlowClass) {
        let flow = Flow {
            service: service.clone(),
            served: None,
            carried,
            class,
        };
        self.traffic.count(flow, Duration::ZERO);
    }

    /// Who wants to see requests one by one.
    pub(crate) fn taps(&self) -> &Taps {
        self.traffic.taps()
    }

    /// Lets go of handles, so that flows of endpoints that are gone end.
    pub(crate) fn tidy(&self) {
        self.answered.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use weft_model::fixture::name;

    use super::*;

    fn endpoint(number: u8, version: &str) -> Endpoint {
        Endpoint {
            version: Some(name(version)),
            ..crate::catalog::fixture::endpoint("us-east-1", number, 1)
        }
    }

    fn sum(taken: &Taken) -> u64 {
        taken.flows.iter().map(|(_, tally)| tally.count()).sum()
    }

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn endpoints_of_a_version_are_one_flow() {
        let traffic = Traffic::default();
        let counter = Counter::new(traffic.clone());
        for (number, version) in [(1, "v1"), (2, "v1"), (3, "v2")] {
            let of = endpoint(number, version);
            counter.answered(
                &of,
                Carried::Request,
                FlowClass::Success,
                MILLI,
                number == 2,
            );
        }
        counter.unanswered(&name("shop/checkout"), Carried::Request, FlowClass::Failed);
        let taken = traffic.take();
        let mut found: Vec<_> = taken
            .flows
            .iter()
            .map(|(flow, tally)| {
                let version = flow
                    .served
                    .as_ref()
                    .and_then(|served| served.version.as_ref());
                (
                    version.map(ToString::to_string).unwrap_or_default(),
                    tally.count(),
                    tally.rerouted,
                )
            })
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                (String::new(), 1, 0),
                ("v1".to_owned(), 2, 1),
                ("v2".to_owned(), 1, 0)
            ]
        );
        assert_eq!(traffic.take(), Taken::default());
    }

    #[test]
    fn a_flow_ends_once_no_worker_knows_it() {
        let traffic = Traffic::default();
        let counter = Counter::new(traffic.clone());
        let of = endpoint(1, "v1");
        counter.answered(&of, Carried::Request, FlowClass::Success, MILLI, false);
        traffic.take();
        traffic.take();
        assert_eq!(traffic.cells().len(), 1);
        counter.tidy();
        traffic.take();
        assert_eq!(traffic.cells().len(), 0);
    }

    #[test]
    fn a_flow_without_room_is_left_out_and_counted() {
        let traffic = Traffic::default();
        let counter = Counter::new(traffic.clone());
        for number in 0..FLOWS_MAX + 7 {
            let service: ServiceKey = name(&format!("shop/s{number}"));
            counter.unanswered(&service, Carried::Request, FlowClass::Failed);
        }
        let taken = traffic.take();
        assert_eq!((taken.flows.len(), taken.left_out), (FLOWS_MAX, 7));
    }

    /// While workers count, every request ends up in exactly one report.
    #[test]
    fn the_sum_of_reports_is_the_sum_of_requests() {
        const WORKERS: u64 = 4;
        const EACH: u64 = 20_000;
        let traffic = Traffic::default();
        let worker = |number: u64| {
            let traffic = traffic.clone();
            thread::spawn(move || {
                let counter = Counter::new(traffic);
                for request in 0..EACH {
                    let of = endpoint((request % 5) as u8, "v1");
                    let latency = Duration::from_micros(request * number);
                    counter.answered(&of, Carried::Request, FlowClass::Success, latency, false);
                    if request % 1000 == 0 {
                        counter.tidy();
                    }
                }
            })
        };
        let workers: Vec<_> = (0..WORKERS).map(worker).collect();
        let mut reported = 0;
        while workers.iter().any(|worker| !worker.is_finished()) {
            reported += sum(&traffic.take());
        }
        for worker in workers {
            worker.join().unwrap();
        }
        reported += sum(&traffic.take());
        assert_eq!(reported, WORKERS * EACH);
    }
}
