//! From a name to what stands there.

use weft_model::{ServiceKey, ServicePort};

use super::entry::{Addresses, Addressing, ClusterEndpoints, Entry, Presence};
use super::name::label_text;
use super::step::Trace;
use super::zones::{Services, Table, Zone};
use super::{Scope, Step};

/// What stands at a name.
#[derive(Debug)]
pub(super) enum Found<'z> {
    /// A zone's own name.
    Apex(Zone<'z>),
    /// The name of this gateway as a name server.
    Server,
    /// The version of the MCS DNS schema.
    SchemaVersion,
    /// Nothing, but names below it exist (an empty non-terminal, RFC 8499).
    Between,
    /// A service.
    Service(&'z Entry),
    /// A named port of a service.
    Port(&'z Entry, &'z ServicePort),
    /// One host name of a headless service.
    Host(&'z Entry, Vec<Addresses>),
    /// Something that depends on endpoints of this service that are not known.
    Unknown(&'z Entry),
    /// Nothing, and nothing below it.
    Nothing,
}

impl<'z> Found<'z> {
    /// The service that stands at the name or decides what does.
    pub(super) fn entry(&self) -> Option<&'z Entry> {
        match self {
            Self::Service(entry) | Self::Port(entry, _) | Self::Host(entry, _) => Some(entry),
            Self::Unknown(entry) => Some(entry),
            Self::Apex(_) | Self::Server | Self::SchemaVersion | Self::Between | Self::Nothing => {
                None
            }
        }
    }
}

/// Walks from the zone down; `labels` begins next to the zone.
pub(super) fn walk<'z>(
    services: &'z Services,
    zone: Zone<'z>,
    labels: &[&[u8]],
    trace: &mut Trace,
) -> Found<'z> {
    match (zone, labels) {
        (_, []) => {
            trace.note(|| Step::Apex);
            Found::Apex(zone)
        }
        (Zone::ClusterSet(_), [b"dns-version"]) => Found::SchemaVersion,
        (Zone::ClusterSet(_), [b"svc", below @ ..]) => Walk {
            services,
            scope: Scope::Federation,
            trace,
        }
        .service_root(&services.federation, below),
        (Zone::Own(_), [b"ns"]) => Found::Server,
        (Zone::Own(_), [b"cluster", below @ ..]) => of_cluster(services, below, trace),
        (Zone::Own(_), [b"region", below @ ..]) => of_region(services, below, trace),
        _ => {
            trace.note(|| Step::NoSuchForm);
            Found::Nothing
        }
    }
}

fn of_cluster<'z>(services: &'z Services, labels: &[&[u8]], trace: &mut Trace) -> Found<'z> {
    let Some((label, below)) = labels.split_first() else {
        return between(trace);
    };
    match services.clusters.get(*label) {
        Some((name, table)) => {
            let scope = Scope::Cluster(name.clone());
            Walk {
                services,
                scope,
                trace,
            }
            .under_svc(table, below)
        }
        None => {
            trace.note(|| Step::NoCluster(label_text(label)));
            Found::Nothing
        }
    }
}

fn of_region<'z>(services: &'z Services, labels: &[&[u8]], trace: &mut Trace) -> Found<'z> {
    let Some((label, below)) = labels.split_first() else {
        return between(trace);
    };
    match services.regions.get(*label) {
        Some((name, table)) => {
            let scope = Scope::Region(name.clone());
            Walk {
                services,
                scope,
                trace,
            }
            .under_svc(table, below)
        }
        None => {
            trace.note(|| Step::NoRegion(label_text(label)));
            Found::Nothing
        }
    }
}

fn between<'z>(trace: &mut Trace) -> Found<'z> {
    trace.note(|| Step::Between);
    Found::Between
}

/// A walk within one scope.
struct Walk<'w, 'z> {
    services: &'z Services,
    scope: Scope,
    trace: &'w mut Trace,
}

