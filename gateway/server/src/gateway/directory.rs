//! Where relayed connections may go: every endpoint by its id, as the catalog has it now.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use arc_swap::ArcSwap;
use weft_model::{ClusterName, EndpointId, Federation, Health, ServiceKey, SpiffeId, Version};
use weft_plan::catalog::CatalogView;
use weft_plan::{Moment, Outlook, Traffic};
use weft_proto::peer::RelayStream;
use weft_proto::peer::relay_stream::Target as Wanted;

use crate::relay::{Destination, Local, Reason, Target};

/// Snapshots that a decision on a relayed connection reads, and an index over them.
pub(super) struct Directory {
    own: ClusterName,
    federation: Arc<Federation>,
    view: Arc<CatalogView>,
    outlook: Outlook,
    now: Moment,
    endpoints: HashMap<EndpointId, Place>,
}

struct Place {
    service: ServiceKey,
    cluster: ClusterName,
    address: Option<SocketAddr>,
}

/// The newest directory.
pub(super) type Shared = Arc<ArcSwap<Directory>>;

impl Directory {
    /// Indexes the snapshots.
    pub(super) fn new(
        federation: Arc<Federation>,
        view: Arc<CatalogView>,
        outlook: Outlook,
        now: Moment,
    ) -> Self {
        let mut endpoints = HashMap::new();
        for (service, listed) in view.services() {
            for endpoint in &listed.endpoints {
                let place = Place {
                    service: service.clone(),
                    cluster: endpoint.cluster.clone(),
                    address: endpoint.address,
                };
                endpoints.insert(endpoint.id, place);
            }
        }
        Self {
            own: outlook.own().clone(),
            federation,
            view,
            outlook,
            now,
            endpoints,
        }
    }

    /// Where a sidecar of this cluster may have its connection carried.
    pub(super) fn authorise(&self, wanted: &RelayStream) -> Result<Target, Reason> {
        let cluster = match wanted.target.as_ref().ok_or(Reason::BadPreamble)? {
            Wanted::Endpoint(id) => {
                let place = self.place(id)?;
                self.check_visible(&place.service, &place.cluster)?;
                place.cluster.clone()
            }
            Wanted::Service(service) => self.nearest(&key(&service.namespace, &service.name)?)?,
        };
        if cluster == self.own {
            // A sidecar reaches its own cluster without us.
            return Err(Reason::NoSuchEndpoint);
        }
        Ok(Target { cluster })
    }

    /// Which of our endpoints a connection from another cluster's gateway reaches.
    pub(super) fn deliver(
        &self,
        peer: &SpiffeId,
        wanted: &RelayStream,
        local: Local,
    ) -> Result<Destination, Reason> {
        let (caller, _) = self
            .federation
            .cluster_of(&peer.trust_domain)
            .ok_or(Reason::NotExported)?;
        let (service, address) = match wanted.target.as_ref().ok_or(Reason::BadPreamble)? {
            Wanted::Endpoint(id) => {
                let place = self.place(id)?;
                if place.cluster != self.own {
                    return Err(Reason::NoSuchEndpoint);
                }
                (place.service.clone(), place.address)
            }
            Wanted::Service(target) => {
                let service = key(&target.namespace, &target.name)?;
                let address = self.any_ready(&service, &target.version, wanted.port)?;
                (service, address)
            }
        };
        let offered = self
            .federation
            .service(&service)
            .and_then(|s| s.exporters.get(&self.own));
        if !offered.is_some_and(|export| export.export_to.admits(caller)) {
            return Err(Reason::NotExported);
        }
        let address = address.ok_or(Reason::NoSuchEndpoint)?;
        Ok(Destination { address, local })
    }

    fn place(&self, id: &[u8]) -> Result<&Place, Reason> {
        let id = EndpointId::from_slice(id).ok_or(Reason::BadPreamble)?;
        self.endpoints.get(&id).ok_or(Reason::NoSuchEndpoint)
    }

    fn check_visible(&self, service: &ServiceKey, cluster: &ClusterName) -> Result<(), Reason> {
        let exporter = self
            .federation
            .service(service)
            .and_then(|s| s.exporters.get(cluster));
        match exporter {
            Some(exporter) if exporter.export_to.admits(&self.own) => Ok(()),
            _ => Err(Reason::NotExported),
        }
    }

    /// The nearest other cluster that offers the service to us and has a ready endpoint.
    fn nearest(&self, service: &ServiceKey) -> Result<ClusterName, Reason> {
        let derived = self
            .federation
            .service(service)
            .ok_or(Reason::NoSuchEndpoint)?;
        let admitted = derived.exporters.iter().filter(|(cluster, exporter)| {
            **cluster != self.own && exporter.export_to.admits(&self.own)
        });
        let mut offered: BTreeMap<_, &ClusterName> = BTreeMap::new();
        let mut any = false;
        for (cluster, _) in admitted {
            any = true;
            let verdict = self
                .outlook
                .verdict(&self.federation, service, cluster, self.now);
            let ready = self
                .view
                .liveness(cluster)
                .is_some_and(|l| l.digest.ready(service) > 0);
            if verdict.traffic == Traffic::All && ready {
                let rtt = self.outlook.sight(cluster).and_then(|sight| sight.rtt);
                offered.insert((rtt.is_none(), rtt, cluster), cluster);
            }
        }
        match offered.first_key_value() {
            Some((_, cluster)) => Ok((*cluster).clone()),
            None if any => Err(Reason::NoPath),
            None => Err(Reason::NotExported),
        }
    }

