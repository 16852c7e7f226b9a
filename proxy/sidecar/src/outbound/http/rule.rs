//! A rule applied: what it changes of a request and of its answer.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::uri::{Authority, PathAndQuery};
use http::{Response, StatusCode, Uri};
use weft_decide::{Matched, Reason, Rule};
use weft_model::{HeaderModifier, PathModifier, RequestMirror, RequestRedirect, RouteFilter};

use crate::http::Body;

/// The rule that counts for one request, kept while the table may move on.
pub(super) struct Ruling {
    rule: Arc<Rule>,
    prefix: Box<str>,
}

/// A first attempt's answer may be asked for again like this.
#[derive(Debug, Clone, Copy)]
pub(super) struct Again<'r> {
    codes: &'r [u16],
    /// How often beside the first attempt.
    pub(super) attempts: u32,
    backoff: Duration,
}

/// The least pause before another attempt, unless the rule says otherwise (Envoy).
const BACKOFF: Duration = Duration::from_millis(25);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

impl Ruling {
    pub(super) fn of(matched: &Matched<'_>) -> Self {
        Self {
            rule: Arc::clone(matched.rule),
            prefix: matched.prefix.into(),
        }
    }

    /// From the request's head to the head of its answer.
    pub(super) fn request_timeout(&self) -> Option<Duration> {
        let timeouts = self.rule.spec.timeouts?;
        timeouts.request.filter(|limit| !limit.is_zero())
    }

    /// The same for one attempt.
    pub(super) fn attempt_timeout(&self) -> Option<Duration> {
        let timeouts = self.rule.spec.timeouts?;
        timeouts.backend_request.filter(|limit| !limit.is_zero())
    }

