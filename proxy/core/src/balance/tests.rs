use std::collections::BTreeMap;

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_assert_ne, proptest};

use super::*;
use weft_model::Health;

use crate::fixture::{Draft, PORT, endpoint, id, remote, routes, routes_with};
use crate::{PathState, Rng};

/// A request that no release concerns.
fn demand<'a>(scope: &'a Scope, tried: &'a [EndpointId]) -> Demand<'a> {
    Demand {
        port: PORT,
        scope,
        lane: Lane::Any,
        tried,
    }
}

/// A closed-loop simulation: `clients` requests are always under way.
struct Sim {
    balancer: Balancer,
    routes: Arc<ServiceRoutes>,
    rng: Rng,
    now: Tick,
}

impl Sim {
    fn new(endpoints: impl IntoIterator<Item = Draft>, seed: u64) -> Self {
        Self {
            balancer: Balancer::new(OutlierConfig::default()),
            routes: Arc::new(routes(endpoints)),
            rng: Rng::seeded(seed),
            now: Tick::default(),
        }
    }

    fn pick(&mut self) -> Result<EndpointId, Reason> {
        self.pick_untried(&[])
    }

    fn pick_untried(&mut self, tried: &[EndpointId]) -> Result<EndpointId, Reason> {
        self.balancer
            .pick(
                &self.routes,
                &demand(&Scope::Any, tried),
                self.now,
                &mut self.rng,
            )
            .map(|view| view.endpoint.id)
    }

    fn respond(&mut self, id: EndpointId, outcome: Outcome) -> Option<Ejected> {
        self.balancer.on_start(id);
        self.balancer
            .on_response(id, outcome, Duration::from_millis(1), self.now)
    }

    fn advance(&mut self, span: Duration) {
        self.now = self.now.after(span);
    }

    /// Share per endpoint of `requests`, each taking `latency(endpoint, chance)`.
    fn run(
        &mut self,
        clients: usize,
        requests: usize,
        latency: impl Fn(EndpointId, f64) -> Duration,
    ) -> BTreeMap<EndpointId, f64> {
        let mut under_way: BTreeMap<(Tick, usize), (EndpointId, Tick)> = BTreeMap::new();
        let mut shares = BTreeMap::new();
        for n in 0..requests {
            if under_way.len() == clients {
                let ((end, _), (id, start)) = under_way.pop_first().unwrap();
                self.now = end;
                self.balancer
                    .on_response(id, Outcome::Success, end.since(start), end);
            }
            let id = self.pick().unwrap();
            self.balancer.on_start(id);
            let chance = self.rng.below(1 << 20) as f64 / f64::from(1u32 << 20);
            under_way.insert((self.now.after(latency(id, chance)), n), (id, self.now));
            *shares.entry(id).or_insert(0.0) += 1.0 / requests as f64;
        }
        shares
    }
}

/// Exponential with this mean, in milliseconds.
fn exponential(mean_ms: f64, chance: f64) -> Duration {
    Duration::from_secs_f64(-(1.0 - chance).ln() * mean_ms / 1e3)
}

#[test]
fn equal_endpoints_get_equal_shares() {
    for (count, clients) in [(2u32, 1), (3, 1), (3, 16), (10, 16), (10, 64)] {
        let mut sim = Sim::new((1..=count).map(endpoint), 7);
        let shares = sim.run(clients, 200_000, |_, chance| exponential(5.0, chance));
        let fair = 1.0 / f64::from(count);
        for (id, share) in &shares {
            assert!(
                (share / fair - 1.0).abs() < 0.2,
                "{id}: {share:.3} of {fair:.3} with {clients} clients"
            );
        }
    }
}

#[test]
fn a_slow_endpoint_gets_less() {
    let mut sim = Sim::new((1..=4).map(endpoint), 7);
    let slow = id(4);
    let shares = sim.run(16, 100_000, |id, chance| {
        exponential(if id == slow { 50.0 } else { 5.0 }, chance)
    });
    assert!(shares[&slow] < 0.08, "{shares:?}");
}

#[test]
fn weights_steer_shares() {
    let mut sim = Sim::new(
        [
            endpoint(1).weight(300),
            endpoint(2),
            endpoint(3),
            endpoint(4),
        ],
        7,
    );
    let shares = sim.run(32, 100_000, |_, chance| exponential(5.0, chance));
    assert!((shares[&id(1)] - 0.5).abs() < 0.1, "{shares:?}");
}

