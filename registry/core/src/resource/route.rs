//! How requests to a service are answered: the Gateway API's HTTPRoute (v1), as far as weft
//! enforces it, attached to services as its GAMMA profile says.
//!
//! A field or value that is not enforced is no field here: it is refused by name.

mod check;
mod filter;
mod matching;

pub(super) use check::check_name;

pub use filter::{
    HeaderModifier, HeaderValue, PathModifier, RequestMirror, RequestRedirect, RouteFilter,
    UrlRewrite,
};
pub use matching::{
    ExactMatch, HeaderMatch, PathMatch, PathMatchType, QueryParamMatch, RouteMatch,
};

use std::num::NonZeroU16;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::optional;
use crate::{Namespace, ServiceKey, ServiceName};

/// Rules for the requests to one or more services of the route's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteSpec {
    /// The services it is for.
    pub parent_refs: Vec<ParentRef>,
    /// What is done with which requests. Of all rules of all routes that match a request, the
    /// most specific one counts; a request that none matches is answered 404.
    pub rules: Vec<RouteRule>,
}

/// A kind that a reference may name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RefKind {
    /// A service of the federation.
    #[default]
    Service,
}

/// A service that a route is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// Always `Service`.
    #[serde(default)]
    pub kind: RefKind,
    /// The service, in the route's namespace.
    pub name: ServiceName,
    /// One port of it; all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
}

/// Matches, and what is done with requests that satisfy one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteRule {
    /// A request satisfies the rule if it satisfies one of these; left out: every request does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<RouteMatch>,
    /// What is changed on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<RouteFilter>,
    /// Who answers, by weight. Needed unless a filter redirects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendRef>,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RouteTimeouts>,
    /// Which answers are asked for again; left out: only what never reached an app, or is
    /// idempotent, has no body and got no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RouteRetry>,
}

/// A service that answers a share of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendRef {
    /// Always `Service`.
    #[serde(default)]
    pub kind: RefKind,
    /// The service.
    pub name: ServiceName,
    /// Its namespace; the route's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Its port; the one that the request asked for if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// Its share, of the sum over the rule's backends; 0 is none. Default 1.
    #[serde(default = "default_weight")]
    pub weight: u32,
}

fn default_weight() -> u32 {
    1
}

/// How long a request may take (GEP-1742). `0s` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteTimeouts {
    /// From the request's head to the head of the answer, over all attempts. Left out: no limit.
    #[serde(default, with = "optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub request: Option<Duration>,
    /// From sending one attempt to the head of its answer; at most `request`. Left out: no limit.
    #[serde(default, with = "optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub backend_request: Option<Duration>,
}

/// Which answers are asked for again (GEP-1731). Only requests that are idempotent and have no
/// body are, and only as far as the service's retry budget goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteRetry {
    /// HTTP statuses that are asked for again, 400 to 599.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u16>,
    /// How often, at most, beside the first attempt. Default 1.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// The least time before another attempt; doubled each time. Default 25ms.
    #[serde(default, with = "optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub backoff: Option<Duration>,
}

fn default_attempts() -> u32 {
    1
}

impl ParentRef {
    /// The service meant, for a route of `namespace`.
    pub fn key(&self, namespace: &Namespace) -> ServiceKey {
        ServiceKey::new(namespace.clone(), self.name.clone())
    }
}

impl BackendRef {
    /// The service meant, for a route of `namespace`.
    pub fn key(&self, namespace: &Namespace) -> ServiceKey {
        let namespace = self.namespace.as_ref().unwrap_or(namespace);
        ServiceKey::new(namespace.clone(), self.name.clone())
    }
}

impl RouteSpec {
    /// Every service that a rule sends requests to, mirrors too.
    pub fn backends<'a>(
        &'a self,
        namespace: &'a Namespace,
    ) -> impl Iterator<Item = ServiceKey> + 'a {
        self.rules.iter().flat_map(move |rule| {
            let mirrors = rule.filters.iter().filter_map(|filter| match filter {
                RouteFilter::RequestMirror(mirror) => Some(&mirror.backend_ref),
                _ => None,
            });
            let backends = rule.backend_refs.iter().chain(mirrors);
            backends.map(move |backend| backend.key(namespace))
        })
    }
}
