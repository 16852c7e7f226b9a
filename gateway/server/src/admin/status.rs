//! The state of the federation in one document.

mod past;

use std::collections::BTreeMap;

use weft_model::{
    ClusterName, ClusterRole, Federation, GatewayRole, Health, Member, NodeId, Service,
    ServiceType, Unready, code,
};
use weft_plan::catalog::CatalogView;
use weft_plan::{Lease, Outlook, Path, Traffic};
use weft_registry::Agreement;
use weft_registry::disk::Space;
use weft_registry::driver::Outranked;

use super::view::{
    ClusterView, DiskView, Freshness, IsolationView, ProblemView, RaftMemberView, RaftView,
    ServiceView, StatusView,
};
use crate::hub::Hub;
use crate::isolation::{self, seconds};
use crate::tunnel::PathState;

pub(super) use past::{exported_services, past};

/// How fresh this gateway's answers are.
pub(super) fn freshness(hub: &Hub) -> Freshness {
    let applied = hub.registry().applied();
    Freshness {
        applied_index: applied.index.0,
        age_ms: millis(applied.age),
    }
}

/// The whole.
pub(super) fn view(hub: &Hub) -> StatusView {
    let state = hub.registry().state();
    let catalog = hub.catalog();
    let outlook = hub.outlook();
    let raft = raft(hub, &state);
    let clusters = clusters(hub, &state, &outlook);
    let services = services(hub, &state, &catalog, &outlook);
    let mut problems = problems(&raft, &clusters, &services, &catalog);
    if let Some(shortage) = hub.shortage() {
        let what = format!("{shortage}: it takes no writes");
        problems.insert(0, problem("fail", code::READ_ONLY, what));
    }
    if let Some(told) = isolation::told(hub) {
        problems.insert(0, problem("fail", code::ISOLATED, told));
    }
    problems.extend(unread(hub));
    for found in disagreement(hub, &state).into_iter().rev() {
        problems.insert(0, found);
    }
    let room = hub.registry().room();
    StatusView {
        api_version: "weft.dev/v1".into(),
        federation: hub.domain().to_string(),
        cluster: hub.cluster().to_string(),
        region: hub.config().region.to_string(),
        gateway: hub.gateway().to_string(),
        freshness: freshness(hub),
        raft,
        clusters,
        services,
        releases: super::release::under_way(hub),
        certificate_expires_ms: hub.svid().expires().0,
        disk: DiskView {
            free_bytes: room.free,
            read_only: room.space != Space::Enough,
        },
        isolated: isolation::lasting(hub).map(|alone| IsolationView {
            for_ms: millis(alone),
        }),
        problems,
    }
}

fn raft(hub: &Hub, state: &Federation) -> RaftView {
    let status = hub.registry().status();
    let status = &status.raft;
    let paths = hub.tunnels().paths();
    let members = state.nodes().map(|(id, node)| {
        let path = paths
            .peers
            .get(&id)
            .filter(|path| path.state != PathState::Down);
        let role = if status.leadership.leader == Some(id) {
            "leader"
        } else if status.voters.contains(&id) {
            "voter"
        } else {
            match node.gateway.role {
                GatewayRole::Member => "learner",
                GatewayRole::Follower => "follower",
            }
        };
        RaftMemberView {
            node: id.0,
            cluster: node.cluster.to_string(),
            gateway: node.gateway.name.to_string(),
            role: role.into(),
            reachable: id == hub.node() || path.is_some(),
            rtt_us: path.and_then(|path| path.rtt).map(micros),
        }
    });
    RaftView {
        leader: status.leadership.leader.map(|NodeId(id)| id),
        term: status.leadership.term,
        commit: status.commit.0,
        recovered: (status.recovered.0 > 0).then_some(status.recovered.0),
        fenced: hub.registry().status().agreement.fenced.map(|it| it.0),
        members: members.collect(),
    }
}