#[test]
fn five_server_errors_in_a_row_eject_for_30_s_then_60_s() {
    let mut sim = Sim::new((1..=3).map(endpoint), 7);
    let bad = id(2);
    for (round, span) in [(1, 30), (2, 60)] {
        sim.pick().unwrap();
        for _ in 0..4 {
            assert_eq!(sim.respond(bad, Outcome::ServerError), None);
        }
        let ejected = sim.respond(bad, Outcome::ServerError).unwrap();
        let span = Duration::from_secs(span);
        assert_eq!(ejected.until, sim.now.after(span), "round {round}");
        for _ in 0..100 {
            assert_ne!(sim.pick(), Ok(bad));
        }
        sim.advance(span);
        sim.pick().unwrap();
        assert!(!sim.balancer.is_ejected(bad));
    }
}

#[test]
fn a_success_breaks_the_row() {
    let mut sim = Sim::new((1..=3).map(endpoint), 7);
    sim.pick().unwrap();
    for _ in 0..20 {
        for _ in 0..4 {
            assert_eq!(sim.respond(id(1), Outcome::LocalOrigin), None);
        }
        assert_eq!(sim.respond(id(1), Outcome::Success), None);
    }
}

#[test]
fn a_tenth_but_at_least_one_may_be_ejected() {
    for (count, expect) in [(2, 1), (9, 1), (20, 2), (35, 3)] {
        let mut sim = Sim::new((1..=count).map(endpoint), 7);
        sim.pick().unwrap();
        let mut ejected = 0;
        for n in 1..=count {
            for _ in 0..5 {
                ejected += usize::from(sim.respond(id(n), Outcome::LocalOrigin).is_some());
            }
        }
        assert_eq!(ejected, expect, "of {count}");
    }
}

#[test]
fn the_only_endpoint_serves_even_when_ejected() {
    let mut sim = Sim::new([endpoint(1)], 7);
    sim.pick().unwrap();
    for _ in 0..5 {
        sim.respond(id(1), Outcome::ServerError);
    }
    assert!(sim.balancer.is_ejected(id(1)));
    assert_eq!(sim.pick(), Ok(id(1)));
}

#[test]
fn the_next_level_serves_when_the_nearest_is_ejected_or_tried() {
    let far = || remote(endpoint(2), "us-east-1", "us-east", 80);
    let mut sim = Sim::new([endpoint(1), far()], 7);
    assert_eq!(sim.pick(), Ok(id(1)));
    assert_eq!(sim.pick_untried(&[id(1)]), Ok(id(2)));
    assert_eq!(sim.pick_untried(&[id(1), id(2)]), Err(Reason::NoEndpoints));
    for _ in 0..5 {
        sim.respond(id(1), Outcome::LocalOrigin);
    }
    assert_eq!(sim.pick(), Ok(id(2)));
}

#[test]
fn a_scope_leaves_other_clusters_out() {
    let mut sim = Sim::new(
        [
            endpoint(1),
            remote(endpoint(2), "us-east-1", "us-east", 80),
            remote(endpoint(3), "ap-south-1", "ap-south", 140),
        ],
        7,
    );
    let routes = Arc::clone(&sim.routes);
    let mut pick = |scope: Scope| {
        sim.balancer
            .pick(&routes, &demand(&scope, &[]), sim.now, &mut sim.rng)
            .map(|view| view.endpoint.id)
    };
    let cluster = |name: &str| Scope::Cluster(name.parse().unwrap());
    let region = |name: &str| Scope::Region(name.parse().unwrap());
    assert_eq!(pick(cluster("eu-west-1")), Ok(id(1)));
    assert_eq!(pick(cluster("us-east-1")), Ok(id(2)));
    assert_eq!(pick(region("ap-south")), Ok(id(3)));
    assert_eq!(pick(region("eu-west")), Ok(id(1)));
    assert_eq!(pick(cluster("mars-1")), Err(Reason::NoEndpoints));
}

#[test]
fn what_was_learnt_survives_a_new_snapshot() {
    let mut sim = Sim::new((1..=3).map(endpoint), 7);
    sim.pick().unwrap();
    for _ in 0..5 {
        sim.respond(id(3), Outcome::ServerError);
    }
    sim.routes = Arc::new(routes((2..=5).map(endpoint)));
    for _ in 0..100 {
        assert_ne!(sim.pick(), Ok(id(3)));
    }
    assert!(sim.balancer.is_ejected(id(3)));
    sim.advance(Duration::from_secs(30));
    sim.pick().unwrap();
    assert!(!sim.balancer.is_ejected(id(3)));
}

