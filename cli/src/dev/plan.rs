//! What runs where: names, addresses and what calls what. Pure.
//!
//! Cluster *n* has the loopback net 127.*n*: gateway *i* is 127.*n*.0.*i*, workload
//! *j* is 127.*n*.1.*j*, and each listens on the ports it would have on a host of
//! its own, so that what is seen here is what is deployed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use weft_model::{ClusterName, FederationDomain, GatewayName, RegionName, ServiceKey, Version};

use super::options::{Options, WanMode};

/// The federation's domain.
const DOMAIN: &str = "dev.weft.internal";
/// Where each sample serves.
const APP_PORT: u16 = 8080;
/// Nothing listens there: the planted fault.
const WRONG_APP_PORT: u16 = 8081;

/// The federation, in the order in which it comes up: the first gateway of the
/// first cluster founds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) domain: FederationDomain,
    pub(crate) clusters: Vec<ClusterPlan>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterPlan {
    pub(crate) name: ClusterName,
    pub(crate) region: RegionName,
    /// Its range of virtual IPs.
    pub(crate) virtual_ips: ipnet::Ipv4Net,
    pub(crate) gateways: Vec<GatewayPlan>,
    pub(crate) workloads: Vec<WorkloadPlan>,
}

/// One gateway process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewayPlan {
    pub(crate) cluster: ClusterName,
    pub(crate) name: GatewayName,
    pub(crate) tunnel: SocketAddr,
    /// Where others dial its tunnel port across the emulated network; none without one.
    pub(crate) front: Option<SocketAddr>,
    pub(crate) api: SocketAddr,
    pub(crate) relay: SocketAddr,
    pub(crate) stand_in: SocketAddr,
    pub(crate) dns: SocketAddr,
    pub(crate) console: SocketAddr,
    /// How long the certificates live that it issues; none: as long as by default.
    pub(crate) leaf_lifetime: Option<Duration>,
}

/// One sample service's process, and the sidecar beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkloadPlan {
    pub(crate) cluster: ClusterName,
    pub(crate) service: ServiceKey,
    pub(crate) version: Version,
    /// The services it calls for each request, by their HTTP addresses.
    pub(crate) upstreams: &'static [&'static str],
    /// Where the sample listens.
    pub(crate) app: SocketAddr,
    /// Where its sidecar is told that the sample listens.
    pub(crate) registered_port: u16,
    pub(crate) outbound: SocketAddr,
    pub(crate) inbound: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// A sample of the shop: the last octet of its address, its service, version and upstreams.
struct Sample {
    host: u8,
    service: &'static str,
    version: &'static str,
    upstreams: &'static [&'static str],
}

const WEB: Sample = Sample {
    host: 1,
    service: "shop/web",
    version: "v1",
    upstreams: &["http://checkout.shop/", "http://catalog.shop/"],
};
const CHECKOUT_V1: Sample = Sample {
    host: 2,
    service: "shop/checkout",
    version: "v1",
    upstreams: &["http://payments.shop/"],
};
const PAYMENTS: Sample = Sample {
    host: 3,
    service: "shop/payments",
    version: "v1",
    upstreams: &[],
};
const CATALOG: Sample = Sample {
    host: 4,
    service: "shop/catalog",
    version: "v1",
    upstreams: &[],
};
const CHECKOUT_V2: Sample = Sample {
    host: 5,
    version: "v2",
    ..CHECKOUT_V1
};

/// A cluster before its addresses are worked out.
struct Site {
    net: u8,
    cluster: &'static str,
    region: &'static str,
    gateways: u8,
    samples: &'static [Sample],
    /// The service that is registered with a port on which nothing listens.
    fault: Option<&'static str>,
}

/// Payments are missing in ap-south-1, so that its checkout has to cross regions.
const SITES: &[Site] = &[
    Site {
        net: 1,
        cluster: "us-east-1",
        region: "us-east",
        gateways: 2,
        samples: &[WEB, CHECKOUT_V1, PAYMENTS, CATALOG, CHECKOUT_V2],
        fault: None,
    },
    Site {
        net: 2,
        cluster: "eu-west-1",
        region: "eu-west",
        gateways: 1,
        samples: &[WEB, CHECKOUT_V1, PAYMENTS, CATALOG, CHECKOUT_V2],
        fault: None,
    },
    Site {
        net: 3,
        cluster: "ap-south-1",
        region: "ap-south",
        gateways: 1,
        samples: &[WEB, CHECKOUT_V1, CATALOG],
        fault: Some("shop/catalog"),
    },
];

impl Plan {
    /// Works out the federation.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            domain: known(DOMAIN),
            clusters: SITES.iter().map(|site| site.plan(options)).collect(),
        }
    }

    /// The cluster of that name.
    pub(crate) fn cluster(&self, name: &ClusterName) -> Option<&ClusterPlan> {
        self.clusters.iter().find(|cluster| cluster.name == *name)
    }

    /// Every gateway, the founder first.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = &GatewayPlan> {
        self.clusters.iter().flat_map(|cluster| &cluster.gateways)
    }

    /// Every workload.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &WorkloadPlan> {
        self.clusters.iter().flat_map(|cluster| &cluster.workloads)
    }

    /// The gateway that founds the federation.
    pub(crate) fn founder(&self) -> &GatewayPlan {
        let first = self.gateways().next();
        first.expect("SITES begins with a cluster that has a gateway")
    }
}

