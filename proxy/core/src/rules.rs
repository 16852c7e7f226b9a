//! The rules of routes, compiled for one port of one service.
//!
//! Of all matches that a request satisfies the most specific counts: an exact path, then the
//! longest prefix, a method, the most header fields, the most query parameters, the oldest route,
//! the first by name (Gateway API v1, HTTPRouteRule). The order is that of [`Precedence`]'s fields.
//!
//! The bytes compared are the bytes forwarded: no path is decoded, folded or joined before. A
//! route steers; it is no access control.

mod condition;
mod precedence;

pub use condition::MatchRefusal;

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use weft_model::{
    BackendRef, Index, PathMatchType, RequestRedirect, RouteFilter, RouteMatch, RouteRule,
    RouteSpec, ServiceKey,
};

use crate::{RequestHead, Rng};
use precedence::Precedence;

/// A route as the catalog tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSource {
    /// Its namespace and name.
    pub name: ServiceKey,
    /// Where in the log it first stood.
    pub created: Index,
    /// What it says.
    pub spec: Arc<RouteSpec>,
}

/// One rule of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The route.
    pub route: ServiceKey,
    /// Which of its rules, from 0.
    pub number: usize,
    /// What it says.
    pub spec: RouteRule,
}

/// One match of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    precedence: Precedence,
    rule: u32,
    condition: RouteMatch,
}

/// All rules for one port of one service, most specific match first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTable {
    rules: Box<[Arc<Rule>]>,
    candidates: Box<[Candidate]>,
    /// Positions of candidates by path, in their order: a lookup sees those of one path only.
    exact: BTreeMap<Box<str>, Vec<u32>>,
    prefix: BTreeMap<Box<str>, Vec<u32>>,
}

/// The rule that counts for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<'t> {
    /// The rule.
    pub rule: &'t Arc<Rule>,
    /// The prefix of the path that matched, without a `/` at its end; empty for all paths, and
    /// for an exact match.
    pub prefix: &'t str,
}

impl RuleTable {
    /// The rules that `routes` have for `port` of `service`; none if no route is for it: its
    /// requests then go to the service itself.
    pub fn compile(service: &ServiceKey, port: NonZeroU16, routes: &[RouteSource]) -> Option<Self> {
        let is_for = |route: &&RouteSource| {
            let mut parents = route.spec.parent_refs.iter();
            parents.any(|parent| {
                parent.key(&route.name.namespace) == *service
                    && parent.port.is_none_or(|only| only == port)
            })
        };
        let mut rules = Vec::new();
        let mut candidates = Vec::new();
        for route in routes.iter().filter(is_for) {
            for (number, spec) in route.spec.rules.iter().enumerate() {
                let at = u32::try_from(rules.len()).ok()?;
                let every = [RouteMatch::default()];
                let matches = if spec.matches.is_empty() {
                    &every[..]
                } else {
                    &spec.matches
                };
                candidates.extend(matches.iter().map(|condition| Candidate {
                    precedence: Precedence::of(condition, route, at),
                    rule: at,
                    condition: condition.clone(),
                }));
                rules.push(Arc::new(Rule {
                    route: route.name.clone(),
                    number,
                    spec: spec.clone(),
                }));
            }
        }
        if rules.is_empty() {
            return None;
        }
        // Stable: matches of one rule that are equally specific stay in the author's order.
        candidates.sort_by(|a, b| a.precedence.cmp(&b.precedence));
        let (mut exact, mut prefix) = (BTreeMap::new(), BTreeMap::new());
        for (position, candidate) in (0u32..).zip(&candidates) {
            let (kind, path) = path_of(&candidate.condition);
            let index: &mut BTreeMap<Box<str>, Vec<u32>> = match kind {
                PathMatchType::Exact => &mut exact,
                PathMatchType::PathPrefix => &mut prefix,
            };
            index.entry(path.into()).or_default().push(position);
        }
        Some(Self {
            rules: rules.into(),
            candidates: candidates.into(),
            exact,
            prefix,
        })
    }

    /// The rule that counts for this request; none if none matches.
    pub fn find(&self, head: &RequestHead<'_>) -> Option<Matched<'_>> {
        let path = head.path_only();
        let exact = self.exact.get(path);
        let prefixes = prefixes(path).filter_map(|prefix| self.prefix.get(prefix));
        let mut groups = exact.into_iter().chain(prefixes);
        groups.find_map(|group| {
            let mut candidates = group.iter().map(|at| &self.candidates[*at as usize]);
            let satisfied = candidates.find(|c| condition::judge(&c.condition, head).is_ok())?;
            Some(self.matched(satisfied))
        })
    }

    /// Every match in order of precedence with what stands against it. The first without a
    /// refusal is the one that [`RuleTable::find`] finds. For explanations.
    pub fn explain<'t>(
        &'t self,
        head: &'t RequestHead<'_>,
    ) -> impl Iterator<Item = (&'t Arc<Rule>, &'t RouteMatch, Result<(), MatchRefusal>)> {
        self.candidates.iter().map(move |candidate| {
            let rule = &self.rules[candidate.rule as usize];
            let path = condition::judge_path(&candidate.condition, head);
            let verdict = path.and_then(|()| condition::judge(&candidate.condition, head));
            (rule, &candidate.condition, verdict)
        })
    }

    fn matched<'t>(&'t self, candidate: &'t Candidate) -> Matched<'t> {
        let prefix = match path_of(&candidate.condition) {
            (PathMatchType::PathPrefix, prefix) => prefix,
            (PathMatchType::Exact, _) => "",
        };
        Matched {
            rule: &self.rules[candidate.rule as usize],
            prefix,
        }
    }
}

impl Rule {
    /// A backend, drawn by weight; none if no weight is above 0.
    pub fn draw_backend(&self, rng: &mut Rng) -> Option<&BackendRef> {
        let backends = &self.spec.backend_refs;
        let total = backends
            .iter()
            .map(|backend| u64::from(backend.weight))
            .sum();
        let mut ticket = rng.below(total);
        backends.iter().find(|backend| {
            let weight = u64::from(backend.weight);
            let drawn = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            drawn
        })
    }

    /// How it redirects, if it does.
    pub fn redirect(&self) -> Option<&RequestRedirect> {
        self.spec.filters.iter().find_map(|filter| match filter {
            RouteFilter::RequestRedirect(redirect) => Some(redirect),
            _ => None,
        })
    }
}

/// Whether a request satisfies a condition, path and all.
pub(crate) fn satisfies(condition: &RouteMatch, head: &RequestHead<'_>) -> bool {
    let path = condition::judge_path(condition, head);
    path.and_then(|()| condition::judge(condition, head))
        .is_ok()
}

/// The path of a condition: prefixes without a `/` at their end, so that `/a/` and `/a` are one.
fn path_of(condition: &RouteMatch) -> (PathMatchType, &str) {
    match &condition.path {
        None => (PathMatchType::PathPrefix, ""),
        Some(path) => match path.kind {
            PathMatchType::Exact => (path.kind, &path.value),
            PathMatchType::PathPrefix => (path.kind, path.value.trim_end_matches('/')),
        },
    }
}

/// The prefixes of a path by whole segments, the longest first, down to the empty one.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let whole = path.trim_end_matches('/');
    let shorter = move |prefix: &&str| prefix.rfind('/').map(|at| &whole[..at]);
    std::iter::successors(Some(whole), shorter)
        .filter(|prefix| prefix.is_empty() || prefix.starts_with('/'))
}

#[cfg(test)]
mod tests;