#[test]
fn a_share_spills_to_the_next_level_and_comes_back() {
    let far = || remote(endpoint(9), "us-east-1", "us-east", 80);
    let local = |ready: u32| {
        (1..=10).map(move |n| match n <= ready {
            true => endpoint(n),
            false => endpoint(n).health(Health::NotReady),
        })
    };
    for (ready, expect) in [(10, 1.0), (8, 1.0), (5, 0.7), (2, 0.28), (0, 0.0), (9, 1.0)] {
        let all = local(ready).chain([far_of(far())]);
        let mut sim = Sim::new(all, 7);
        let near = (0..10_000).filter(|_| sim.pick() != Ok(id(99))).count();
        let share = near as f64 / 10_000.0;
        assert!((share - expect).abs() < 0.02, "{ready} ready: {share}");
    }
}

/// A cluster near by, a ceiling on it, and one far away of which so many endpoints work.
fn capped(percent: u8, working: u32) -> Sim {
    let near = |n| remote(endpoint(n), "mallory-1", "eu-west", 1).max_share(percent);
    let far = |n: u32| {
        let it = remote(endpoint(n), "us-east-1", "us-east", 80).numbered(100 + n);
        match n <= working {
            true => it,
            false => it.health(Health::NotReady),
        }
    };
    let heavy = (1..=20).map(|n| near(n).weight(u32::MAX));
    Sim::new(heavy.chain((1..=10).map(far)), 7)
}

#[test]
fn a_ceiling_bounds_what_a_cluster_draws_while_others_can_serve() {
    let hers = |id: EndpointId| (1..=20).any(|n| id == crate::fixture::id(n));
    // Also while the others are short of endpoints: what they lack does not fall to her.
    for (percent, working, expect) in [
        (20, 10, 0.2),
        (20, 3, 0.2),
        (1, 1, 0.01),
        (0, 1, 0.0),
        (100, 10, 1.0),
        // Nobody else can.
        (20, 0, 1.0),
        (0, 0, 1.0),
    ] {
        let mut sim = capped(percent, working);
        let drawn = (0..10_000).filter(|_| hers(sim.pick().unwrap())).count();
        let share = drawn as f64 / 10_000.0;
        assert!(
            (share - expect).abs() < 0.015,
            "at most {percent} %, {working} others: {share}"
        );
    }
}

#[test]
fn retries_and_ejections_lift_no_ceiling() {
    let mut sim = capped(0, 2);
    let first = sim.pick().unwrap();
    let second = sim.pick_untried(&[first]).unwrap();
    assert_eq!([first, second].map(|it| it >= id(101)), [true, true]);
    // One of the two is ejected: the other serves.
    for _ in 0..10 {
        sim.respond(first, Outcome::LocalOrigin);
    }
    assert!(sim.balancer.is_ejected(first));
    for _ in 0..100 {
        assert_eq!(sim.pick(), Ok(second));
    }
    // Nobody else is left for this request: better beyond the ceiling than not at all.
    assert!(sim.pick_untried(&[first, second]).unwrap() < id(101));
}

#[test]
fn ceilings_alone_bound_nothing_and_names_ask_for_whom_they_name() {
    // Of two with a ceiling and nobody else, the far one takes what the near one lacks.
    let near = |n: u32, health| {
        let it = remote(endpoint(n), "mallory-1", "eu-west", 1).max_share(0);
        it.health(health)
    };
    let far = remote(endpoint(1), "mallory-2", "us-east", 80).max_share(30);
    let mut all = vec![far.numbered(101)];
    all.extend((1..=2).map(|n| near(n, Health::Ready)));
    all.extend((3..=10).map(|n| near(n, Health::NotReady)));
    let mut sim = Sim::new(all, 7);
    let near = (0..10_000).filter(|_| sim.pick().unwrap() != id(101));
    let share = near.count() as f64 / 10_000.0;
    assert!((share - 0.28).abs() < 0.02, "{share}");
    // Whoever is asked for by name serves.
    let mut sim = capped(0, 10);
    for scope in [
        Scope::Cluster("mallory-1".parse().unwrap()),
        Scope::Endpoint(id(7)),
    ] {
        let asked = demand(&scope, &[]);
        let view = (sim.balancer).pick(&sim.routes, &asked, sim.now, &mut sim.rng);
        assert!(view.unwrap().endpoint.id < id(101));
    }
}

#[test]
fn endpoints_with_a_ceiling_let_no_more_of_the_others_be_ejected() {
    let mut sim = capped(0, 10);
    sim.pick().unwrap();
    for n in 101..=110 {
        for _ in 0..10 {
            sim.respond(id(n), Outcome::LocalOrigin);
        }
    }
    let ejected = (101..=110).filter(|n| sim.balancer.is_ejected(id(*n)));
    assert_eq!(ejected.count(), 1, "a tenth of ten");
    assert!((0..1_000).all(|_| sim.pick().unwrap() >= id(101)));
}