/// The cluster through which another one is reached, if it is not reached directly.
pub(super) fn through(hub: &Hub, cluster: &ClusterName) -> Option<ClusterName> {
    let paths = hub.tunnels().paths();
    let mut up = paths
        .peers
        .values()
        .filter(|path| path.cluster == *cluster && path.state == PathState::Up)
        .map(|path| path.through.clone());
    let first = up.next()??;
    up.all(|through| through.is_some()).then_some(first)
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn clusters(hub: &Hub, state: &Federation, outlook: &Outlook) -> Vec<ClusterView> {
    state
        .clusters()
        .map(|(name, member)| cluster(hub, state, outlook, name, member))
        .collect()
}

fn cluster(
    hub: &Hub,
    state: &Federation,
    outlook: &Outlook,
    name: &ClusterName,
    member: &Member,
) -> ClusterView {
    let nodes: Vec<_> = state
        .nodes()
        .filter(|(_, node)| node.cluster == *name)
        .map(|(_, node)| node)
        .collect();
    let sight = outlook.sight(name);
    let lease = match sight.map(|sight| sight.lease) {
        None if name == hub.cluster() => {
            Lease::known(member.lapsed, hub.registry().applied().silence())
        }
        None => Lease::Unknown,
        Some(lease) => lease,
    };
    let path = match sight.map(|sight| sight.path) {
        None if name == hub.cluster() => "self",
        Some(Path::Up) => "up",
        _ => "down",
    };
    let path = match through(hub, name) {
        Some(third) if path == "up" => format!("through {third}"),
        _ => path.to_owned(),
    };
    let api = nodes.iter().filter_map(|node| node.gateway.api.as_ref());
    ClusterView {
        name: name.to_string(),
        region: member.spec.region.to_string(),
        role: role(member.spec.role).into(),
        lease: match lease {
            Lease::Held => "held",
            Lease::Lapsed => "lapsed",
            Lease::Unknown => "unknown",
        }
        .into(),
        path,
        rtt_us: sight.and_then(|sight| sight.rtt).map(micros),
        endpoints_age_ms: isolation::endpoints_age(hub, name).map(millis),
        gateways: nodes
            .iter()
            .map(|node| node.gateway.name.to_string())
            .collect(),
        drain: member.spec.drain,
        api: api.map(|address| address.to_string()).collect(),
        bundle: member.bundle.iter().map(|der| pem_of(der)).collect(),
    }
}

fn role(role: ClusterRole) -> &'static str {
    match role {
        ClusterRole::Voter => "voter",
        ClusterRole::Member => "member",
        ClusterRole::Witness => "witness",
    }
}

/// A certificate as text (RFC 7468).
fn pem_of(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", der))
}

/// The services that this cluster may see: exported to it, or its own by registration.
pub(super) fn services(
    hub: &Hub,
    state: &Federation,
    catalog: &CatalogView,
    outlook: &Outlook,
) -> Vec<ServiceView> {
    let visible = state
        .services()
        .filter(|service| service.is_visible_to(hub.cluster()));
    let mut views: Vec<ServiceView> = visible
        .map(|service| exported(hub, state, catalog, outlook, service))
        .collect();
    views.extend(
        catalog
            .local_services(state)
            .into_iter()
            .map(|local| ServiceView {
                name: local.key.to_string(),
                service_type: "Local".into(),
                ports: local.ports.iter().map(port).collect(),
                virtual_ips: Vec::new(),
                exporters: Vec::new(),
                ready: vec![(
                    hub.cluster().to_string(),
                    ready_in(catalog, &local.key, hub.cluster()),
                )],
                conflicts: Vec::new(),
            }),
    );
    views.sort_by(|a, b| a.name.cmp(&b.name));
    views
}

fn exported(
    hub: &Hub,
    state: &Federation,
    catalog: &CatalogView,
    outlook: &Outlook,
    service: &Service,
) -> ServiceView {
    let now = hub.clock().now();
    let serves = |cluster: &ClusterName| {
        outlook.verdict(state, &service.key, cluster, now).traffic != Traffic::None
    };
    let ready = service.exporters.keys().map(|cluster| {
        let ready = match serves(cluster) {
            true => ready_in(catalog, &service.key, cluster),
            false => 0,
        };
        (cluster.to_string(), ready)
    });
    ServiceView {
        ready: ready.collect(),
        ..recorded(hub, state, service)
    }
}