    /// One of our ready endpoints of the service, each as likely as its weight.
    fn any_ready(
        &self,
        service: &ServiceKey,
        version: &str,
        port: u32,
    ) -> Result<Option<SocketAddr>, Reason> {
        let port = u16::try_from(port)
            .ok()
            .and_then(NonZeroU16::new)
            .ok_or(Reason::BadPreamble)?;
        let version = match version {
            "" => None,
            version => Some(Version::new(version).map_err(|_| Reason::BadPreamble)?),
        };
        // Who names no version meets the canary of no release: its sidecar chose no lane.
        let release = self.federation.release_for(service);
        let version = version.or_else(|| release.map(|(_, it)| it.spec.stable.clone()));
        let listed = self.view.service(service).ok_or(Reason::NoSuchEndpoint)?;
        let fit: Vec<_> = listed
            .of(&self.own)
            .filter(|e| e.health == Health::Ready && e.weight > 0)
            .filter(|e| version.is_none() || e.version == version)
            .filter(|e| e.ports.iter().any(|p| p.service_port == port))
            .collect();
        let total: u64 = fit.iter().map(|endpoint| u64::from(endpoint.weight)).sum();
        if total == 0 {
            return Err(Reason::NoSuchEndpoint);
        }
        let mut at = rand::random_range(0..total);
        for endpoint in fit {
            match at.checked_sub(u64::from(endpoint.weight)) {
                Some(rest) => at = rest,
                None => return Ok(endpoint.address),
            }
        }
        Err(Reason::NoSuchEndpoint)
    }
}

fn key(namespace: &str, name: &str) -> Result<ServiceKey, Reason> {
    let bad = |_| Reason::BadPreamble;
    Ok(ServiceKey::new(
        namespace.parse().map_err(bad)?,
        name.parse().map_err(bad)?,
    ))
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::{self, Log, name};
    use weft_model::{AppProtocol, Command, FormatLevel, ServiceType};
    use weft_plan::catalog::{Catalog, Epoch, SessionId, Timing};
    use weft_proto::peer::ServiceTarget;

    use super::*;

    const US: &str = "us-east-1";

    /// us-east-1 with one endpoint of each of two versions, the second under release to everybody.
    fn directory() -> Directory {
        let mut log = Log::founded();
        log.join(2, "eu-west-1");
        log.raise(FormatLevel::RELEASES);
        let http = fixture::export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
        log.export(1, "shop/checkout", &http);
        let mut release = fixture::release("checkout");
        release.waves.remove(0);
        let put = Command::PutRelease(name("shop/v2"), Box::new(release));
        log.accept(log.admin(), put);
        let now = Moment::default();
        let mut catalog =
            Catalog::new(name(US), name("gw"), Epoch([1; 16]), Timing::default(), now);
        for number in [1, 2] {
            let mut endpoint = crate::standin::fixture::endpoint(number, Health::Ready);
            endpoint.version = Some(name(&format!("v{number}")));
            endpoint.address = Some(SocketAddr::from(([10, 0, 0, number], 15006)));
            endpoint.sequence = 1;
            let session = SessionId([number; 16]);
            catalog.open_session(session, endpoint.identity.clone(), now);
            catalog.put(session, endpoint, &log.state, now).unwrap();
        }
        let outlook = Outlook::new(name(US), []);
        Directory::new(Arc::new(log.state), catalog.refresh().0, outlook, now)
    }

    #[test]
    fn who_names_no_version_meets_no_canary() {
        let directory = directory();
        let caller = name(&format!(
            "spiffe://eu-west-1.{}/gateway/gw",
            fixture::DOMAIN
        ));
        let reached = |version: &str| {
            let target = ServiceTarget {
                namespace: "shop".into(),
                name: "checkout".into(),
                version: version.into(),
            };
            let wanted = RelayStream {
                target: Some(Wanted::Service(target)),
                port: 80,
                ..RelayStream::default()
            };
            let reached = directory.deliver(&caller, &wanted, Local::Allow);
            reached.map(|destination| destination.address.ip().to_string())
        };
        for _ in 0..50 {
            assert_eq!(reached("").as_deref(), Ok("10.0.0.1"));
            assert_eq!(reached("v2").as_deref(), Ok("10.0.0.2"));
        }
        assert_eq!(reached("v3"), Err(Reason::NoSuchEndpoint));
    }
}
