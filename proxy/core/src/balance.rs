//! Which endpoint gets the next request.

mod ewma;
mod outlier;
mod spill;
mod warmup;

pub use outlier::OutlierConfig;
pub(crate) use spill::share;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use weft_model::{EndpointId, TrafficPolicySpec};

use crate::table::LaneLevels;
use crate::{EndpointView, Lane, LevelMembers, Reason, Rng, Scope, ServiceRoutes, Tick};
use ewma::PeakEwma;
use outlier::{Ejections, Outlier};
use warmup::Warmup;

/// What ceilings a search for an endpoint regards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// A cluster with one takes its share at most.
    Share,
    /// Clusters without one serve alone.
    Open,
    /// None.
    None,
}

/// How a request ended, as far as its endpoint is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It answered, and not with a server error.
    Success,
    /// It answered 5xx, or a gRPC status that means the same.
    ServerError,
    /// It could not be reached, did not prove its identity, or cut the
    /// connection: seen here, not said by it.
    LocalOrigin,
    /// The caller went away: says nothing about the endpoint.
    Cancelled,
}

/// What one request asks of a balancer.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// The service's port.
    pub port: NonZeroU16,
    /// Which of its endpoints are meant.
    pub scope: &'a Scope,
    /// Of which version, while a release is in effect.
    pub lane: Lane,
    /// Endpoints that it has tried already: none of these.
    pub tried: &'a [EndpointId],
}

/// The balancer of one service in one worker: peak-EWMA power of two choices
/// within the nearest level that has endpoints, and outlier ejection.
///
/// Feed every pick back: [`Balancer::on_start`] when the request is sent,
/// [`Balancer::on_response`] when it ended.
#[derive(Debug)]
pub struct Balancer {
    default: OutlierConfig,
    config: OutlierConfig,
    warmup: Warmup,
    routes: Option<Arc<ServiceRoutes>>,
    // Beside `routes.endpoints()`, position by position.
    states: Vec<EndpointState>,
    ejections: Ejections,
}

#[derive(Debug, Clone)]
struct EndpointState {
    load: PeakEwma,
    outlier: Outlier,
    weight: f64,
    /// When it came, if it came while this balancer was at work.
    came: Option<Tick>,
}

impl Balancer {
    /// A balancer that has seen nothing yet.
    pub fn new(config: OutlierConfig) -> Self {
        Self {
            default: config,
            config,
            warmup: Warmup::default(),
            routes: None,
            states: Vec::new(),
            ejections: Ejections::default(),
        }
    }

