//! What an explanation says is what happens: for random tables and requests, the endpoints
//! called candidates are those that picks return, and no others; the rule said to count is
//! the one that does; the backends named are those that are drawn.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use weft_model::{
    AppProtocol, EndpointId, Health, Index, RouteSpec, ServicePort, TransportProtocol,
    spec_from_json,
};

use crate::fixture::{Draft, PORT, endpoint, place, remote, routes};
use crate::{
    Backend, Balancer, Demand, HeaderList, Lane, Outcome, OutlierConfig, PathState, Reason,
    RequestHead, Rng, Route, RouteSource, RuleTable, ServiceRoutes, ServiceTable, Tick, find,
    rules_of,
};

const TABLES: u64 = 10_000;
const REQUESTS: usize = 10;
const OTHER_PORT: NonZeroU16 = NonZeroU16::new(9090).unwrap();

#[test]
fn a_hundred_thousand_explanations_agree_with_the_decision() {
    let mut seen = Seen::default();
    for seed in 0..TABLES {
        let mut world = World::new(seed);
        let table = world.table();
        for _ in 0..REQUESTS {
            world.check(&table, &mut seen);
        }
    }
    // A generator that meets only one side of a choice shows nothing about the other.
    let Seen {
        requests,
        refused,
        ruled,
        chosen,
        empty,
        ejected,
    } = seen;
    assert_eq!(requests, 100_000);
    for (what, count) in [
        ("refused", refused),
        ("under a rule", ruled),
        ("answered by endpoints", chosen),
        ("without endpoints", empty),
        ("with some ejected", ejected),
    ] {
        assert!(count > 2_000, "only {count} of {requests} were {what}");
    }
}

/// How many requests met what.
#[derive(Debug, Default)]
struct Seen {
    requests: u32,
    refused: u32,
    ruled: u32,
    chosen: u32,
    empty: u32,
    ejected: u32,
}

