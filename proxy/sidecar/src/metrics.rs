//! Counters and histograms, with Istio's label names where the meaning is equal.
//!
//! Label values come from the table and from proven identities, never from a
//! request: no path, raw host or address can multiply the series.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};
use weft_model::{ClusterName, ServiceKey, SpiffeId, Version};

use crate::outbound::Captured;
use crate::traffic::{Counter, Traffic};

/// All series of a process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    tcp_opened: IntCounterVec,
    tcp_closed: IntCounterVec,
    tcp_sent: IntCounterVec,
    tcp_received: IntCounterVec,
    retries: IntCounter,
    hedges: IntCounter,
    mirrored: IntCounter,
    mirrors_dropped: IntCounter,
    ejections: IntCounter,
    captured: IntCounterVec,
    /// The log position of the table in use.
    pub(crate) applied: IntGauge,
    traffic: Traffic,
}

/// Which side of a request reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reporter {
    Source,
    Destination,
}

/// What a finished request or connection is counted under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Labels {
    pub(crate) reporter: Reporter,
    pub(crate) source: Option<SpiffeId>,
    pub(crate) service: Option<ServiceKey>,
    pub(crate) destination_cluster: Option<ClusterName>,
    pub(crate) destination_version: Option<Version>,
    pub(crate) protocol: &'static str,
    pub(crate) code: u16,
    pub(crate) flags: &'static str,
}

const LABELS: [&str; 11] = [
    "reporter",
    "source_principal",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "destination_version",
    "request_protocol",
    "response_code",
    "response_flags",
    "hop",
];

/// 0.5 ms to 10 s: a hop inside a cluster up to a slow answer across oceans.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl Metrics {
    /// Registers every series.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counters = IntCounterVec::new(Opts::new(name, help), &LABELS)?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "weft_request_duration_seconds",
                "Time from a request's head to the head of its answer",
            )
            .buckets(BUCKETS.to_vec()),
            &LABELS,
        )?;
        registry.register(Box::new(duration.clone()))?;
        let captured = IntCounterVec::new(
            Opts::new(
                "weft_captured_connections_total",
                "Connections that the kernel redirected here",
            ),
            &["result"],
        )?;
        registry.register(Box::new(captured.clone()))?;
        let applied = IntGauge::new(
            "weft_registry_applied_index",
            "Log position of the table in use",
        )?;
        registry.register(Box::new(applied.clone()))?;
        Ok(Self {
            requests: counters("weft_requests_total", "Requests that ended")?,
            tcp_opened: counters("weft_tcp_connections_opened_total", "Connections opened")?,
            tcp_closed: counters("weft_tcp_connections_closed_total", "Connections closed")?,
            tcp_sent: counters("weft_tcp_sent_bytes_total", "Bytes sent to the client")?,
            tcp_received: counters(
                "weft_tcp_received_bytes_total",
                "Bytes received from the client",
            )?,
            retries: counter("weft_retries_total", "Requests sent a second time")?,
            hedges: counter(
                "weft_hedges_total",
                "Requests sent a second time beside the first, whose connection went silent",
            )?,
            mirrored: counter(
                "weft_mirrors_total",
                "Copies of requests that were answered",
            )?,
            mirrors_dropped: counter(
                "weft_mirrors_dropped_total",
                "Copies of requests that were not sent, or not answered in time",
            )?,
            ejections: counter("weft_outlier_ejections_total", "Endpoints ejected")?,
            captured,
            duration,
            applied,
            traffic: Traffic::default(),
            registry,
        })
    }

    /// Where further series of the process belong.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What is counted for reports.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Everything in Prometheus's text format.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// One worker's resolved handles: a series is looked up by label once.
pub(crate) struct Recorder {
    metrics: Metrics,
    /// The flows that this process is the source of.
    pub(crate) flows: Counter,
    requests: RefCell<HashMap<Labels, (IntCounter, Histogram)>>,
    connections: RefCell<HashMap<Labels, Rc<Connections>>>,
}

struct Connections {
    opened: IntCounter,
    closed: IntCounter,
    sent: IntCounter,
    received: IntCounter,
}

impl Recorder {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            flows: Counter::new(metrics.traffic.clone()),
            metrics,
            requests: RefCell::default(),
            connections: RefCell::default(),
        }
    }

    pub(crate) fn request(&self, labels: Labels, latency: Duration) {
        let mut handles = self.requests.borrow_mut();
        let (count, histogram) = handles.entry(labels).or_insert_with_key(|labels| {
            labels.with(|values| {
                (
                    self.metrics.requests.with_label_values(values),
                    self.metrics.duration.with_label_values(values),
                )
            })
        });
        count.inc();
        histogram.observe(latency.as_secs_f64());
    }

    pub(crate) fn connection_opened(&self, labels: Labels) {
        self.connections(labels).opened.inc();
    }

    /// `sent` and `received` as the client sees them: to it and from it.
    pub(crate) fn connection_closed(&self, labels: Labels, sent: u64, received: u64) {
        let handles = self.connections(labels);
        handles.closed.inc();
        handles.sent.inc_by(sent);
        handles.received.inc_by(received);
    }

    pub(crate) fn retried(&self) {
        self.metrics.retries.inc();
    }

    pub(crate) fn hedged(&self) {
        self.metrics.hedges.inc();
    }

    pub(crate) fn mirrored(&self) {
        self.metrics.mirrored.inc();
    }

    pub(crate) fn mirror_dropped(&self) {
        self.metrics.mirrors_dropped.inc();
    }

    pub(crate) fn ejected(&self) {
        self.metrics.ejections.inc();
    }

    pub(crate) fn captured(&self, result: Captured) {
        let counter = self.metrics.captured.with_label_values(&[result.label()]);
        counter.inc();
    }

    fn connections(&self, labels: Labels) -> Rc<Connections> {
        let mut handles = self.connections.borrow_mut();
        Rc::clone(handles.entry(labels).or_insert_with_key(|labels| {
            labels.with(|values| {
                Rc::new(Connections {
                    opened: self.metrics.tcp_opened.with_label_values(values),
                    closed: self.metrics.tcp_closed.with_label_values(values),
                    sent: self.metrics.tcp_sent.with_label_values(values),
                    received: self.metrics.tcp_received.with_label_values(values),
                })
            })
        }))
    }
}

impl Labels {
    fn with<T>(&self, then: impl FnOnce(&[&str]) -> T) -> T {
        let reporter = match self.reporter {
            Reporter::Source => "source",
            Reporter::Destination => "destination",
        };
        let source = self.source.as_ref().map(ToString::to_string);
        let (host, name, namespace) = match &self.service {
            Some(key) => (
                format!("{}.{}.svc.clusterset.local", key.name, key.namespace),
                key.name.as_str(),
                key.namespace.as_str(),
            ),
            None => (String::new(), "", ""),
        };
        then(&[
            reporter,
            source.as_deref().unwrap_or(""),
            &host,
            name,
            namespace,
            self.destination_cluster.as_ref().map_or("", |c| c.as_str()),
            self.destination_version.as_ref().map_or("", |v| v.as_str()),
            self.protocol,
            &self.code.to_string(),
            self.flags,
            "sidecar",
        ])
    }
}