/// What the log says of a service.
fn recorded(hub: &Hub, state: &Federation, service: &Service) -> ServiceView {
    let ranges = state
        .cluster(hub.cluster())
        .map(|member| member.spec.virtual_ips);
    let mut virtual_ips = Vec::new();
    if let (Some(ranges), ServiceType::ClusterSetIP) = (ranges, service.service_type) {
        virtual_ips.push(service.virtual_ipv4(&ranges).to_string());
        virtual_ips.extend(service.virtual_ipv6(&ranges).map(|ip| ip.to_string()));
    }
    let conflicts: std::collections::BTreeSet<String> = service
        .exporters
        .values()
        .flat_map(|exporter| &exporter.conflicts)
        .map(|conflict| format!("{conflict:?}"))
        .collect();
    ServiceView {
        name: service.key.to_string(),
        service_type: match service.service_type {
            ServiceType::ClusterSetIP => "ClusterSetIP",
            ServiceType::Headless => "Headless",
        }
        .into(),
        ports: service.ports.iter().map(port).collect(),
        virtual_ips,
        exporters: service.exporters.keys().map(ToString::to_string).collect(),
        ready: Vec::new(),
        conflicts: conflicts.into_iter().collect(),
    }
}

fn port(port: &weft_model::ServicePort) -> String {
    match &port.name {
        Some(name) => format!("{}/{name}", port.port),
        None => port.port.to_string(),
    }
}

/// Ready endpoints: those listed, or the digest where the endpoints are not known here.
fn ready_in(catalog: &CatalogView, service: &weft_model::ServiceKey, cluster: &ClusterName) -> u32 {
    let listed = catalog.service(service).map_or(0, |endpoints| {
        endpoints
            .of(cluster)
            .filter(|e| e.health == Health::Ready)
            .count()
    });
    let digest = catalog
        .liveness(cluster)
        .map_or(0, |liveness| liveness.digest.ready(service));
    if listed > 0 {
        u32::try_from(listed).unwrap_or(u32::MAX)
    } else {
        digest
    }
}

fn problems(
    raft: &RaftView,
    clusters: &[ClusterView],
    services: &[ServiceView],
    catalog: &CatalogView,
) -> Vec<ProblemView> {
    let mut problems = Vec::new();
    if raft.leader.is_none() {
        problems.push(problem(
            "fail",
            code::NO_LEADER,
            "the registry has no leader".into(),
        ));
    }
    for member in raft.members.iter().filter(|member| !member.reachable) {
        let what = format!(
            "gateway {}/{} (node {}, {}) cannot be reached from here",
            member.cluster, member.gateway, member.node, member.role
        );
        problems.push(problem("warn", code::NO_PATH, what));
    }
    for cluster in clusters.iter().filter(|cluster| cluster.path == "down") {
        let what = format!(
            "no tunnel to {} is up, its lease is {}{}",
            cluster.name,
            cluster.lease,
            known_since(cluster)
        );
        problems.push(problem("fail", code::NO_PATH, what));
    }
    for service in services {
        if service.ready.iter().all(|(_, ready)| *ready == 0) {
            let what = format!("{} has no ready endpoint anywhere", service.name);
            problems.push(problem("fail", code::NO_HEALTHY_UPSTREAM, what));
        }
        if !service.conflicts.is_empty() {
            let what = format!(
                "exports of {} disagree: {}",
                service.name,
                service.conflicts.join(", ")
            );
            problems.push(problem("warn", code::INVALID_RESOURCE, what));
        }
    }
    problems.extend(unready(catalog));
    problems
}

fn known_since(cluster: &ClusterView) -> String {
    let age = cluster
        .endpoints_age_ms
        .map(std::time::Duration::from_millis);
    age.map_or_else(String::new, |age| {
        format!("; its endpoints are as they were {} ago", seconds(age))
    })
}