    pub(super) fn again(&self) -> Option<Again<'_>> {
        let retry = self.rule.spec.retry.as_ref()?;
        Some(Again {
            codes: &retry.codes,
            attempts: retry.attempts,
            backoff: retry.backoff.unwrap_or(BACKOFF),
        })
    }

    pub(super) fn mirrors(&self) -> impl Iterator<Item = &RequestMirror> {
        self.rule
            .spec
            .filters
            .iter()
            .filter_map(|filter| match filter {
                RouteFilter::RequestMirror(mirror) => Some(mirror),
                _ => None,
            })
    }

    /// Changes the request's head as the rule says.
    pub(super) fn change_request(&self, head: &mut http::request::Parts) -> Result<(), Reason> {
        for filter in &self.rule.spec.filters {
            match filter {
                RouteFilter::RequestHeaderModifier(change) => modify(&mut head.headers, change),
                RouteFilter::UrlRewrite(rewrite) => {
                    let path = rewrite.path.as_ref();
                    head.uri = self.rewritten(&head.uri, rewrite.hostname.as_deref(), path)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Changes the answer's head as the rule says.
    pub(super) fn change_response(&self, headers: &mut HeaderMap) {
        for filter in &self.rule.spec.filters {
            if let RouteFilter::ResponseHeaderModifier(change) = filter {
                modify(headers, change);
            }
        }
    }

    fn rewritten(
        &self,
        uri: &Uri,
        host: Option<&str>,
        path: Option<&PathModifier>,
    ) -> Result<Uri, Reason> {
        let mut parts = uri.clone().into_parts();
        if let Some(host) = host {
            let host = Authority::try_from(host).map_err(|_| Reason::BadRequest)?;
            parts.authority = Some(host);
        }
        if let Some(path) = path {
            let path = self.replaced(uri, path);
            let path = PathAndQuery::try_from(path).map_err(|_| Reason::BadRequest)?;
            parts.path_and_query = Some(path);
        }
        Uri::from_parts(parts).map_err(|_| Reason::BadRequest)
    }

    /// The path, changed, with the query as it was.
    fn replaced(&self, uri: &Uri, change: &PathModifier) -> String {
        let mut path = match change {
            PathModifier::ReplaceFullPath(path) => path.clone(),
            PathModifier::ReplacePrefixMatch(by) => {
                let rest = uri.path().strip_prefix(&*self.prefix).unwrap_or_default();
                let joined = format!("{}{rest}", by.trim_end_matches('/'));
                match joined.is_empty() {
                    true => "/".to_owned(),
                    false => joined,
                }
            }
        };
        if let Some(query) = uri.query() {
            path.push('?');
            path.push_str(query);
        }
        path
    }

    /// The redirect that the rule answers with, if it does.
    pub(super) fn redirect(&self, uri: &Uri, host: &str) -> Option<Result<Response<Body>, Reason>> {
        let redirect = self.rule.redirect()?;
        Some(self.redirected(redirect, uri, host))
    }

    fn redirected(
        &self,
        redirect: &RequestRedirect,
        uri: &Uri,
        host: &str,
    ) -> Result<Response<Body>, Reason> {
        let asked = Authority::try_from(host).map_err(|_| Reason::BadRequest)?;
        let scheme = redirect.scheme.as_deref().unwrap_or("http");
        let name = redirect.hostname.as_deref().unwrap_or(asked.host());
        // A scheme that is given and no port: the scheme's own. Neither: as it was asked for.
        let port = match (redirect.port, &redirect.scheme) {
            (Some(port), _) => Some(port.get()),
            (None, Some(_)) => None,
            (None, None) => asked.port_u16(),
        };
        let well_known = if scheme == "https" { 443 } else { 80 };
        let port = port.filter(|port| *port != well_known);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let path = match &redirect.path {
            Some(change) => self.replaced(uri, change),
            None => uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        };
        let location = HeaderValue::try_from(format!("{scheme}://{name}{port}{path}"));
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            StatusCode::from_u16(redirect.status_code).map_err(|_| Reason::NoRule)?;
        let location = location.map_err(|_| Reason::BadRequest)?;
        response.headers_mut().insert(LOCATION, location);
        self.change_response(response.headers_mut());
        Ok(response)
    }
}

impl Again<'_> {
    /// Whether an answer with this status is asked for again.
    pub(super) fn wants(&self, status: u16) -> bool {
        self.codes.contains(&status)
    }

    /// How long to wait before repetition `number`, counted from 0: doubled each time, and half of
    /// it by chance, so that callers do not come back together.
    pub(super) fn pause(&self, number: u32, chance: u64) -> Duration {
        let full = self
            .backoff
            .saturating_mul(1 << number.min(16))
            .min(BACKOFF_MAX);
        let half = full / 2;
        let part = u32::try_from(chance % 1000).unwrap_or(0);
        half + half * part / 1000
    }
}

/// Names and values were checked when the route was written; one that is not lawful is left out.
fn modify(headers: &mut HeaderMap, change: &HeaderModifier) {
    let read = |field: &weft_model::HeaderValue| {
        let name = HeaderName::try_from(&field.name).ok()?;
        Some((name, HeaderValue::try_from(&field.value).ok()?))
    };
    for (name, value) in change.set.iter().filter_map(read) {
        headers.insert(name, value);
    }
    for (name, value) in change.add.iter().filter_map(read) {
        headers.append(name, value);
    }
    for name in &change.remove {
        headers.remove(name.as_str());
    }
}

#[cfg(test)]
mod tests {
    use weft_model::{RouteRule, UrlRewrite};

    use super::*;

    fn ruling(prefix: &str, filter: RouteFilter) -> Ruling {
        let spec = RouteRule {
            filters: vec![filter],
            ..RouteRule::default()
        };
        Ruling {
            rule: Arc::new(Rule {
                route: "shop/a".parse().unwrap(),
                number: 0,
                spec,
            }),
            prefix: prefix.into(),
        }
    }

    /// The table of GEP-726.
    #[test]
    fn a_prefix_is_replaced_by_whole_segments() {
        let check = |path: &str, prefix: &str, by: &str, expect: &str| {
            let change = PathModifier::ReplacePrefixMatch(by.into());
            let rewrite = UrlRewrite {
                hostname: None,
                path: Some(change),
            };
            let ruling = ruling(prefix, RouteFilter::UrlRewrite(rewrite));
            let request = http::Request::builder().uri(format!("http://a.b{path}"));
            let (mut head, ()) = request.body(()).unwrap().into_parts();
            ruling.change_request(&mut head).unwrap();
            assert_eq!(
                head.uri.path_and_query().unwrap().as_str(),
                expect,
                "{path} {by}"
            );
        };
        check("/foo/bar", "/foo", "/xyz", "/xyz/bar");
        check("/foo/bar", "/foo", "/xyz/", "/xyz/bar");
        check("/foo", "/foo", "/xyz", "/xyz");
        check("/foo/", "/foo", "/xyz", "/xyz/");
        check("/foo/bar?q=1", "/foo", "/", "/bar?q=1");
        check("/foo", "/foo", "/", "/");
        check("/bar", "", "/xyz", "/xyz/bar");
    }

    #[test]
    fn a_redirect_keeps_what_it_does_not_say() {
        let check = |json: &str, expect: &str| {
            let redirect = weft_model::spec_from_json(json.as_bytes()).unwrap();
            let ruling = ruling("/a", RouteFilter::RequestRedirect(redirect));
            let uri: Uri = "/a/b?q=1".parse().unwrap();
            let answer = ruling
                .redirect(&uri, "checkout.shop:8080")
                .unwrap()
                .unwrap();
            let location = &answer.headers()[LOCATION];
            let got = format!(
                "{} {}",
                answer.status().as_u16(),
                location.to_str().unwrap()
            );
            assert_eq!(got, expect, "{json}");
        };
        check("{}", "302 http://checkout.shop:8080/a/b?q=1");
        check(
            r#"{"scheme":"https","statusCode":308}"#,
            "308 https://checkout.shop/a/b?q=1",
        );
        check(
            r#"{"hostname":"other.shop","port":81,
               "path":{"type":"ReplacePrefixMatch","replacePrefixMatch":"/new"}}"#,
            "302 http://other.shop:81/new/b?q=1",
        );
        check(
            r#"{"path":{"type":"ReplaceFullPath","replaceFullPath":"/x"},"port":80}"#,
            "302 http://checkout.shop/x?q=1",
        );
    }

    #[test]
    fn pauses_double_and_are_bounded() {
        let again = Again {
            codes: &[],
            attempts: 9,
            backoff: Duration::from_millis(100),
        };
        assert_eq!(again.pause(0, 0), Duration::from_millis(50));
        assert!(again.pause(0, 999) < Duration::from_millis(100));
        assert_eq!(again.pause(1, 0), Duration::from_millis(100));
        assert_eq!(again.pause(30, 0), Duration::from_secs(5));
    }

    #[test]
    fn fields_are_set_added_and_removed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_static("old"));
        headers.insert("x-b", HeaderValue::from_static("1"));
        headers.insert("x-c", HeaderValue::from_static("1"));
        let json = r#"{"set":[{"name":"X-A","value":"new"}],
                       "add":[{"name":"x-b","value":"2"}],"remove":["X-C"]}"#;
        modify(
            &mut headers,
            &weft_model::spec_from_json(json.as_bytes()).unwrap(),
        );
        assert_eq!(headers["x-a"], "new");
        assert_eq!(headers.get_all("x-b").iter().count(), 2);
        assert!(!headers.contains_key("x-c"));
    }
}
