//! Endpoints, services and interest between their wire and their own form.
//!
//! Every field that a peer sends is checked here, before any lock; what is not
//! lawful is refused by name. Gateways use the same functions.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use weft_decide::{ClusterView, ReleaseView, RouteSource, ServiceSpec};
use weft_model::{
    AppProtocol, Audience, BasisPoints, ClusterName, Endpoint, EndpointId, EndpointPort, Health,
    Index, Percent, RouteSpec, ServiceKey, ServicePort, TrafficPolicySpec, TransportProtocol,
    Unready, spec_from_json, spec_to_json,
};
use weft_proto::catalog as wire;

/// Ports, services and identities of one record above this number are refused.
const LIST_MAX: usize = 4096;

/// A field of a frame that is not lawful.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct WireError {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl WireError {
    /// A complaint about `field`.
    pub fn new(field: &'static str, problem: impl ToString) -> Self {
        Self {
            field,
            problem: problem.to_string(),
        }
    }
}

/// Parses a field.
pub fn parse<T: FromStr>(field: &'static str, text: &str) -> Result<T, WireError>
where
    T::Err: ToString,
{
    text.parse()
        .map_err(|why: T::Err| WireError::new(field, why))
}

/// Parses a field that may be empty.
pub fn parse_optional<T: FromStr>(field: &'static str, text: &str) -> Result<Option<T>, WireError>
where
    T::Err: ToString,
{
    if text.is_empty() {
        return Ok(None);
    }
    parse(field, text).map(Some)
}

/// Reads an endpoint's id.
pub fn endpoint_id(bytes: &[u8]) -> Result<EndpointId, WireError> {
    EndpointId::from_slice(bytes).ok_or_else(|| WireError::new("id", "has not 16 bytes"))
}

/// Reads a service's name.
pub fn service_key(key: Option<&wire::ServiceKey>) -> Result<ServiceKey, WireError> {
    let key = key.ok_or_else(|| WireError::new("service", "is missing"))?;
    Ok(ServiceKey::new(
        parse("service.namespace", &key.namespace)?,
        parse("service.name", &key.name)?,
    ))
}

/// Reads an endpoint.
pub fn endpoint(from: &wire::Endpoint) -> Result<Endpoint, WireError> {
    bounded("ports", from.ports.len())?;
    let ports = from.ports.iter().map(|port| {
        Ok(EndpointPort {
            name: parse_optional("ports.name", &port.name)?,
            service_port: number("ports.service_port", port.service_port)?,
            protocol: protocol(port.protocol())?,
        })
    });
    Ok(Endpoint {
        id: endpoint_id(&from.id)?,
        service: service_key(from.service.as_ref())?,
        cluster: parse("cluster", &from.cluster)?,
        zone: parse_optional("zone", &from.zone)?,
        version: parse_optional("version", &from.version)?,
        hostname: parse_optional("hostname", &from.hostname)?,
        address: parse_optional::<SocketAddr>("address", &from.address)?,
        workload: parse_optional::<IpAddr>("workload", &from.workload)?,
        ports: ports.collect::<Result<_, WireError>>()?,
        identity: parse("identity", &from.identity)?,
        weight: from.weight,
        health: health(from.health())?,
        unready: (!from.unready.is_empty()).then(|| Unready::new(&from.unready)),
        sequence: from.sequence,
    })
}

/// Reads a service's record, without its endpoints.
pub fn service(from: &wire::Service) -> Result<ServiceSpec, WireError> {
    bounded("ports", from.ports.len())?;
    bounded("identities", from.identities.len())?;
    bounded("stale", from.stale.len())?;
    bounded("routes", from.routes.len())?;
    let ports = from.ports.iter().map(|port| {
        Ok(ServicePort {
            name: parse_optional("ports.name", &port.name)?,
            protocol: TransportProtocol::Tcp,
            app_protocol: protocol(port.protocol())?,
            port: number("ports.port", port.port)?,
        })
    });
    let identities = from.identities.iter().map(|id| parse("identities", id));
    let virtual_ips = from.virtual_ips.iter().map(|ip| parse("virtual_ips", ip));
    let stale = from.stale.iter().map(|name| parse("stale", name));
    Ok(ServiceSpec {
        key: service_key(from.key.as_ref())?,
        ports: ports.collect::<Result<_, WireError>>()?,
        identities: identities.collect::<Result<BTreeSet<_>, _>>()?,
        headless: from.headless,
        virtual_ips: virtual_ips.collect::<Result<_, _>>()?,
        stale: stale.collect::<Result<_, _>>()?,
        routes: from.routes.iter().map(route).collect::<Result<_, _>>()?,
        policy: policy(&from.policy_json)?,
        release: from.release.as_ref().map(release).transpose()?,
    })
}

fn route(from: &wire::Route) -> Result<RouteSource, WireError> {
    let spec: RouteSpec =
        spec_from_json(&from.spec_json).map_err(|why| WireError::new("routes.spec_json", why))?;
    Ok(RouteSource {
        name: service_key(from.name.as_ref())?,
        created: Index(from.created),
        spec: Arc::new(spec),
    })
}

fn policy(json: &[u8]) -> Result<Option<Arc<TrafficPolicySpec>>, WireError> {
    if json.is_empty() {
        return Ok(None);
    }
    let policy = spec_from_json(json).map_err(|why| WireError::new("policy_json", why))?;
    Ok(Some(Arc::new(policy)))
}

/// Reads a release.
pub fn release(from: &wire::Release) -> Result<ReleaseView, WireError> {
    let weight = u16::try_from(from.weight).ok().and_then(BasisPoints::new);
    let audience: Audience = spec_from_json(&from.audience_json)
        .map_err(|why| WireError::new("release.audience_json", why))?;
    Ok(ReleaseView {
        key: service_key(from.name.as_ref())?,
        run: Index(from.run),
        generation: Index(from.generation),
        stable: parse("release.stable", &from.stable)?,
        canary: parse("release.canary", &from.canary)?,
        weight: weight.ok_or_else(|| WireError::new("release.weight", "is above 10000"))?,
        audience: Arc::new(audience),
    })
}

/// Reads how another cluster is seen.
pub fn cluster(from: &wire::ClusterState) -> Result<ClusterView, WireError> {
    Ok(ClusterView {
        region: parse("region", &from.region)?,
        rtt: (from.path() == wire::PathState::Up)
            .then(|| Duration::from_micros(from.rtt_us.into())),
        drain: from.drain,
        max_share: from.max_share.map(share).transpose()?,
    })
}

fn share(percent: u32) -> Result<Percent, WireError> {
    let share = u8::try_from(percent).ok().and_then(Percent::new);
    share.ok_or_else(|| WireError::new("max_share", "is above 100 percent"))
}

/// Writes a service's name.
pub fn to_service_key(key: &ServiceKey) -> wire::ServiceKey {
    wire::ServiceKey {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    }
}

/// Writes an endpoint.
pub fn to_endpoint(from: &Endpoint) -> wire::Endpoint {
    let ports = from.ports.iter().map(|port| wire::EndpointPort {
        name: text(port.name.as_ref()),
        service_port: port.service_port.get().into(),
        protocol: to_protocol(port.protocol).into(),
    });
    wire::Endpoint {
        id: from.id.0.to_vec().into(),
        service: Some(to_service_key(&from.service)),
        cluster: from.cluster.to_string(),
        zone: text(from.zone.as_ref()),
        version: text(from.version.as_ref()),
        hostname: text(from.hostname.as_ref()),
        address: text(from.address),
        workload: text(from.workload),
        ports: ports.collect(),
        identity: from.identity.to_string(),
        weight: from.weight,
        health: to_health(from.health).into(),
        unready: from
            .unready
            .as_ref()
            .map_or_else(String::new, |why| why.as_str().to_owned()),
        sequence: from.sequence,
    }
}

/// Writes a service's record.
pub fn to_service(from: &ServiceSpec) -> wire::Service {
    wire::Service {
        key: Some(to_service_key(&from.key)),
        headless: from.headless,
        ports: from.ports.iter().map(to_service_port).collect(),
        virtual_ips: from.virtual_ips.iter().map(ToString::to_string).collect(),
        identities: from.identities.iter().map(ToString::to_string).collect(),
        stale: from.stale.iter().map(ToString::to_string).collect(),
        routes: from.routes.iter().map(to_route).collect(),
        policy_json: match &from.policy {
            Some(policy) => spec_to_json(&**policy).into(),
            None => bytes::Bytes::new(),
        },
        release: from.release.as_ref().map(to_release),
    }
}

/// Writes a release.
pub fn to_release(from: &ReleaseView) -> wire::Release {
    wire::Release {
        name: Some(to_service_key(&from.key)),
        run: from.run.0,
        generation: from.generation.0,
        stable: from.stable.to_string(),
        canary: from.canary.to_string(),
        weight: from.weight.value().into(),
        audience_json: spec_to_json(&*from.audience).into(),
    }
}

fn to_route(from: &RouteSource) -> wire::Route {
    wire::Route {
        name: Some(to_service_key(&from.name)),
        created: from.created.0,
        spec_json: spec_to_json(&*from.spec).into(),
    }
}

/// Writes how another cluster is seen. Round trips are told in microseconds.
pub fn to_cluster(name: &ClusterName, from: &ClusterView) -> wire::ClusterState {
    let path = match from.rtt {
        Some(_) => wire::PathState::Up,
        None => wire::PathState::Down,
    };
    let rtt = from.rtt.unwrap_or_default().as_micros();
    wire::ClusterState {
        cluster: name.to_string(),
        region: from.region.to_string(),
        path: path.into(),
        rtt_us: u32::try_from(rtt).unwrap_or(u32::MAX),
        drain: from.drain,
        max_share: from.max_share.map(|share| share.value().into()),
    }
}

fn to_service_port(from: &ServicePort) -> wire::ServicePort {
    wire::ServicePort {
        name: text(from.name.as_ref()),
        port: from.port.get().into(),
        protocol: to_protocol(from.app_protocol).into(),
    }
}

/// An encoded item and its share in the hash of the state.
pub fn encode_item(item: wire::item::Item) -> bytes::Bytes {
    wire::Item { item: Some(item) }.encode_to_vec().into()
}

/// An encoded item's share in the hash of the state: FNV-1a with 64 bits,
/// finished by SplitMix64 so that sums of it do not cancel.
pub fn item_hash(item: &[u8]) -> u64 {
    let fnv = item.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut z = fnv.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn number(field: &'static str, port: u32) -> Result<NonZeroU16, WireError> {
    let port = u16::try_from(port).ok().and_then(NonZeroU16::new);
    port.ok_or_else(|| WireError::new(field, "is not a port number"))
}

fn bounded(field: &'static str, len: usize) -> Result<(), WireError> {
    if len > LIST_MAX {
        return Err(WireError::new(
            field,
            format!("has {len} elements, at most {LIST_MAX}"),
        ));
    }
    Ok(())
}

fn protocol(from: wire::AppProtocol) -> Result<AppProtocol, WireError> {
    match from {
        wire::AppProtocol::Tcp => Ok(AppProtocol::Tcp),
        wire::AppProtocol::Http => Ok(AppProtocol::Http),
        wire::AppProtocol::Http2 => Ok(AppProtocol::Http2),
        wire::AppProtocol::Grpc => Ok(AppProtocol::Grpc),
        wire::AppProtocol::Unspecified => Err(WireError::new("protocol", "is not known")),
    }
}

fn to_protocol(from: AppProtocol) -> wire::AppProtocol {
    match from {
        AppProtocol::Tcp => wire::AppProtocol::Tcp,
        AppProtocol::Http => wire::AppProtocol::Http,
        AppProtocol::Http2 => wire::AppProtocol::Http2,
        AppProtocol::Grpc => wire::AppProtocol::Grpc,
    }
}

fn health(from: wire::Health) -> Result<Health, WireError> {
    match from {
        wire::Health::Ready => Ok(Health::Ready),
        wire::Health::NotReady => Ok(Health::NotReady),
        wire::Health::Draining => Ok(Health::Draining),
        wire::Health::Unspecified => Err(WireError::new("health", "is not known")),
    }
}

fn to_health(from: Health) -> wire::Health {
    match from {
        Health::Ready => wire::Health::Ready,
        Health::NotReady => wire::Health::NotReady,
        Health::Draining => wire::Health::Draining,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::fixture;

    #[test]
    fn an_endpoint_survives_the_wire() {
        let before = fixture::endpoint("eu-west-1", 1, 7);
        assert_eq!(endpoint(&to_endpoint(&before)), Ok(before));
    }

    #[test]
    fn unlawful_fields_are_refused_by_name() {
        let good = to_endpoint(&fixture::endpoint("eu-west-1", 1, 7));
        type Spoil = fn(&mut wire::Endpoint);
        let cases: [(&str, Spoil); 8] = [
            ("id", |e| e.id = vec![1; 15].into()),
            ("service", |e| e.service = None),
            ("cluster", |e| e.cluster = "Eu".into()),
            ("address", |e| e.address = "here".into()),
            ("identity", |e| e.identity = "spiffe://eu/../x".into()),
            ("health", |e| e.health = 77),
            ("ports.service_port", |e| e.ports[0].service_port = 65_536),
            ("protocol", |e| e.ports[0].protocol = 0),
        ];
        for (field, spoil) in cases {
            let mut spoilt = good.clone();
            spoil(&mut spoilt);
            let refused = endpoint(&spoilt).unwrap_err();
            assert_eq!(refused.field, field);
        }
    }

    #[test]
    fn the_items_hash_is_the_one_in_the_protocol() {
        assert_eq!(item_hash(b""), 0xc381_7c01_6ba4_ff30);
        assert_eq!(item_hash(b"weft"), 0x48db_2e6a_6dd1_b888);
    }
}
