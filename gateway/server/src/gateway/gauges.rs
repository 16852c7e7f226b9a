//! Gauges of what is known anyway: set when somebody asks for them.

use std::collections::BTreeMap;

use prometheus::{Gauge, GaugeVec, IntGauge, IntGaugeVec, Opts, Registry};
use weft_model::{Health, ServiceKey};
use weft_plan::release::{CallerPlace, weight};
use weft_registry::disk::Space;

use crate::hub::Hub;
use crate::tunnel::PathState;

/// The gauges of one gateway.
pub(super) struct Gauges {
    applied: IntGauge,
    age: Gauge,
    leader: IntGauge,
    leader_changes: IntGauge,
    suspect: IntGauge,
    installed: IntGauge,
    expiry: Gauge,
    read_only: IntGauge,
    free: Gauge,
    up: IntGaugeVec,
    rtt: GaugeVec,
    sent: IntGaugeVec,
    lost: IntGaugeVec,
    endpoints: IntGaugeVec,
    view: IntGauge,
    ahead: IntGauge,
    sessions: IntGauge,
    releases: GaugeVec,
}

impl Gauges {
    /// Makes and registers them.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let peer = ["cluster", "gateway"];
        let gauges = Self {
            applied: IntGauge::new(
                "weft_registry_applied_index",
                "The last log position applied here.",
            )?,
            age: Gauge::new(
                "weft_registry_age_seconds",
                "Time since the leader was last heard.",
            )?,
            leader: IntGauge::new("weft_raft_leader", "1 on the leader, otherwise 0.")?,
            leader_changes: IntGauge::new(
                "weft_raft_leader_changes",
                "Times the leader changed or was lost, as seen here since the start.",
            )?,
            suspect: IntGauge::new(
                "weft_registry_suspect_messages",
                "Raft messages dropped since the start because no correct peer sends them.",
            )?,
            installed: IntGauge::new(
                "weft_registry_snapshots_installed",
                "Snapshots of the leader's that took the place of the state here since the start.",
            )?,
            expiry: Gauge::new(
                "weft_cert_expiry_timestamp_seconds",
                "When this gateway's certificate ends, seconds since the Unix epoch.",
            )?,
            read_only: IntGauge::new(
                "weft_registry_read_only",
                "1 while writes are refused for want of room on the disk, otherwise 0.",
            )?,
            free: Gauge::new(
                "weft_disk_free_bytes",
                "Bytes left on the disk under the registry's folder; NaN if they are not known.",
            )?,
            up: IntGaugeVec::new(
                Opts::new("weft_tunnel_up", "1 while the peer answers."),
                &peer,
            )?,
            rtt: GaugeVec::new(
                Opts::new("weft_tunnel_rtt_seconds", "Smoothed round-trip time."),
                &peer,
            )?,
            sent: IntGaugeVec::new(
                Opts::new("weft_tunnel_sent_packets", "QUIC packets sent."),
                &peer,
            )?,
            lost: IntGaugeVec::new(
                Opts::new("weft_tunnel_lost_packets", "QUIC packets declared lost."),
                &peer,
            )?,
            endpoints: IntGaugeVec::new(
                Opts::new("weft_endpoints", "Endpoints known here, by health."),
                &["service", "cluster", "state"],
            )?,
            view: IntGauge::new(
                "weft_catalog_view_hash",
                "48 bits of a hash of all endpoints known here: gateways that agree show the same.",
            )?,
            ahead: IntGauge::new(
                "weft_names_ahead_of_disk",
                "1 while names answer by endpoints that a full or slow disk does not hold yet, otherwise 0.",
            )?,
            sessions: IntGauge::new(
                "weft_catalog_sessions",
                "Sidecars with an open session here.",
            )?,
            releases: GaugeVec::new(
                Opts::new(
                    "weft_release_weight",
                    "The canary's share of its audience, 0 to 1, by the callers' cluster.",
                ),
                &["release", "service", "source_cluster", "source_region"],
            )?,
        };
        registry.register(Box::new(gauges.applied.clone()))?;
        registry.register(Box::new(gauges.age.clone()))?;
        registry.register(Box::new(gauges.leader.clone()))?;
        registry.register(Box::new(gauges.leader_changes.clone()))?;
        registry.register(Box::new(gauges.suspect.clone()))?;
        registry.register(Box::new(gauges.installed.clone()))?;
        registry.register(Box::new(gauges.expiry.clone()))?;
        registry.register(Box::new(gauges.read_only.clone()))?;
        registry.register(Box::new(gauges.free.clone()))?;
        registry.register(Box::new(gauges.up.clone()))?;
        registry.register(Box::new(gauges.rtt.clone()))?;
        registry.register(Box::new(gauges.sent.clone()))?;
        registry.register(Box::new(gauges.lost.clone()))?;
        registry.register(Box::new(gauges.endpoints.clone()))?;
        registry.register(Box::new(gauges.view.clone()))?;
        registry.register(Box::new(gauges.ahead.clone()))?;
        registry.register(Box::new(gauges.sessions.clone()))?;
        registry.register(Box::new(gauges.releases.clone()))?;
        Ok(gauges)
    }

    /// Reads everything once.
    pub(super) fn update(&self, hub: &Hub) {
        let applied = hub.registry().applied();
        self.applied
            .set(i64::try_from(applied.index.0).unwrap_or(i64::MAX));
        self.age.set(applied.age.as_secs_f64());
        let status = hub.registry().status();
        let leads = status.raft.leadership.leader == Some(hub.node());
        self.leader.set(i64::from(leads));
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.leader_changes
            .set(count(status.counters.leader_changes));
        self.suspect.set(count(status.counters.suspect));
        self.installed.set(count(status.counters.installed));
        self.expiry.set(hub.svid().expires().0 as f64 / 1000.0);
        let room = hub.registry().room();
        self.read_only.set(i64::from(room.space != Space::Enough));
        self.free
            .set(room.free.map_or(f64::NAN, |free| free as f64));
        self.ahead
            .set(i64::from(hub.catalog_handle().shown().ahead));
        self.sessions
            .set(i64::try_from(hub.catalog_handle().session_count()).unwrap_or(i64::MAX));
        self.update_paths(hub);
        self.update_endpoints(hub);
        self.update_releases(hub);
    }

    fn update_paths(&self, hub: &Hub) {
        for gauge in [&self.up, &self.sent, &self.lost] {
            gauge.reset();
        }
        self.rtt.reset();
        for path in hub.tunnels().paths().peers.values() {
            let labels = [path.cluster.as_str(), path.gateway.as_str()];
            let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            self.up
                .with_label_values(&labels)
                .set(i64::from(path.state == PathState::Up));
            self.sent.with_label_values(&labels).set(count(path.sent));
            self.lost.with_label_values(&labels).set(count(path.lost));
            if let Some(rtt) = path.rtt {
                self.rtt.with_label_values(&labels).set(rtt.as_secs_f64());
            }
        }
    }

    /// Releases in effect, by the log and the clamps that are known here.
    fn update_releases(&self, hub: &Hub) {
        self.releases.reset();
        let (state, clamps) = (hub.registry().state(), hub.clamps().load());
        let in_effect = state.releases().filter(|(_, record)| record.is_in_effect());
        for (key, record) in in_effect {
            let service = record.spec.key(&key.namespace).to_string();
            for (cluster, member) in state.clusters() {
                let caller = CallerPlace {
                    cluster: cluster.clone(),
                    region: member.spec.region.clone(),
                };
                let effective = weight(key, record, &caller, clamps.iter());
                let labels = [
                    key.to_string(),
                    service.clone(),
                    cluster.to_string(),
                    caller.region.to_string(),
                ];
                self.releases
                    .with_label_values(&labels.each_ref().map(String::as_str))
                    .set(f64::from(effective.weight.value()) / 10_000.0);
            }
        }
    }

    fn update_endpoints(&self, hub: &Hub) {
        self.endpoints.reset();
        let view = hub.catalog();
        // Samples are floating-point numbers, exact up to 53 bits.
        self.view
            .set(i64::try_from(view.hash().0 >> 16).unwrap_or(i64::MAX));
        let mut counts: BTreeMap<(&ServiceKey, &str, &str), i64> = BTreeMap::new();
        for (service, listed) in view.services() {
            for endpoint in &listed.endpoints {
                let state = match endpoint.health {
                    Health::Ready => "ready",
                    Health::NotReady => "not-ready",
                    Health::Draining => "draining",
                };
                *counts
                    .entry((service, endpoint.cluster.as_str(), state))
                    .or_default() += 1;
            }
        }
        for ((service, cluster, state), count) in counts {
            self.endpoints
                .with_label_values(&[service.to_string().as_str(), cluster, state])
                .set(count);
        }
    }
}