fn far_of(draft: Draft) -> Draft {
    draft.numbered(99)
}

#[test]
fn an_endpoint_that_comes_warms_up() {
    let policy = Arc::new(weft_model::fixture::traffic_policy("checkout"));
    let with = |count: u32| {
        Arc::new(routes_with(
            (1..=count).map(endpoint),
            Some(Arc::clone(&policy)),
        ))
    };
    let mut sim = Sim::new((1..=3).map(endpoint), 7);
    sim.routes = with(3);
    sim.pick().unwrap();
    sim.routes = with(4);
    let share = |sim: &mut Sim| {
        let drawn = (0..10_000).filter(|_| sim.pick() == Ok(id(4))).count();
        drawn as f64 / 10_000.0
    };
    let at_once = share(&mut sim);
    assert!(at_once < 0.06, "{at_once}");
    sim.advance(Duration::from_secs(15));
    let half = share(&mut sim);
    assert!((0.09..0.2).contains(&half), "{half}");
    sim.advance(Duration::from_secs(15));
    let warm = share(&mut sim);
    assert!((0.2..0.3).contains(&warm), "{warm}");
}

#[test]
fn a_policy_changes_what_ejects() {
    let policy = Arc::new(weft_model::fixture::traffic_policy("checkout"));
    let mut sim = Sim::new((1..=3).map(endpoint), 7);
    sim.routes = Arc::new(routes_with((1..=3).map(endpoint), Some(policy)));
    sim.pick().unwrap();
    assert_eq!(sim.respond(id(1), Outcome::ServerError), None);
    assert_eq!(sim.respond(id(1), Outcome::ServerError), None);
    let ejected = sim.respond(id(1), Outcome::ServerError).unwrap();
    assert_eq!(ejected.until, sim.now.after(Duration::from_secs(10)));
}

proptest! {
    /// Whatever happens, a pick is an endpoint that takes work and was not tried.
    #[test]
    fn a_pick_is_always_admitted(
        seed in any::<u64>(),
        weights in prop::collection::vec(0u32..4, 1..12),
        down in any::<u8>(),
        steps in prop::collection::vec((0u8..4, 0u64..20), 1..80),
    ) {
        let drafts: Vec<Draft> = weights
            .iter()
            .enumerate()
            .map(|(n, weight)| {
                let draft = endpoint(u32::try_from(n).unwrap()).weight(*weight);
                match n % 3 {
                    0 => draft,
                    1 => remote(draft, "us-east-1", "us-east", 80),
                    _ if down & 1 == 0 => remote(draft, "ap-south-1", "ap-south", 140),
                    _ => remote(draft, "ap-south-1", "ap-south", 140).path(PathState::Down),
                }
            })
            .collect();
        let mut sim = Sim::new(drafts, seed);
        for (outcome, seconds) in steps {
            let outcome = [
                Outcome::Success,
                Outcome::ServerError,
                Outcome::LocalOrigin,
                Outcome::Cancelled,
            ][usize::from(outcome)];
            let routes = Arc::clone(&sim.routes);
            let admitted = routes
                .endpoints()
                .iter()
                .filter(|view| view.admit(PORT, routes.identities()).is_ok());
            match sim.pick() {
                Ok(id) => {
                    prop_assert!(admitted.map(|v| v.endpoint.id).any(|i| i == id));
                    prop_assert_ne!(sim.pick_untried(&[id]), Ok(id));
                    sim.respond(id, outcome);
                }
                Err(reason) => {
                    prop_assert_eq!(reason, Reason::NoEndpoints);
                    prop_assert_eq!(admitted.count(), 0);
                }
            }
            sim.advance(Duration::from_secs(seconds));
        }
    }

    /// Equal inputs, equal picks.
    #[test]
    fn picks_depend_on_the_seed_alone(seed in any::<u64>()) {
        let picks = |seed| {
            let mut sim = Sim::new((1..=7).map(endpoint), seed);
            (0..50).map(|_| sim.pick().unwrap()).collect::<Vec<_>>()
        };
        prop_assert_eq!(picks(seed), picks(seed));
    }
}

#[test]
fn one_endpoint_asked_for_is_the_only_one_picked() {
    let mut sim = Sim::new((1..=4).map(endpoint), 11);
    let scope = Scope::Endpoint(id(3));
    let mut pick = |tried: &[EndpointId]| {
        sim.balancer
            .pick(&sim.routes, &demand(&scope, tried), sim.now, &mut sim.rng)
            .map(|view| view.endpoint.id)
    };
    for _ in 0..100 {
        assert_eq!(pick(&[]), Ok(id(3)));
    }
    assert_eq!(pick(&[id(3)]), Err(Reason::NoEndpoints));
}