    /// Chooses an endpoint of `routes` for a request.
    ///
    /// While a release is in effect, only endpoints of the request's lane are looked at: those of the stable
    /// version serve a canary's request if no endpoint of the canary can be used, never the other
    /// way round.
    ///
    /// The nearest level serves while it has capacity; a share goes to the next ones in
    /// proportion to what it lacks. If that one has nobody left, the nearest level with an endpoint
    /// that is not ejected serves; if all are ejected the nearest level serves regardless (panic:
    /// better a suspect than none). A cluster with a ceiling serves no more than that, unless it was
    /// asked for by name, or nobody else has an endpoint that is neither ejected nor tried.
    /// [`Reason::NoSuchPort`] and [`Reason::NoEndpoints`] otherwise.
    pub fn pick<'r>(
        &mut self,
        routes: &'r Arc<ServiceRoutes>,
        demand: &Demand<'_>,
        now: Tick,
        rng: &mut Rng,
    ) -> Result<&'r Arc<EndpointView>, Reason> {
        self.follow(routes, now);
        self.expire(now);
        let Demand {
            port,
            scope,
            lane,
            tried,
        } = *demand;
        let port = routes.port(port).ok_or(Reason::NoSuchPort)?;
        let LaneLevels { first, fallback } = routes.levels(port, lane, scope);
        let endpoints = routes.endpoints();
        let untried = |p: u32| {
            let id = endpoints[p as usize].endpoint.id;
            scope.admits_member(id) && !tried.contains(&id)
        };
        let healthy = |p: u32| !self.states[p as usize].outlier.is_ejected() && untried(p);
        let in_scope = |levels: &'r [LevelMembers]| {
            let meant = |level: &&LevelMembers| scope.admits_level(level, routes);
            levels.iter().filter(meant)
        };
        let is_open = |level: &&LevelMembers| level.max_share.is_none();
        // Of one lane those that are well: by capacity, else whoever is nearest.
        let well = |levels, limit, rng: &mut Rng| {
            let admits = move |level: &&LevelMembers| limit == Limit::None || is_open(level);
            let drawn = in_scope(levels).filter(move |l| limit == Limit::Share || admits(l));
            self.draw_level(drawn, limit, rng)
                .and_then(|level| self.choose(level, healthy, now, rng))
                .or_else(|| {
                    let mut levels = in_scope(levels).filter(admits);
                    levels.find_map(|level| self.choose(level, healthy, now, rng))
                })
        };
        let suspect = |levels, limit, rng: &mut Rng| {
            let admits = |level: &&LevelMembers| limit == Limit::None || is_open(level);
            let mut levels = in_scope(levels).filter(admits);
            levels.find_map(|level| self.choose(level, untried, now, rng))
        };
        let others = [Some(first), fallback].into_iter().flatten();
        let has_others = others.flat_map(in_scope).any(|level| is_open(&level));
        let (limit, of_fallback) = match scope.is_bounded() && has_others {
            false => (Limit::None, Limit::None),
            true if in_scope(first).all(|level| is_open(&level)) => (Limit::Share, Limit::Share),
            // Whoever has a ceiling has had its share.
            true => (Limit::Share, Limit::Open),
        };
        well(first, limit, rng)
            .or_else(|| well(fallback?, of_fallback, rng))
            .or_else(|| well(first, Limit::None, rng))
            .or_else(|| well(fallback?, Limit::None, rng))
            .or_else(|| suspect(fallback?, Limit::Open, rng))
            .or_else(|| suspect(first, Limit::Open, rng))
            .or_else(|| suspect(fallback?, Limit::None, rng))
            .or_else(|| suspect(first, Limit::None, rng))
            .map(|position| &endpoints[position as usize])
            .ok_or(Reason::NoEndpoints)
    }

    /// A request goes to `id`.
    pub fn on_start(&mut self, id: EndpointId) {
        if let Some(state) = self.state(id) {
            state.load.start();
        }
    }

    /// A request to `id` ended after `latency`. Says whether this ejected it.
    pub fn on_response(
        &mut self,
        id: EndpointId,
        outcome: Outcome,
        latency: Duration,
        now: Tick,
    ) -> Option<Ejected> {
        let config = self.config;
        let position = self.position(id)?;
        let state = &mut self.states[position as usize];
        state.load.finish(outcome, latency, now);
        if !state.outlier.observe(outcome, &config) || !self.may_eject(position) {
            return None;
        }
        let state = &mut self.states[position as usize];
        let until = state.outlier.eject(&config, now);
        self.ejections.push(until, position);
        Some(Ejected { id, until })
    }

    /// Whether few enough are ejected. Those of clusters with a ceiling count apart: many of them
    /// are no reason to eject more of the others.
    fn may_eject(&self, position: u32) -> bool {
        let Some(routes) = &self.routes else {
            return false;
        };
        let endpoints = routes.endpoints();
        let is_open = |p: u32| endpoints[p as usize].locality.max_share().is_none();
        let alike = |p: &u32| is_open(*p) == is_open(position);
        let all = (0u32..).take(endpoints.len()).filter(alike).count();
        let ejected = self.ejections.positions().filter(alike).count();
        ejected < self.config.ejected_max(all)
    }

    /// Whether `id` is ejected as of the last pick.
    pub fn is_ejected(&self, id: EndpointId) -> bool {
        self.position(id)
            .is_some_and(|p| self.states[p as usize].outlier.is_ejected())
    }

    fn state(&mut self, id: EndpointId) -> Option<&mut EndpointState> {
        let position = self.position(id)?;
        self.states.get_mut(position as usize)
    }

    /// Where an endpoint of the snapshot followed last stands: they are in the order of their ids.
    fn position(&self, id: EndpointId) -> Option<u32> {
        let endpoints = self.routes.as_ref()?.endpoints();
        let position = endpoints.binary_search_by_key(&id, |view| view.endpoint.id);
        u32::try_from(position.ok()?).ok()
    }

    /// Takes over a new snapshot; what was learnt of endpoints that stay, stays.
    fn follow(&mut self, routes: &Arc<ServiceRoutes>, now: Tick) {
        if self.routes.as_ref().is_some_and(|r| Arc::ptr_eq(r, routes)) {
            return;
        }
        let learnt = |id: EndpointId| {
            let position = self.position(id)?;
            self.states.get(position as usize).cloned()
        };
        let states: Vec<_> = routes
            .endpoints()
            .iter()
            .map(|view| {
                let mut state = learnt(view.endpoint.id).unwrap_or_else(|| EndpointState {
                    load: PeakEwma::new(now),
                    outlier: Outlier::default(),
                    weight: 1.0,
                    // Those that a process finds when it starts have been there before.
                    came: self.routes.is_some().then_some(now),
                });
                state.weight = f64::from(view.endpoint.weight.max(1));
                state
            })
            .collect();
        self.states = states;
        self.obey(routes.spec().policy.as_deref());
        self.ejections = (0u32..)
            .zip(&self.states)
            .filter_map(|(position, state)| Some((state.outlier.ejected_until()?, position)))
            .collect();
        self.routes = Some(Arc::clone(routes));
    }

    /// Takes over what a policy says.
    fn obey(&mut self, policy: Option<&TrafficPolicySpec>) {
        self.config = match policy {
            Some(policy) => self.default.with(&policy.outlier_detection),
            None => self.default,
        };
        let span = policy.and_then(|policy| policy.load_balancer.warmup);
        let latest = self.states.iter().filter_map(|state| state.came).max();
        self.warmup = Warmup::new(span, latest);
    }

    /// Lets those back in whose time is over. They are as new: after a fault of many nobody comes
    /// back with a rush.
    fn expire(&mut self, now: Tick) {
        while let Some(position) = self.ejections.pop_due(now) {
            let state = &mut self.states[position as usize];
            state.outlier.readmit();
            state.came = Some(now);
            self.warmup.extend(now);
        }
    }

    /// The level that a request goes to first, drawn by capacity.
    fn draw_level<'l>(
        &self,
        levels: impl Iterator<Item = &'l LevelMembers> + Clone,
        limit: Limit,
        rng: &mut Rng,
    ) -> Option<&'l LevelMembers> {
        let ejected = |level: &LevelMembers| {
            let positions = self.ejections.positions();
            let weights = positions.filter(|at| level.has(*at)).map(|at| {
                let endpoints = self.routes.as_ref().map(|routes| routes.endpoints());
                endpoints.map_or(0, |all| u64::from(all[at as usize].endpoint.weight))
            });
            weights.sum()
        };
        spill::draw(
            levels.map(|level| (level, level.share(ejected(level)))),
            limit,
            rng,
        )
    }

    /// Power of two choices (Mitzenmacher 2001): of two drawn by weight, the one
    /// that costs less.
    fn choose(
        &self,
        level: &LevelMembers,
        usable: impl Fn(u32) -> bool,
        now: Tick,
        rng: &mut Rng,
    ) -> Option<u32> {
        let is_warm = |p: u32, rng: &mut Rng| {
            let came = self.states[p as usize].came;
            self.warmup.admits(came, now, rng)
        };
        let first = draw(level, &usable, is_warm, rng)?;
        let Some(second) = draw(level, |p| p != first && usable(p), is_warm, rng) else {
            return Some(first);
        };
        let (a, b) = (&self.states[first as usize], &self.states[second as usize]);
        Some(if b.load.beats(b.weight, &a.load, a.weight, now) {
            second
        } else {
            first
        })
    }
}

/// An endpoint that just got ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejected {
    /// The endpoint.
    pub id: EndpointId,
    /// When it is let back in.
    pub until: Tick,
}

/// Blind draws before looking at members one by one: at most a tenth is normally
/// excluded, so eight misses in a row are a sign that most are.
const DRAWS_MAX: u32 = 8;

/// A usable member, drawn by weight; none if no member is usable.
fn draw(
    level: &LevelMembers,
    usable: impl Fn(u32) -> bool,
    is_warm: impl Fn(u32, &mut Rng) -> bool,
    rng: &mut Rng,
) -> Option<u32> {
    let members = &level.members;
    let mut place = 0;
    for _ in 0..DRAWS_MAX {
        place = level.place(rng);
        if usable(members[place]) && is_warm(members[place], rng) {
            return Some(members[place]);
        }
    }
    let (before, from) = members.split_at(place);
    from.iter().chain(before).copied().find(|p| usable(*p))
}

#[cfg(test)]
mod tests;