/// What tables and requests are drawn from.
struct World {
    rng: Rng,
    /// Of one cluster, in percent.
    ceiling: u8,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::seeded(seed),
            ceiling: [0, 20, 100][(seed % 3) as usize],
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).unwrap()
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn table(&mut self) -> ServiceTable {
        let names = ["checkout", "cart", "payments"];
        let services = 1 + self.below(3);
        let services: Vec<_> = names[..services]
            .iter()
            .map(|name| Arc::new(self.service(name)))
            .collect();
        ServiceTable::new(place(), Index(1), services)
    }

    fn service(&mut self, name: &str) -> ServiceRoutes {
        let count = self.below(8);
        let drafts: Vec<Draft> = (0..count).map(|n| self.endpoint(n)).collect();
        let template = routes(drafts);
        let mut spec = template.spec().clone();
        spec.key = format!("shop/{name}").parse().unwrap();
        if name != "checkout" {
            spec.virtual_ips.clear();
        }
        if self.below(8) == 0 {
            spec.identities.clear();
        }
        if self.below(8) == 0 {
            spec.ports[0].app_protocol = AppProtocol::Tcp;
        }
        if self.below(3) == 0 {
            spec.ports.push(ServicePort {
                name: None,
                protocol: TransportProtocol::Tcp,
                app_protocol: AppProtocol::Http,
                port: OTHER_PORT,
            });
        }
        let routes = self.below(3);
        spec.routes = (0..routes).map(|n| self.route(name, n)).collect();
        ServiceRoutes::new(spec, &place(), template.endpoints().iter().cloned())
    }

    fn endpoint(&mut self, n: usize) -> Draft {
        let mut draft = endpoint(u32::try_from(n).unwrap()).weight(self.one(&[0, 1, 1, 2, 100]));
        draft = match self.below(8) {
            0 => draft.health(Health::NotReady),
            1 => draft.health(Health::Draining),
            2 => draft.account("cart"),
            3 => draft.port(OTHER_PORT.get()),
            _ => draft,
        };
        match self.below(6) {
            0 => draft.zone("b"),
            1 => draft.address(None),
            2 => remote(draft, "eu-west-2", "eu-west", 8),
            3 => remote(draft, "us-east-1", "us-east", 80).max_share(self.ceiling),
            4 => remote(draft, "ap-south-1", "ap-south", 140).path(self.one(&[
                PathState::Up,
                PathState::Down,
                PathState::Draining,
                PathState::Lapsed,
            ])),
            _ => draft,
        }
    }

    fn route(&mut self, service: &str, n: usize) -> RouteSource {
        let rules: Vec<String> = (0..=self.below(2)).map(|_| self.rule()).collect();
        let port = self.one(&["", r#","port":8080"#, r#","port":9090"#]);
        let json = format!(
            r#"{{"parentRefs":[{{"name":"{service}"{port}}}],"rules":[{}]}}"#,
            rules.join(",")
        );
        let spec: RouteSpec = spec_from_json(json.as_bytes()).unwrap();
        RouteSource {
            name: format!("shop/r{n}").parse().unwrap(),
            created: Index(self.rng.below(2)),
            spec: Arc::new(spec),
        }
    }

    fn rule(&mut self) -> String {
        let backends: Vec<String> = (0..self.below(4))
            .map(|_| {
                let name = self.one(&["checkout", "cart", "payments", "nobody"]);
                let weight = self.below(3);
                let port = self.one(&["", r#","port":9090"#]);
                format!(r#"{{"name":"{name}","weight":{weight}{port}}}"#)
            })
            .collect();
        let matches = self.one(&[
            "",
            r#"{"path":{"type":"Exact","value":"/a"}}"#,
            r#"{"path":{"type":"PathPrefix","value":"/a"}}"#,
            r#"{"method":"POST"}"#,
            r#"{"headers":[{"name":"x-a","value":"1"}]}"#,
        ]);
        format!(
            r#"{{"matches":[{matches}],"backendRefs":[{}]}}"#,
            backends.join(",")
        )
    }

    fn check(&mut self, table: &ServiceTable, seen: &mut Seen) {
        let authority = self.one(&[
            "checkout.shop",
            "checkout.shop:9090",
            "cart.shop.svc.clusterset.local",
            "checkout.shop.svc.us-east-1.cluster.weft.internal",
            "checkout.shop.svc.eu-west.region.weft.internal",
            "payments.shop.svc.ap-south.region.weft.internal",
            "240.0.0.7",
            "nobody.shop",
            "checkout.shop:1",
        ]);
        let fields = self.one(&[&[][..], &[("X-A", "1")]]);
        let head = RequestHead {
            method: self.one(&["GET", "GET", "POST", "CONNECT"]),
            authority,
            path: self.one(&["/", "/a", "/a/b", "/b"]),
            port_default: PORT,
            headers: &HeaderList(fields),
        };
        seen.requests += 1;
        match find(table, &head) {
            Err(reason) => {
                seen.refused += 1;
                explained_refusal(table, &head, reason);
            }
            Ok(route) => self.check_route(table, &head, &route, seen),
        }
    }

    fn check_route(
        &mut self,
        table: &ServiceTable,
        head: &RequestHead<'_>,
        route: &Route<'_>,
        seen: &mut Seen,
    ) {
        let Some(matched) = &route.matched else {
            let itself = route.backend(table, &mut self.rng).unwrap();
            assert_eq!(itself.service.key(), route.service.key(), "{head:?}");
            return self.check_endpoints(table, &itself, seen);
        };
        seen.ruled += 1;
        let rules = route.port.rules.as_ref().unwrap();
        let counts = counting(rules, head).unwrap();
        assert!(Arc::ptr_eq(counts, matched.rule), "{head:?}");
        // An explanation goes through the backends that have a weight.
        let named: BTreeSet<_> = (matched.rule.spec.backend_refs.iter())
            .filter(|backend| backend.weight > 0)
            .map(|backend| outcome(route.refer(table, backend)))
            .collect();
        let mut drawn = BTreeSet::new();
        for _ in 0..16 {
            drawn.insert(outcome(route.backend(table, &mut self.rng)));
        }
        match named.is_empty() {
            true => assert_eq!(drawn, [Err(Reason::NoBackend)].into(), "{head:?}"),
            false => assert!(drawn.is_subset(&named), "{drawn:?} of {named:?}: {head:?}"),
        }
        if let Ok(backend) = route.backend(table, &mut self.rng) {
            self.check_endpoints(table, &backend, seen);
        }
    }

    /// Picks until nobody is left: that is who may be picked.
    fn check_endpoints(&mut self, table: &ServiceTable, backend: &Backend<'_>, seen: &mut Seen) {
        let config = OutlierConfig {
            ejection_percent_max: 100,
            ..OutlierConfig::default()
        };
        let mut picker = Picker {
            balancer: Balancer::new(config),
            backend,
            rng: Rng::seeded(self.rng.next_u64()),
        };
        let candidates = picker.candidates(table);
        let picked = picker.all();
        assert_eq!(picked.iter().copied().collect::<BTreeSet<_>>(), candidates);
        match candidates.is_empty() {
            true => seen.empty += 1,
            false => seen.chosen += 1,
        }
        let bad: Vec<_> = picked.into_iter().filter(|_| self.below(3) == 0).collect();
        bad.iter().for_each(|id| picker.fail(*id));
        let left = picker.candidates(table);
        if left.len() == candidates.len() {
            return;
        }
        seen.ejected += 1;
        // Those ejected are asked after all others, as candidates are while there are any.
        let picked = picker.all();
        let (first, last) = picked.split_at(left.len());
        assert_eq!(first.iter().copied().collect::<BTreeSet<_>>(), left);
        assert!(last.iter().all(|id| picker.balancer.is_ejected(*id)));
    }
}

/// The rule that an explanation says counts.
fn counting<'t>(rules: &'t RuleTable, head: &'t RequestHead<'_>) -> Option<&'t Arc<crate::Rule>> {
    let mut explained = rules.explain(head);
    let counts = explained.find(|(_, _, verdict)| verdict.is_ok());
    counts.map(|(rule, _, _)| rule)
}

/// A request is refused for want of a rule exactly if every one of them is explained away.
fn explained_refusal(table: &ServiceTable, head: &RequestHead<'_>, reason: Reason) {
    let judged = rules_of(table, head).map(|rules| counting(rules, head).is_none());
    match reason {
        Reason::NoRule => assert_eq!(judged, Some(true), "{head:?}"),
        Reason::NoRoute | Reason::NoSuchPort => assert_eq!(judged, None, "{head:?}"),
        other => panic!("{other}: {head:?}"),
    }
}

fn outcome(backend: Result<Backend<'_>, Reason>) -> Result<(String, NonZeroU16), Reason> {
    backend.map(|backend| (backend.service.key().to_string(), backend.port.port.port))
}

/// One worker's balancer at work on one backend.
struct Picker<'b> {
    balancer: Balancer,
    backend: &'b Backend<'b>,
    rng: Rng,
}

impl Picker<'_> {
    fn candidates(&self, table: &ServiceTable) -> BTreeSet<EndpointId> {
        let ejected = |id| self.balancer.is_ejected(id);
        self.backend
            .candidates(table, Lane::Any, ejected)
            .filter(|(_, verdict)| verdict.is_ok())
            .map(|(view, _)| view.endpoint.id)
            .collect()
    }

    /// All who can be picked, each as the one after those before it were tried.
    fn all(&mut self) -> Vec<EndpointId> {
        let (service, port) = (self.backend.service, self.backend.port.port.port);
        let mut tried = Vec::new();
        loop {
            let demand = Demand {
                port,
                scope: &self.backend.scope,
                lane: Lane::Any,
                tried: &tried,
            };
            let now = Tick::default();
            let picked = self.balancer.pick(service, &demand, now, &mut self.rng);
            match picked {
                Ok(view) => tried.push(view.endpoint.id),
                Err(reason) => {
                    assert_eq!(reason, Reason::NoEndpoints);
                    return tried;
                }
            }
        }
    }

    /// It fails until it would be ejected.
    fn fail(&mut self, id: EndpointId) {
        for _ in 0..5 {
            self.balancer.on_start(id);
            let _ = self.balancer.on_response(
                id,
                Outcome::ServerError,
                Duration::from_millis(1),
                Tick::default(),
            );
        }
    }
}
