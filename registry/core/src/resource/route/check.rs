//! What a route must satisfy beyond its form. Bounds are the Gateway API's own.

use std::time::Duration;

use super::*;
use crate::resource::check::at_most;

const PARENTS_MAX: usize = 32;
const RULES_MAX: usize = 16;
const MATCHES_MAX: usize = 64;
const CONDITIONS_MAX: usize = 16;
const FILTERS_MAX: usize = 16;
const BACKENDS_MAX: usize = 16;
const CODES_MAX: usize = 16;
const WEIGHT_MAX: u32 = 1_000_000;
const PATH_MAX: usize = 1024;
const VALUE_MAX: usize = 4096;
const ATTEMPTS_MAX: u32 = 10;
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

impl RouteSpec {
    /// Says what is wrong with the value, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.parent_refs.is_empty() {
            return Err("parentRefs is empty: name the service that the route is for".into());
        }
        at_most("parentRefs", self.parent_refs.len(), PARENTS_MAX)?;
        if self.rules.is_empty() {
            return Err("rules is empty: a route without rules would do nothing".into());
        }
        at_most("rules", self.rules.len(), RULES_MAX)?;
        let mut numbered = self.rules.iter().enumerate();
        numbered.try_for_each(|(at, rule)| {
            let checked = rule.check();
            checked.map_err(|why| format!("rules[{at}]: {why}"))
        })
    }
}

impl RouteRule {
    fn check(&self) -> Result<(), String> {
        at_most("matches", self.matches.len(), MATCHES_MAX)?;
        at_most("filters", self.filters.len(), FILTERS_MAX)?;
        at_most("backendRefs", self.backend_refs.len(), BACKENDS_MAX)?;
        self.matches.iter().try_for_each(RouteMatch::check)?;
        self.filters
            .iter()
            .try_for_each(|filter| self.filter(filter))?;
        self.backend_refs.iter().try_for_each(BackendRef::check)?;
        let redirects = |filter: &RouteFilter| matches!(filter, RouteFilter::RequestRedirect(_));
        match (
            self.filters.iter().any(redirects),
            self.backend_refs.is_empty(),
        ) {
            (true, false) => Err("a rule that redirects has no backendRefs".to_owned()),
            (false, true) => Err(
                "backendRefs is empty: name who answers, the service itself if nobody else".into(),
            ),
            _ => Ok(()),
        }?;
        self.timeouts.iter().try_for_each(RouteTimeouts::check)?;
        self.retry.iter().try_for_each(RouteRetry::check)
    }

    fn filter(&self, filter: &RouteFilter) -> Result<(), String> {
        let same =
            |other: &&RouteFilter| std::mem::discriminant(*other) == std::mem::discriminant(filter);
        let repeated = self.filters.iter().filter(same).count() > 1;
        if repeated && !matches!(filter, RouteFilter::RequestMirror(_)) {
            return Err("only RequestMirror filters may stand more than once in a rule".into());
        }
        match filter {
            RouteFilter::RequestHeaderModifier(it) | RouteFilter::ResponseHeaderModifier(it) => {
                it.check()
            }
            RouteFilter::RequestRedirect(it) => {
                it.check()?;
                if self
                    .filters
                    .iter()
                    .any(|f| matches!(f, RouteFilter::UrlRewrite(_)))
                {
                    return Err("a rule either redirects or rewrites".into());
                }
                self.path_modifier(it.path.as_ref())
            }
            RouteFilter::UrlRewrite(it) => {
                it.hostname.iter().try_for_each(|host| check_host(host))?;
                self.path_modifier(it.path.as_ref())
            }
            RouteFilter::RequestMirror(it) => {
                if it.percent.is_some_and(|percent| percent > 100) {
                    return Err("requestMirror.percent is above 100".into());
                }
                it.backend_ref.check()
            }
        }
    }

    fn path_modifier(&self, path: Option<&PathModifier>) -> Result<(), String> {
        match path {
            None => Ok(()),
            Some(PathModifier::ReplaceFullPath(path)) => check_path(path),
            Some(PathModifier::ReplacePrefixMatch(path)) => {
                let exact = |m: &RouteMatch| {
                    m.path
                        .as_ref()
                        .is_some_and(|p| p.kind == PathMatchType::Exact)
                };
                if self.matches.iter().any(exact) {
                    return Err("replacePrefixMatch needs matches of type PathPrefix".into());
                }
                check_path(path)
            }
        }
    }
}

impl RouteMatch {
    pub(in crate::resource) fn check(&self) -> Result<(), String> {
        at_most("headers of a match", self.headers.len(), CONDITIONS_MAX)?;
        at_most(
            "queryParams of a match",
            self.query_params.len(),
            CONDITIONS_MAX,
        )?;
        self.path
            .iter()
            .try_for_each(|path| check_path(&path.value))?;
        if let Some(method) = self.method.as_ref().filter(|method| !is_token(method)) {
            return Err(format!("method {method:?} is no HTTP method"));
        }
        for header in &self.headers {
            check_name(&header.name)?;
            check_value(&header.value)?;
        }
        for param in &self.query_params {
            if param.name.is_empty() || param.name.len() + param.value.len() > VALUE_MAX {
                return Err("a query parameter has a name, and at most 4096 bytes".into());
            }
            if param.name.contains(['&', '=', '#']) || param.value.contains(['&', '#']) {
                return Err(format!(
                    "queryParams {:?} can match nothing: '&', '=' and '#' separate parameters",
                    param.name
                ));
            }
        }
        Ok(())
    }
}

