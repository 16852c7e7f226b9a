//! What decisions read of an HTTP request.

use std::fmt;
use std::num::NonZeroU16;

/// A request's header fields, read only when a rule asks for one.
///
/// Ours, so that no HTTP library's types reach decisions. A shell implements it over the map it
/// already has; [`HeaderList`] serves explanations and tests.
pub trait HeaderView {
    /// Whether `test` holds for one of the values of `name`, given in lower case: each field line
    /// is a value of its own (RFC 9110 §5.2), visited in the order received.
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// Header fields as a list of names, in any case, and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderList<'a>(pub &'a [(&'a str, &'a str)]);

impl HeaderView for HeaderList<'_> {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut of_name = self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        of_name.any(|(_, value)| test(value.as_bytes()))
    }
}

/// A request that has no header fields.
pub const NO_HEADERS: &dyn HeaderView = &HeaderList(&[]);

/// What decisions read of an HTTP request.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// `GET`, …
    pub method: &'a str,
    /// Host and port, from the absolute target, `:authority` or `Host`.
    pub authority: &'a str,
    /// Path and query as they are forwarded; empty for CONNECT.
    pub path: &'a str,
    /// The port if `authority` has none.
    pub port_default: NonZeroU16,
    /// The header fields.
    pub headers: &'a dyn HeaderView,
}

impl<'a> RequestHead<'a> {
    /// The path without the query.
    pub fn path_only(&self) -> &'a str {
        let path = self.path;
        path.split_once('?').map_or(path, |(path, _)| path)
    }

    /// The value of the first query parameter called `name`; empty if it has none. Names and
    /// values are compared as they travel: nothing is decoded.
    pub fn query(&self, name: &str) -> Option<&'a str> {
        let (_, query) = self.path.split_once('?')?;
        let pairs = query.split('&');
        let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for RequestHead<'_> {
    /// Without header fields, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(path: &str) -> RequestHead<'_> {
        RequestHead {
            method: "GET",
            authority: "checkout.shop",
            path,
            port_default: NonZeroU16::MIN,
            headers: NO_HEADERS,
        }
    }

    #[test]
    fn the_first_parameter_of_a_name_counts_as_it_travels() {
        let check = |path, name, expect| assert_eq!(head(path).query(name), expect, "{path}");
        check("/?a=1&b=2&a=3", "a", Some("1"));
        check("/?a=1&b=2", "b", Some("2"));
        check("/?a", "a", Some(""));
        check("/?a=b=c", "a", Some("b=c"));
        check("/?a=%31", "a", Some("%31"));
        check("/?%61=1", "a", None);
        check("/a", "a", None);
        check("/??a=1", "?a", Some("1"));
        assert_eq!(head("/x?y?z").path_only(), "/x");
        assert_eq!(head("").path_only(), "");
    }

    #[test]
    fn every_value_of_a_repeated_field_is_visited() {
        let list = HeaderList(&[("X-A", "1"), ("x-b", "2"), ("x-a", "3")]);
        let mut seen = Vec::new();
        list.any("x-a", &mut |value| {
            seen.push(value.to_vec());
            false
        });
        assert_eq!(seen, [b"1", b"3"]);
        assert!(list.any("x-a", &mut |value| value == b"3"));
        assert!(!NO_HEADERS.any("x-a", &mut |_| true));
    }
}
