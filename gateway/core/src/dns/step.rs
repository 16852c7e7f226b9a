//! The steps from a question to its answer, for people.

use std::fmt;
use std::net::IpAddr;

use weft_model::{ClusterName, ServiceKey};

use super::{ClusterLiveness, Name, RecordType, Scope, Standing};

/// One step from a question to its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The name is in none of our zones.
    OutsideZones,
    /// The name is in this zone.
    InZone(Name),
    /// No state has been applied here.
    NoState,
    /// The name is a zone's own.
    Apex,
    /// Nothing here has this form.
    NoSuchForm,
    /// No record stands at the name, but names below it exist.
    Between,
    /// No member is called that.
    NoCluster(String),
    /// No member is in a region called that.
    NoRegion(String),
    /// No service of the scope is in this namespace.
    NoNamespace(String, Scope),
    /// The namespace has no service called that in the scope.
    NoService(ServiceKey, Scope),
    /// Others export the service, but not to this cluster.
    Hidden(ServiceKey, Vec<ClusterName>),
    /// The service was found.
    Service(ServiceKey, Scope),
    /// This cluster exports it.
    Exporter(ClusterName, ClusterLiveness),
    /// It exists in this cluster by registration alone.
    OnlyLocal,
    /// It has no port of that name.
    NoPort(String),
    /// It has a port of that name.
    Port(String, u16),
    /// MCS forbids such names: our own zone has names for one cluster.
    ForbiddenByMcs,
    /// An endpoint stands in the answer.
    Endpoint(String, ClusterName, Vec<IpAddr>),
    /// An endpoint does not, and why.
    LeftOut(String, ClusterName, &'static str),
    /// The service's endpoints in this cluster are not known.
    EndpointsUnknown(ClusterName),
    /// None of its endpoints is ready: such a name does not exist (MCS).
    NoneReady,
    /// No endpoint is called that.
    NoEndpoint(String, ClusterName),
    /// Its virtual IPs.
    VirtualIp(Vec<IpAddr>),
    /// No virtual IP is left for it.
    NoVirtualIp,
    /// The name has no record of that type.
    NoRecord(RecordType),
    /// ANY gets one record (RFC 8482).
    AnyIsMinimal,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideZones => f.write_str("the name is in none of our zones"),
            Self::InZone(zone) => write!(f, "the name is in the zone {zone}"),
            Self::NoState => f.write_str("no state of the federation has arrived here yet"),
            Self::Apex => f.write_str("it is the zone's own name"),
            Self::NoSuchForm => f.write_str("no name of the zone has this form"),
            Self::Between => f.write_str("no record stands here, but below it names exist"),
            Self::NoCluster(name) => write!(f, "no member cluster is called {name}"),
            Self::NoRegion(name) => write!(f, "no member cluster is in a region {name}"),
            Self::NoNamespace(name, scope) => {
                write!(f, "namespace {name} has no service in {scope}")
            }
            Self::NoService(key, scope) => write!(f, "there is no service {key} in {scope}"),
            Self::Hidden(key, exporters) => {
                write!(f, "{key} is exported by {}", list(exporters))?;
                f.write_str(", but not to this cluster")
            }
            Self::Service(key, scope) => write!(f, "service {key} in {scope}"),
            Self::Exporter(cluster, ClusterLiveness { ready, standing }) => {
                write!(f, "{cluster} exports it: {ready} ready")?;
                match standing {
                    Standing::Listed => Ok(()),
                    Standing::Withdrawn => f.write_str(", withdrawn since its lease has lapsed"),
                }
            }
            Self::OnlyLocal => f.write_str("it exists by registration, in this cluster alone"),
            Self::NoPort(name) => write!(f, "it has no port named {name}"),
            Self::Port(name, number) => write!(f, "its port {name} is {number}"),
            Self::ForbiddenByMcs => f.write_str(
                "MCS forbids names of one cluster here: write <service>.<namespace>.svc.<cluster>.cluster.<our zone>",
            ),
            Self::Endpoint(label, cluster, addresses) => {
                write!(f, "endpoint {label} in {cluster}: {}", list(addresses))
            }
            Self::LeftOut(label, cluster, why) => {
                write!(f, "endpoint {label} in {cluster} is left out: {why}")
            }
            Self::EndpointsUnknown(cluster) => {
                write!(f, "its endpoints in {cluster} are not known here yet")
            }
            Self::NoneReady => f.write_str("none of its endpoints is ready: the name does not exist"),
            Self::NoEndpoint(label, cluster) => {
                write!(f, "no ready endpoint in {cluster} is called {label}")
            }
            Self::VirtualIp(addresses) => write!(f, "its virtual IP is {}", list(addresses)),
            Self::NoVirtualIp => f.write_str("this cluster's virtual-IP range has no place left"),
            Self::NoRecord(kind) => write!(f, "the name has no record of type {kind}"),
            Self::AnyIsMinimal => f.write_str("ANY gets one record, whatever there is (RFC 8482)"),
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(T::to_string).collect();
    texts.join(" and ")
}

/// Keeps steps if they are wanted; making one costs nothing if not.
#[derive(Debug)]
pub(super) struct Trace(Option<Vec<Step>>);

impl Trace {
    pub(super) fn off() -> Self {
        Self(None)
    }

    pub(super) fn on() -> Self {
        Self(Some(Vec::new()))
    }

    pub(super) fn note(&mut self, step: impl FnOnce() -> Step) {
        if let Some(steps) = &mut self.0 {
            steps.push(step());
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.0.unwrap_or_default()
    }
}