impl<'z> Walk<'_, 'z> {
    /// `svc` and what is below it.
    fn under_svc(self, table: &'z Table, labels: &[&[u8]]) -> Found<'z> {
        match labels {
            [] => between(self.trace),
            [b"svc", below @ ..] => self.service_root(table, below),
            _ => {
                self.trace.note(|| Step::NoSuchForm);
                Found::Nothing
            }
        }
    }

    /// Below `svc`, which exists even if nothing is exported: denying it would
    /// deny everything that comes to be below it (RFC 8020).
    fn service_root(self, table: &'z Table, labels: &[&[u8]]) -> Found<'z> {
        let Some((namespace, below)) = labels.split_first() else {
            return between(self.trace);
        };
        let Some(names) = table.get(*namespace) else {
            return match below.first() {
                Some(name) => self.no_service(namespace, name),
                None => self.no_namespace(namespace),
            };
        };
        let Some((name, below)) = below.split_first() else {
            return between(self.trace);
        };
        match names.get(*name) {
            Some(entry) => self.at_service(entry, below),
            None => self.no_service(namespace, name),
        }
    }

    fn no_namespace(self, namespace: &[u8]) -> Found<'z> {
        let scope = self.scope;
        self.trace
            .note(|| Step::NoNamespace(label_text(namespace), scope));
        Found::Nothing
    }

    fn no_service(self, namespace: &[u8], name: &[u8]) -> Found<'z> {
        let key = format!("{}/{}", label_text(namespace), label_text(name)).parse::<ServiceKey>();
        let (scope, hidden) = (self.scope, &self.services.hidden);
        self.trace.note(|| match key {
            Ok(key) => match hidden.get(&key) {
                Some(exporters) => Step::Hidden(key, exporters.clone()),
                None => Step::NoService(key, scope),
            },
            Err(_) => Step::NoSuchForm,
        });
        Found::Nothing
    }

    /// At a service's name or below it.
    fn at_service(self, entry: &'z Entry, below: &[&[u8]]) -> Found<'z> {
        explain_service(entry, self.trace);
        match below {
            [] => present(entry, self.trace, Found::Service(entry)),
            [b"_tcp", port @ ..] => self.at_transport(entry, port),
            below => match self.scope {
                Scope::Federation => self.at_cluster(entry, below),
                Scope::Cluster(_) => self.at_host(entry, below),
                Scope::Region(_) => {
                    self.trace.note(|| Step::NoSuchForm);
                    Found::Nothing
                }
            },
        }
    }

    /// `_tcp.<service>` and below it. TCP is the only transport that ports have.
    fn at_transport(self, entry: &'z Entry, labels: &[&[u8]]) -> Found<'z> {
        match labels {
            [] if entry.named_ports().next().is_some() => {
                present(entry, self.trace, Found::Between)
            }
            [label] => {
                let asked = label.strip_prefix(b"_").unwrap_or_default();
                let mut ports = entry.named_ports();
                let Some((name, port)) = ports.find(|(name, _)| name.as_bytes() == asked) else {
                    self.trace.note(|| Step::NoPort(label_text(label)));
                    return Found::Nothing;
                };
                self.trace
                    .note(|| Step::Port(name.to_owned(), port.port.get()));
                present(entry, self.trace, Found::Port(entry, port))
            }
            _ => {
                self.trace.note(|| Step::NoSuchForm);
                Found::Nothing
            }
        }
    }

    /// `<cluster>.<service>` and below it, in `clusterset.local`.
    fn at_cluster(self, entry: &'z Entry, labels: &[&[u8]]) -> Found<'z> {
        let [cluster, below @ ..] = labels else {
            return Found::Nothing;
        };
        match (entry.endpoints_in(cluster), below) {
            // No record may stand here, but host names below do: denying the name
            // would deny them too (RFC 8020).
            (Some(endpoints), []) if endpoints.answering().next().is_some() => between(self.trace),
            (Some(endpoints), []) if endpoints.known.is_none() => Found::Unknown(entry),
            (Some(endpoints), [host]) => host_of(entry, endpoints, host, self.trace),
            _ => {
                let member = self.services.clusters.contains_key(*cluster);
                self.trace.note(|| match member {
                    true => Step::ForbiddenByMcs,
                    false => Step::NoSuchForm,
                });
                Found::Nothing
            }
        }
    }

    /// `<host name>.<service>` under a cluster of our own zone.
    fn at_host(self, entry: &'z Entry, labels: &[&[u8]]) -> Found<'z> {
        match (&entry.addressing, labels) {
            (Addressing::Headless(clusters), [host]) => match clusters.first() {
                Some(endpoints) => host_of(entry, endpoints, host, self.trace),
                None => Found::Nothing,
            },
            _ => {
                self.trace.note(|| Step::NoSuchForm);
                Found::Nothing
            }
        }
    }
}

/// `found`, unless the service's endpoints say that it does not exist or is not known.
fn present<'z>(entry: &'z Entry, trace: &mut Trace, found: Found<'z>) -> Found<'z> {
    match entry.presence() {
        Presence::Some => found,
        Presence::Unknown => Found::Unknown(entry),
        Presence::None => {
            trace.note(|| Step::NoneReady);
            Found::Nothing
        }
    }
}

fn host_of<'z>(
    entry: &'z Entry,
    endpoints: &'z ClusterEndpoints,
    host: &[u8],
    trace: &mut Trace,
) -> Found<'z> {
    if endpoints.known.is_none() {
        return Found::Unknown(entry);
    }
    let addresses: Vec<Addresses> = endpoints
        .answering()
        .filter(|(endpoint, _)| endpoint.label.as_bytes() == host)
        .map(|(_, addresses)| addresses)
        .collect();
    if addresses.is_empty() && endpoints.lacks_place(host) {
        return Found::Unknown(entry);
    }
    if addresses.is_empty() {
        let cluster = endpoints.cluster.clone();
        trace.note(|| Step::NoEndpoint(label_text(host), cluster));
        return Found::Nothing;
    }
    Found::Host(entry, addresses)
}

fn explain_service(entry: &Entry, trace: &mut Trace) {
    if !trace.is_on() {
        return;
    }
    trace.note(|| Step::Service(entry.key.clone(), entry.scope.clone()));
    if entry.exporters.is_empty() {
        trace.note(|| Step::OnlyLocal);
    }
    for (cluster, liveness) in &entry.exporters {
        trace.note(|| Step::Exporter(cluster.clone(), *liveness));
    }
    match &entry.addressing {
        Addressing::Virtual(Some(addresses)) => {
            trace.note(|| Step::VirtualIp(addresses.iter().collect()));
        }
        Addressing::Virtual(None) => trace.note(|| Step::NoVirtualIp),
        Addressing::Headless(clusters) => {
            clusters.iter().for_each(|c| explain_endpoints(c, trace));
        }
    }
}

fn explain_endpoints(endpoints: &ClusterEndpoints, trace: &mut Trace) {
    let cluster = &endpoints.cluster;
    let Some(known) = &endpoints.known else {
        trace.note(|| Step::EndpointsUnknown(cluster.clone()));
        return;
    };
    for endpoint in known.iter() {
        let label = endpoint.label.clone();
        trace.note(|| match endpoint.outcome {
            Ok(addresses) => Step::Endpoint(label, cluster.clone(), addresses.iter().collect()),
            Err(left_out) => Step::LeftOut(label, cluster.clone(), left_out.why()),
        });
    }
}