/// Endpoints that fail their checks, one line a service: with the first reason that is known.
fn unready(catalog: &CatalogView) -> Vec<ProblemView> {
    let mut failing: BTreeMap<String, (usize, Option<&Unready>)> = BTreeMap::new();
    for (key, endpoints) in catalog.services() {
        let own = endpoints
            .endpoints
            .iter()
            .filter(|e| e.health == Health::NotReady);
        for endpoint in own {
            let place = format!("{key} in {}", endpoint.cluster);
            let (count, why) = failing.entry(place).or_default();
            *count += 1;
            *why = why.or(endpoint.unready.as_ref());
        }
    }
    failing
        .into_iter()
        .map(|(place, (count, why))| {
            let why = why.map_or_else(String::new, |why| format!(": {}", why.as_str()));
            let what = format!("{count} endpoint(s) of {place} fail their health checks{why}");
            problem("warn", code::NO_HEALTHY_UPSTREAM, what)
        })
        .collect()
}

pub(super) fn problem(severity: &str, code: weft_model::Code, what: String) -> ProblemView {
    ProblemView {
        severity: severity.into(),
        code: code.to_string(),
        what,
        next: code.next.into(),
    }
}

/// Records of the log that this build could not read in full.
fn unread(hub: &Hub) -> Option<ProblemView> {
    let status = hub.registry().status();
    let raft = &status.raft;
    let last = raft.unread.as_ref()?;
    let what = format!(
        "records of the log that are kept unread here: {}, the last at index {} ({})",
        raft.quarantined, last.index, last.reason
    );
    Some(problem("warn", code::QUARANTINED, what))
}

/// Replicas whose state is not the majority's, as the last comparison found.
fn disagreement(hub: &Hub, state: &Federation) -> Vec<ProblemView> {
    let standing = hub.registry().status().agreement.clone();
    let names = |nodes: &[NodeId]| {
        let name = |id: &NodeId| match state.node(*id) {
            Some(node) => format!("{}/{}", node.cluster, node.gateway.name),
            None => format!("node {id}"),
        };
        nodes.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    if let Some(outranked) = hub.registry().status().raft.outranked {
        let (at, way) = match outranked {
            Outranked::Behind(at) => (at, "it waits for that state"),
            Outranked::Ahead(at) => (at, "it keeps silent, since it holds what was lost there"),
        };
        let what = format!(
            "the registry was founded anew at index {at} without {}/{}: {way}",
            hub.cluster(),
            hub.gateway()
        );
        return vec![problem("fail", code::OUTRANKED, what)];
    }
    if let Some(index) = standing.fenced {
        let way = match standing.repairing {
            true => "it waits for the leader's state",
            false => "it is fenced, and serves what it last had",
        };
        let what = format!(
            "the state of {}/{} is not the others' at index {index}: {way}",
            hub.cluster(),
            hub.gateway()
        );
        return vec![problem("fail", code::DIVERGED, what)];
    }
    match &standing.last {
        _ if !standing.fenced_peers.is_empty() => {
            let what = format!(
                "{} is fenced: its state is not the others'",
                names(&standing.fenced_peers)
            );
            vec![problem("fail", code::DIVERGED, what)]
        }
        Some(Agreement::Holds { index, others }) if !others.is_empty() => {
            let what = format!(
                "the state of {} is not the others' at index {index}",
                names(others)
            );
            vec![problem("fail", code::DIVERGED, what)]
        }
        Some(Agreement::Split { index, others }) => {
            let what = format!(
                "the state here and that of {} differ at index {index}",
                names(others)
            );
            vec![problem("fail", code::SPLIT, what)]
        }
        _ => Vec::new(),
    }
}

/// What a gateway would send to endpoints of a service in a cluster, in words.
pub(super) fn traffic(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::All => "serves",
        Traffic::OnlyExisting => "finishes what runs",
        Traffic::None => "gets nothing",
    }
}
