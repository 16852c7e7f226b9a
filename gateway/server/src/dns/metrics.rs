//! Counts of queries and of what was not answered, without a shared cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts};
use weft_plan::dns::{ExtendedError, RecordType};

/// Response codes with a label of their own, by number; the rest is `other`.
const CODES: [&str; 6] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
];
/// BADVERS does not fit into the header's four bits.
pub(super) const BADVERS: u16 = 16;
/// Types with a label of their own; the rest is `other`, so that a flood of odd
/// types does not grow the metric.
const TYPES: [RecordType; 10] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::TXT,
    RecordType::SOA,
    RecordType::NS,
    RecordType::PTR,
    RecordType::MX,
    RecordType::HTTPS,
    RecordType::ANY,
];

const CODE_SLOTS: usize = CODES.len() + 2;
const ERROR_SLOTS: usize = ExtendedError::ALL.len() + 1;
const TYPE_SLOTS: usize = TYPES.len() + 1;

/// Why a packet got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It was no query: too short, or a response.
    NoQuery,
    /// It was one of our own, come back.
    Loop,
    /// Too much waited already.
    Overload,
}

impl Dropped {
    const ALL: [(Self, &'static str); 3] = [
        (Self::NoQuery, "no_query"),
        (Self::Loop, "loop"),
        (Self::Overload, "overload"),
    ];
}

/// The counts of one thread: others read them, nobody else writes.
#[derive(Debug)]
pub(super) struct Counters {
    queries: Box<[AtomicU64]>,
    dropped: [AtomicU64; Dropped::ALL.len()],
}

impl Counters {
    fn new() -> Self {
        let slots = CODE_SLOTS * ERROR_SLOTS * TYPE_SLOTS;
        Self {
            queries: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            dropped: Default::default(),
        }
    }

    /// Counts an answered query; the type is none if its question was not read.
    pub(super) fn answered(
        &self,
        code: u16,
        error: Option<ExtendedError>,
        asked: Option<RecordType>,
    ) {
        let code = match usize::from(code) {
            named if named < CODES.len() => named,
            _ if code == BADVERS => CODES.len(),
            _ => CODES.len() + 1,
        };
        let error = error
            .and_then(|error| ExtendedError::ALL.iter().position(|known| *known == error))
            .map_or(0, |at| at + 1);
        let asked = asked
            .and_then(|asked| TYPES.iter().position(|known| *known == asked))
            .unwrap_or(TYPES.len());
        let slot = (code * ERROR_SLOTS + error) * TYPE_SLOTS + asked;
        self.queries[slot].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a packet that got no answer.
    pub(super) fn dropped(&self, why: Dropped) {
        self.dropped[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// `weft_dns_queries_total` and `weft_dns_dropped_total`, summed when asked.
#[derive(Debug, Clone)]
pub struct DnsMetrics {
    threads: Arc<[Counters]>,
    descriptions: Vec<Desc>,
}

/// The two metrics without values. Made anew for each collection, so that two
/// collections at once do not add up.
fn vectors() -> Result<[IntCounterVec; 2], prometheus::Error> {
    let queries = Opts::new("weft_dns_queries_total", "DNS queries answered.");
    let dropped = Opts::new(
        "weft_dns_dropped_total",
        "DNS packets left without an answer.",
    );
    Ok([
        IntCounterVec::new(queries, &["rcode", "ede", "type"])?,
        IntCounterVec::new(dropped, &["reason"])?,
    ])
}

impl DnsMetrics {
    /// Counts for so many threads.
    pub(super) fn new(threads: usize) -> Result<Self, prometheus::Error> {
        let descriptions = vectors()?
            .iter()
            .flat_map(|vector| vector.desc())
            .cloned()
            .collect();
        Ok(Self {
            threads: (0..threads).map(|_| Counters::new()).collect(),
            descriptions,
        })
    }

    pub(super) fn thread(&self, index: usize) -> &Counters {
        &self.threads[index]
    }

    /// Queries answered so far, over all labels.
    pub fn answered(&self) -> u64 {
        let slots = self.threads.iter().flat_map(|thread| thread.queries.iter());
        slots.map(|slot| slot.load(Ordering::Relaxed)).sum()
    }

    fn sum(&self, slot: impl Fn(&Counters) -> u64) -> u64 {
        self.threads.iter().map(slot).sum()
    }

    fn fill_queries(&self, queries: &IntCounterVec) {
        let codes = CODES.iter().chain(&["BADVERS", "other"]);
        let errors = [String::new()]
            .into_iter()
            .chain(ExtendedError::ALL.map(|error| error.code().to_string()))
            .collect::<Vec<_>>();
        let types = TYPES
            .iter()
            .map(ToString::to_string)
            .chain(["other".to_owned()])
            .collect::<Vec<_>>();
        let labels = codes.flat_map(|code| {
            let types = &types;
            errors
                .iter()
                .flat_map(move |error| types.iter().map(move |kind| [*code, error, kind]))
        });
        for (slot, labels) in labels.enumerate() {
            let count = self.sum(|thread| thread.queries[slot].load(Ordering::Relaxed));
            if count > 0 {
                queries.with_label_values(&labels).inc_by(count);
            }
        }
    }
}

impl Collector for DnsMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok([queries, dropped]) = vectors() else {
            return Vec::new();
        };
        self.fill_queries(&queries);
        for (why, label) in Dropped::ALL {
            let count = self.sum(|thread| thread.dropped[why as usize].load(Ordering::Relaxed));
            dropped.with_label_values(&[label]).inc_by(count);
        }
        [queries.collect(), dropped.collect()].concat()
    }
}