impl ClusterPlan {
    /// The services that its workloads serve, each once, in the order of workloads.
    pub(crate) fn services(&self) -> Vec<&ServiceKey> {
        let mut services: Vec<&ServiceKey> = Vec::new();
        for workload in &self.workloads {
            if !services.contains(&&workload.service) {
                services.push(&workload.service);
            }
        }
        services
    }
}

impl GatewayPlan {
    /// `us-east-1/gw-1`.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.cluster, self.name)
    }
}

impl WorkloadPlan {
    /// Its folder within its cluster's: `checkout-v1`.
    pub(crate) fn short_name(&self) -> String {
        format!("{}-{}", self.service.name, self.version)
    }

    /// `us-east-1/checkout-v1`.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.cluster, self.short_name())
    }
}

impl Site {
    fn plan(&self, options: &Options) -> ClusterPlan {
        let range = Ipv4Addr::new(127, 63 + self.net, 0, 0);
        ClusterPlan {
            name: known(self.cluster),
            region: known(self.region),
            virtual_ips: ipnet::Ipv4Net::new_assert(range, 16),
            gateways: (1..=options.gateways.unwrap_or(self.gateways))
                .map(|number| self.gateway(number, options))
                .collect(),
            workloads: self
                .samples
                .iter()
                .map(|sample| self.workload(sample))
                .collect(),
        }
    }

    fn gateway(&self, number: u8, options: &Options) -> GatewayPlan {
        let at = |port| SocketAddr::new(self.address(0, number), port);
        GatewayPlan {
            cluster: known(self.cluster),
            name: known(&format!("gw-{number}")),
            tunnel: at(7443),
            front: (options.wan == WanMode::On).then(|| at(17443)),
            api: at(7444),
            relay: at(7445),
            stand_in: at(7446),
            dns: at(options.dns_port),
            console: at(7480),
            leaf_lifetime: options.leaf_lifetime,
        }
    }

    fn workload(&self, sample: &Sample) -> WorkloadPlan {
        let at = |port| SocketAddr::new(self.address(1, sample.host), port);
        let faulty = self.fault == Some(sample.service);
        WorkloadPlan {
            cluster: known(self.cluster),
            service: known(sample.service),
            version: known(sample.version),
            upstreams: sample.upstreams,
            app: at(APP_PORT),
            registered_port: if faulty { WRONG_APP_PORT } else { APP_PORT },
            outbound: at(15001),
            inbound: at(15006),
            admin: at(15020),
        }
    }

    fn address(&self, third: u8, last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, self.net, third, last))
    }
}

/// A name written in this file.
fn known<T: FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    name.parse().expect("names in this file are well formed")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_plan_is_the_documented_one() {
        let plan = Plan::new(&Options::default());
        let regions: Vec<&str> = plan.clusters.iter().map(|c| c.region.as_str()).collect();
        assert_eq!(regions, ["us-east", "eu-west", "ap-south"]);
        assert_eq!(plan.founder().id(), "us-east-1/gw-1");
        assert_eq!(plan.founder().api.to_string(), "127.1.0.1:7444");
        assert_eq!(plan.gateways().count(), 4);
        assert_eq!(plan.workloads().count(), 13);
        let ranges: Vec<String> = plan
            .clusters
            .iter()
            .map(|c| c.virtual_ips.to_string())
            .collect();
        assert_eq!(ranges, ["127.64.0.0/16", "127.65.0.0/16", "127.66.0.0/16"]);
    }

    #[test]
    fn no_address_is_used_twice() {
        let plan = Plan::new(&Options::default());
        let mut seen = BTreeSet::new();
        let gateways = plan.gateways().flat_map(|g| {
            [g.tunnel, g.api, g.relay, g.stand_in, g.dns, g.console]
                .into_iter()
                .chain(g.front)
        });
        let workloads = plan
            .workloads()
            .flat_map(|w| [w.app, w.outbound, w.inbound, w.admin]);
        for address in gateways.chain(workloads) {
            assert!(seen.insert(address), "{address} twice");
        }
    }

    #[test]
    fn one_workload_is_registered_wrongly() {
        let plan = Plan::new(&Options::default());
        let faulty: Vec<String> = plan
            .workloads()
            .filter(|workload| workload.registered_port != workload.app.port())
            .map(WorkloadPlan::id)
            .collect();
        assert_eq!(faulty, ["ap-south-1/catalog-v1"]);
    }

    #[test]
    fn payments_are_in_two_clusters_and_checkout_has_two_versions() {
        let plan = Plan::new(&Options::default());
        let count = |id: &str| plan.workloads().filter(|w| w.id().ends_with(id)).count();
        assert_eq!(count("/payments-v1"), 2);
        assert_eq!(count("/checkout-v1"), 3);
        assert_eq!(count("/checkout-v2"), 2);
        assert_eq!(plan.clusters[0].services().len(), 4);
    }

    #[test]
    fn options_shape_the_plan() {
        let options = Options {
            wan: WanMode::Off,
            dns_port: 53,
            gateways: Some(2),
            leaf_lifetime: None,
        };
        let plan = Plan::new(&options);
        assert!(plan.gateways().all(|gateway| gateway.front.is_none()));
        assert!(plan.gateways().all(|gateway| gateway.dns.port() == 53));
        assert_eq!(plan.gateways().count(), 6);
    }
}
