//! Host names of services, taken apart.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroU16;

use weft_model::{ClusterName, EndpointId, RegionName};

use crate::Reason;

/// Which of a service's endpoints a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of them, nearest first.
    Any,
    /// Those of one cluster.
    Cluster(ClusterName),
    /// Those of one region.
    Region(RegionName),
    /// One of them. No name says this: an address given out for it does.
    Endpoint(EndpointId),
}

/// What stands before the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host<'a> {
    /// `<service>.<namespace>`, lower case. Borrowed unless a letter was upper case.
    Service(Cow<'a, str>),
    /// A virtual IP.
    Ip(IpAddr),
}

/// An authority: host, scope and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The service's name or virtual IP.
    pub host: Host<'a>,
    /// Which of its endpoints are meant.
    pub scope: Scope,
    /// The port, if it says one.
    pub port: Option<NonZeroU16>,
}

const CLUSTERSET_ZONE: &str = ".svc.clusterset.local";
const CLUSTER_ZONE: &str = ".cluster.weft.internal";
const REGION_ZONE: &str = ".region.weft.internal";

impl<'a> Authority<'a> {
    /// Parses `host[:port]` (RFC 3986 §3.2, without userinfo).
    ///
    /// [`Reason::BadRequest`] if it is no authority, [`Reason::NoRoute`] if its
    /// host has none of the forms of a service's name.
    pub fn parse(authority: &'a str) -> Result<Self, Reason> {
        let (host, port) = split_port(authority)?;
        if let Some(ip) = literal_ip(host)? {
            return Ok(Self {
                host: Host::Ip(ip),
                scope: Scope::Any,
                port,
            });
        }
        let (name, scope) = scope(lower(host.strip_suffix('.').unwrap_or(host)))?;
        Ok(Self {
            host: Host::Service(name),
            scope,
            port,
        })
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<NonZeroU16>), Reason> {
    if authority.is_empty() || authority.contains('@') {
        return Err(Reason::BadRequest);
    }
    // In `[::1]:80` and `[::1]` the colons before `]` belong to the address.
    let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_bracket..].rfind(':') {
        None => Ok((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(after_bracket + colon);
            let digits = &port[1..];
            if host.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Reason::BadRequest);
            }
            // RFC 3986 allows an empty port: the scheme's default.
            if digits.is_empty() {
                return Ok((host, None));
            }
            let port = digits.parse().map_err(|_| Reason::BadRequest)?;
            Ok((host, Some(port)))
        }
    }
}

fn literal_ip(host: &str) -> Result<Option<IpAddr>, Reason> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(Reason::BadRequest)?;
        let ip = inner.parse().map_err(|_| Reason::BadRequest)?;
        return Ok(Some(IpAddr::V6(ip)));
    }
    // `host` cannot be IPv6 here: that needs brackets.
    Ok(host.parse().ok().map(IpAddr::V4))
}

fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Cuts the zone off and reads the scope it says.
fn scope(host: Cow<'_, str>) -> Result<(Cow<'_, str>, Scope), Reason> {
    let (keep, scope) = if let Some(name) = host.strip_suffix(CLUSTERSET_ZONE) {
        (name.len(), Scope::Any)
    } else if let Some(rest) = host.strip_suffix(CLUSTER_ZONE) {
        let (name, cluster) = rest.rsplit_once(".svc.").ok_or(Reason::NoRoute)?;
        let cluster = cluster.parse().map_err(|_| Reason::NoRoute)?;
        (name.len(), Scope::Cluster(cluster))
    } else if let Some(rest) = host.strip_suffix(REGION_ZONE) {
        let (name, region) = rest.rsplit_once(".svc.").ok_or(Reason::NoRoute)?;
        let region = region.parse().map_err(|_| Reason::NoRoute)?;
        (name.len(), Scope::Region(region))
    } else {
        (host.len(), Scope::Any)
    };
    if host[..keep].bytes().filter(|b| *b == b'.').count() != 1 {
        return Err(Reason::NoRoute);
    }
    let name = match host {
        Cow::Borrowed(host) => Cow::Borrowed(&host[..keep]),
        Cow::Owned(mut host) => {
            host.truncate(keep);
            Cow::Owned(host)
        }
    };
    Ok((name, scope))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(authority: &str, expect: Result<(&str, Scope, Option<u16>), Reason>) {
        let found = Authority::parse(authority).map(|a| {
            let host = match a.host {
                Host::Service(name) => name.into_owned(),
                Host::Ip(ip) => ip.to_string(),
            };
            (host, a.scope, a.port.map(NonZeroU16::get))
        });
        let expect = expect.map(|(host, scope, port)| (host.to_owned(), scope, port));
        assert_eq!(found, expect, "{authority:?}");
    }

    #[test]
    fn every_form_of_a_name() {
        let any = Scope::Any;
        let cluster = Scope::Cluster("eu-west-1".parse().unwrap());
        let region = Scope::Region("eu-west".parse().unwrap());
        let ok = |scope: &Scope, port| Ok(("checkout.shop", scope.clone(), port));
        check("checkout.shop", ok(&any, None));
        check("checkout.shop:8080", ok(&any, Some(8080)));
        check("checkout.shop:", ok(&any, None));
        check("checkout.shop.svc.clusterset.local", ok(&any, None));
        check("checkout.shop.svc.clusterset.local.:80", ok(&any, Some(80)));
        check("CheckOut.SHOP.svc.ClusterSet.Local", ok(&any, None));
        check(
            "checkout.shop.svc.eu-west-1.cluster.weft.internal",
            ok(&cluster, None),
        );
        check(
            "Checkout.shop.svc.eu-west.region.weft.internal.:81",
            ok(&region, Some(81)),
        );
        check("240.0.0.7:5432", Ok(("240.0.0.7", any.clone(), Some(5432))));
        check("[fd00::7]:80", Ok(("fd00::7", any.clone(), Some(80))));
        check("[fd00::7]", Ok(("fd00::7", any, None)));
    }

    #[test]
    fn other_names_have_no_route() {
        for host in [
            "checkout",
            "example.com.evil.org",
            "a.checkout.shop.svc.clusterset.local",
            "eu-west-1.checkout.shop.svc.clusterset.local",
            "checkout.shop.eu-west-1.cluster.weft.internal",
            "checkout.shop.svc.a.b.cluster.weft.internal",
            "checkout.shop.svc.cluster.local",
            "checkout.shop..",
        ] {
            check(host, Err(Reason::NoRoute));
        }
    }

    #[test]
    fn malformed_authorities_are_bad_requests() {
        for authority in [
            "",
            ":80",
            "user@checkout.shop",
            "checkout.shop:80a",
            "checkout.shop:0",
            "checkout.shop:65536",
            "checkout.shop:+80",
            "[fd00::7",
            "[checkout]:80",
        ] {
            check(authority, Err(Reason::BadRequest));
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(authority in ".{0,80}") {
            let _ = Authority::parse(&authority);
        }

        #[test]
        fn case_dot_and_zone_do_not_matter(
            name in "[a-z][a-z0-9-]{0,8}[a-z0-9]",
            namespace in "[a-z][a-z0-9-]{0,8}[a-z0-9]",
            upper in any::<bool>(),
            dot in any::<bool>(),
            zone in any::<bool>(),
        ) {
            let short = format!("{name}.{namespace}");
            let mut host = short.clone();
            if zone { host.push_str(CLUSTERSET_ZONE) }
            if dot { host.push('.') }
            if upper { host = host.to_ascii_uppercase() }
            let parsed = Authority::parse(&host).unwrap();
            prop_assert_eq!(parsed.host, Host::Service(short.into()));
        }
    }
}
