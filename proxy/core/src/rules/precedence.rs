//! Which of two matches is the more specific one.

use std::cmp::Reverse;

use weft_model::{Index, PathMatchType, RouteMatch, ServiceKey};

use super::{RouteSource, path_of};

/// The rank of a match: the lesser is the more specific one.
///
/// Its fields stand in the order in which the Gateway API breaks ties; `Ord` is derived, so that
/// the order of the specification is the order of the comparison.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Precedence {
    path: PathRank,
    prefix_length: Reverse<usize>,
    method: Reverse<bool>,
    headers: Reverse<usize>,
    query_params: Reverse<usize>,
    created: Index,
    /// By namespace, then name.
    route: ServiceKey,
    /// Of rules of one route, the one that its author wrote first.
    rule: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact,
    Prefix,
}

impl Precedence {
    pub(super) fn of(condition: &RouteMatch, route: &RouteSource, rule: u32) -> Self {
        let (kind, path) = path_of(condition);
        let (path, prefix_length) = match kind {
            // Two exact matches of one request have one path.
            PathMatchType::Exact => (PathRank::Exact, Reverse(0)),
            PathMatchType::PathPrefix => (PathRank::Prefix, Reverse(path.len())),
        };
        Self {
            path,
            prefix_length,
            method: Reverse(condition.method.is_some()),
            headers: Reverse(condition.headers.len()),
            query_params: Reverse(condition.query_params.len()),
            created: route.created,
            route: route.name.clone(),
            rule,
        }
    }
}