impl BackendRef {
    fn check(&self) -> Result<(), String> {
        if self.weight > WEIGHT_MAX {
            return Err(format!("weight {} is above {WEIGHT_MAX}", self.weight));
        }
        Ok(())
    }
}

impl RouteTimeouts {
    fn check(&self) -> Result<(), String> {
        let limits = [self.request, self.backend_request];
        if limits.iter().flatten().any(|limit| *limit > TIMEOUT_MAX) {
            return Err("a timeout is longer than 24h".into());
        }
        let limits = limits.map(|limit| limit.filter(|limit| !limit.is_zero()));
        match limits {
            [Some(request), Some(backend)] if backend > request => {
                Err("timeouts.backendRequest is longer than timeouts.request".into())
            }
            _ => Ok(()),
        }
    }
}

impl RouteRetry {
    fn check(&self) -> Result<(), String> {
        at_most("retry.codes", self.codes.len(), CODES_MAX)?;
        if let Some(code) = self.codes.iter().find(|code| !(400..=599).contains(*code)) {
            return Err(format!("retry.codes has {code}: 400 to 599 are allowed"));
        }
        if !(1..=ATTEMPTS_MAX).contains(&self.attempts) {
            return Err(format!(
                "retry.attempts is not between 1 and {ATTEMPTS_MAX}"
            ));
        }
        match self.backoff {
            Some(backoff) if backoff > Duration::from_secs(60) => {
                Err("retry.backoff is longer than 60s".into())
            }
            _ => Ok(()),
        }
    }
}

impl HeaderModifier {
    fn check(&self) -> Result<(), String> {
        for (what, count) in [
            ("set", self.set.len()),
            ("add", self.add.len()),
            ("remove", self.remove.len()),
        ] {
            at_most(what, count, CONDITIONS_MAX)?;
        }
        let named = self.set.iter().chain(&self.add);
        named
            .clone()
            .try_for_each(|header| check_value(&header.value))?;
        let names = named.map(|header| &header.name).chain(&self.remove);
        names.clone().try_for_each(|name| check_name(name))?;
        match names.into_iter().find(|name| is_reserved(name)) {
            Some(name) => Err(format!(
                "header {name} cannot be modified: it frames the message or tells who the caller is"
            )),
            None => Ok(()),
        }
    }
}

impl RequestRedirect {
    fn check(&self) -> Result<(), String> {
        if !matches!(self.status_code, 301 | 302 | 303 | 307 | 308) {
            return Err(format!(
                "statusCode {} is no redirect: 301, 302, 303, 307 or 308",
                self.status_code
            ));
        }
        match self.scheme.as_deref() {
            None | Some("http" | "https") => {}
            Some(other) => return Err(format!("scheme {other:?} is neither http nor https")),
        }
        self.hostname.iter().try_for_each(|host| check_host(host))
    }
}

/// As the Gateway API has it: absolute, and nothing that another program may read differently.
fn check_path(path: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("path {path:?} {why}"));
    if !path.starts_with('/') {
        return wrong("must begin with '/'");
    }
    if path.len() > PATH_MAX {
        return Err(format!(
            "a path has {} bytes, at most {PATH_MAX}",
            path.len()
        ));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong("has characters that must be percent-encoded");
    }
    if path.contains(['?', '#']) {
        return wrong("may not hold '?' or '#'");
    }
    let lower = path.to_ascii_lowercase();
    let odd = ["//", "/./", "/../", "%2f"]
        .iter()
        .any(|part| lower.contains(part));
    if odd || lower.ends_with("/.") || lower.ends_with("/..") {
        return wrong("may not hold empty or dot segments, nor an encoded '/'");
    }
    Ok(())
}

fn check_host(host: &str) -> Result<(), String> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(allowed) {
        return Err(format!("hostname {host:?} is no lower-case host name"));
    }
    Ok(())
}

pub(in crate::resource) fn check_name(name: &str) -> Result<(), String> {
    if name.len() > 256 || !is_token(name) {
        return Err(format!("{name:?} is no name of a header field"));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), String> {
    let visible = value
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if value.len() > VALUE_MAX || !visible || value.trim() != value {
        return Err(format!(
            "{value:?} is no value of a header field: at most {VALUE_MAX} visible ASCII characters"
        ));
    }
    Ok(())
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// Fields of one hop, of framing, and those that only weft may say.
fn is_reserved(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-envoy-external-address",
        "x-real-ip",
    ];
    const PREFIXES: [&str; 4] = ["weft-", "x-weft-", "x-forwarded-", "l5d-"];
    let folded = name.to_ascii_lowercase().replace('_', "-");
    NAMES.contains(&folded.as_str()) || PREFIXES.iter().any(|prefix| folded.starts_with(prefix))
}

#[cfg(test)]
mod tests;
