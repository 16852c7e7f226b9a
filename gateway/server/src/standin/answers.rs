//! Which addresses a gateway answers on for clients without a sidecar, and what
//! connections to them mean. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use weft_decide::{Backend, Lane, Scope, ServiceRoutes, ServiceTable};
use weft_model::ServiceKey;
use weft_plan::dns;
use weft_proxy::Hint;

/// An address that names of this cluster answer with beside the services' own
/// virtual IPs: for one cluster, one region or one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The service that it is for.
    pub service: ServiceKey,
    /// The part of it.
    pub scope: Scope,
}

impl Address {
    /// An address that DNS gave out.
    pub fn new(ip: IpAddr, target: &dns::Target) -> Self {
        let scope = match target {
            dns::Target::Service(_, dns::Scope::Federation) => Scope::Any,
            dns::Target::Service(_, dns::Scope::Cluster(cluster)) => {
                Scope::Cluster(cluster.clone())
            }
            dns::Target::Service(_, dns::Scope::Region(region)) => Scope::Region(region.clone()),
            dns::Target::Endpoint(_, _, id) => Scope::Endpoint(*id),
        };
        Self {
            ip,
            service: target.service().clone(),
            scope,
        }
    }

    /// All addresses that `zones` answer with.
    pub fn of(zones: &dns::Zones) -> Vec<Self> {
        let targets = zones.targets();
        targets.map(|(ip, target)| Self::new(ip, target)).collect()
    }
}

/// Every address and port to answer on: the virtual IPs of `table`'s services,
/// and `addresses`.
pub(super) fn wanted(table: &ServiceTable, addresses: &[Address]) -> BTreeMap<SocketAddr, Hint> {
    let own = table.services().flat_map(|service| {
        let ips = service.virtual_ips().iter();
        ips.flat_map(|ip| answers(*ip, service, &Scope::Any))
    });
    let others = addresses.iter().flat_map(|address| {
        let service = table.service(&address.service).into_iter();
        service.flat_map(|service| answers(address.ip, service, &address.scope))
    });
    own.chain(others).collect()
}

/// Whether any endpoint takes work for `hint`.
pub(super) fn is_served(table: &ServiceTable, hint: &Hint) -> bool {
    let found = table.service(&hint.service);
    found.is_some_and(|service| {
        let port = service.port(hint.port);
        port.is_some_and(|port| {
            let itself = Backend {
                service,
                port,
                scope: hint.scope.clone(),
            };
            // Somebody's lane: the canary's falls back to the stable one.
            let release = service.spec().release.as_ref();
            let lane = release.map_or(Lane::Any, |it| Lane::Canary { run: it.run });
            let mut candidates = itself.candidates(table, lane, |_| false);
            // Rules may send its requests elsewhere, and say so if they cannot.
            port.rules.is_some() || candidates.any(|(_, verdict)| verdict.is_ok())
        })
    })
}

fn answers<'a>(
    ip: IpAddr,
    service: &'a ServiceRoutes,
    scope: &'a Scope,
) -> impl Iterator<Item = (SocketAddr, Hint)> + 'a {
    service.ports().iter().map(move |routes| {
        let port = routes.port.port;
        let hint = Hint {
            service: service.key().clone(),
            port,
            scope: scope.clone(),
        };
        (SocketAddr::new(ip, port.get()), hint)
    })
}

/// What turns the open listeners into the wanted ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerPlan {
    /// To be closed.
    pub close: Vec<SocketAddr>,
    /// To be opened.
    pub open: Vec<(SocketAddr, Hint)>,
    /// Open, but new connections to it mean something else from now on.
    pub retarget: Vec<(SocketAddr, Hint)>,
}

/// Compares what is open with what is wanted. An address that could not be
/// opened is not in `current`, and so is tried again.
pub fn plan_listeners(
    current: &BTreeMap<SocketAddr, Hint>,
    wanted: &BTreeMap<SocketAddr, Hint>,
) -> ListenerPlan {
    let close = current.keys().filter(|at| !wanted.contains_key(at));
    let mut plan = ListenerPlan {
        close: close.copied().collect(),
        ..ListenerPlan::default()
    };
    for (at, hint) in wanted {
        match current.get(at) {
            None => plan.open.push((*at, hint.clone())),
            Some(known) if known != hint => plan.retarget.push((*at, hint.clone())),
            Some(_) => {}
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use weft_model::fixture::name;

    use super::*;

    fn hint(service: &str) -> Hint {
        Hint {
            service: name(service),
            port: NonZeroU16::new(80).unwrap(),
            scope: Scope::Any,
        }
    }

    fn check(current: &[(&str, &str)], wanted: &[(&str, &str)], expect: &str) {
        let map = |rows: &[(&str, &str)]| -> BTreeMap<SocketAddr, Hint> {
            let row = |(at, service): &(&str, &str)| (at.parse().unwrap(), hint(service));
            rows.iter().map(row).collect()
        };
        let plan = plan_listeners(&map(current), &map(wanted));
        let close = plan.close.iter().map(|at| format!("-{at}"));
        let open = plan
            .open
            .iter()
            .map(|(at, to)| format!("+{at}={}", to.service));
        let turn = plan.retarget.iter();
        let turn = turn.map(|(at, to)| format!("~{at}={}", to.service));
        let told: Vec<String> = close.chain(open).chain(turn).collect();
        assert_eq!(told.join(" "), expect);
    }

    #[test]
    fn a_plan_opens_closes_and_turns_only_what_differs() {
        let (a, b) = ("127.64.0.1:80", "127.64.0.2:80");
        check(&[], &[], "");
        check(&[], &[(a, "shop/a")], "+127.64.0.1:80=shop/a");
        check(&[(a, "shop/a")], &[(a, "shop/a")], "");
        check(&[(a, "shop/a")], &[], "-127.64.0.1:80");
        check(&[(a, "shop/a")], &[(a, "shop/b")], "~127.64.0.1:80=shop/b");
        check(
            &[(a, "shop/a")],
            &[(b, "shop/b")],
            "-127.64.0.1:80 +127.64.0.2:80=shop/b",
        );
    }

    #[test]
    fn what_dns_gives_out_keeps_its_meaning() {
        let ip = IpAddr::from([127, 64, 8, 1]);
        let service: ServiceKey = name("shop/checkout");
        let scope = |target| Address::new(ip, &target).scope;
        let of = |scope| dns::Target::Service(service.clone(), scope);
        assert_eq!(scope(of(dns::Scope::Federation)), Scope::Any);
        assert_eq!(
            scope(of(dns::Scope::Region(name("eu-west")))),
            Scope::Region(name("eu-west"))
        );
        let id = weft_model::EndpointId([7; 16]);
        let one = dns::Target::Endpoint(service.clone(), name("eu-west-1"), id);
        assert_eq!(scope(one), Scope::Endpoint(id));
    }
}
