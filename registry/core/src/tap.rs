//! Which requests somebody wants to see.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::{ClusterName, ServiceKey};

/// What a request must be to be shown; what is left out may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TapFilter {
    /// For this service.
    pub service: Option<ServiceKey>,
    /// Answered in one of these clusters.
    pub clusters: Option<BTreeSet<ClusterName>>,
    /// Answered like this.
    pub status: Option<StatusMatch>,
    /// By this method, in any case of letters.
    pub method: Option<String>,
    /// With a path that begins so.
    pub path: Option<String>,
}

/// A status, or a hundred of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusMatch {
    /// `503`.
    Exactly(u16),
    /// `5xx`.
    Class(u16),
}

/// What of a request a filter looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapSubject<'a> {
    /// The service asked for; none if the host named none.
    pub service: Option<&'a ServiceKey>,
    /// Who answered; none if nobody did.
    pub cluster: Option<&'a ClusterName>,
    /// The status that the client got.
    pub status: u16,
    /// The method.
    pub method: &'a str,
    /// The path, without its query.
    pub path: &'a str,
}

impl TapFilter {
    /// Whether the request is one to show.
    pub fn matches(&self, subject: &TapSubject<'_>) -> bool {
        let Self {
            service,
            clusters,
            status,
            method,
            path,
        } = self;
        let is_of = |clusters: &BTreeSet<ClusterName>| {
            subject
                .cluster
                .is_some_and(|cluster| clusters.contains(cluster))
        };
        service.as_ref().is_none_or(|s| subject.service == Some(s))
            && clusters.as_ref().is_none_or(is_of)
            && status.is_none_or(|status| status.matches(subject.status))
            && method
                .as_ref()
                .is_none_or(|method| subject.method.eq_ignore_ascii_case(method))
            && path
                .as_ref()
                .is_none_or(|path| subject.path.starts_with(path.as_str()))
    }
}

impl StatusMatch {
    fn matches(self, status: u16) -> bool {
        match self {
            Self::Exactly(wanted) => status == wanted,
            Self::Class(hundreds) => status / 100 == hundreds,
        }
    }
}

impl FromStr for StatusMatch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither a status (503) nor a class of them (5xx)");
        let class = text.to_ascii_lowercase();
        let class = class.strip_suffix("xx");
        match class.unwrap_or(text).parse().map_err(|_| wrong())? {
            hundreds @ 1..=5 if class.is_some() => Ok(Self::Class(hundreds)),
            status @ 100..=599 if class.is_none() => Ok(Self::Exactly(status)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for StatusMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(status) => write!(f, "{status}"),
            Self::Class(hundreds) => write!(f, "{hundreds}xx"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::name;

    #[test]
    fn statuses_and_classes_are_read_back() {
        for text in ["100", "503", "599", "1xx", "5xx"] {
            assert_eq!(text.parse::<StatusMatch>().unwrap().to_string(), text);
        }
        assert_eq!("5XX".parse(), Ok(StatusMatch::Class(5)));
        for wrong in [
            "", "xx", "0xx", "6xx", "50x", "99", "600", "5xxx", "-1", "ok",
        ] {
            assert!(wrong.parse::<StatusMatch>().is_err(), "{wrong}");
        }
    }

    /// A filter in words, a request in words, and whether it is shown.
    #[test]
    fn a_request_is_shown_if_all_of_the_filter_fits() {
        let table = "
            -                                     | shop/checkout eu-west-1 200 GET /a   | yes
            service=shop/checkout                 | shop/checkout eu-west-1 200 GET /a   | yes
            service=shop/checkout                 | shop/payments eu-west-1 200 GET /a   | no
            service=shop/checkout                 | - - 404 GET /a                       | no
            cluster=eu-west-1                     | shop/checkout eu-west-1 200 GET /a   | yes
            cluster=eu-west-1                     | shop/checkout us-east-1 200 GET /a   | no
            cluster=eu-west-1                     | shop/checkout - 503 GET /a           | no
            status=5xx                            | shop/checkout - 503 GET /a           | yes
            status=5xx                            | shop/checkout eu-west-1 404 GET /a   | no
            status=404                            | shop/checkout eu-west-1 404 GET /a   | yes
            method=get                            | shop/checkout eu-west-1 200 GET /a   | yes
            method=POST                           | shop/checkout eu-west-1 200 GET /a   | no
            path=/pay                             | shop/checkout eu-west-1 200 GET /pay/1 | yes
            path=/pay                             | shop/checkout eu-west-1 200 GET /    | no
            status=5xx path=/pay                  | shop/checkout eu-west-1 200 GET /pay | no
            status=2xx path=/pay method=GET       | shop/checkout eu-west-1 200 GET /pay | yes
        ";
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let (filter, request) = (filter(parts[0]), parts[1]);
            let words: Vec<&str> = request.split(' ').collect();
            let service: Option<ServiceKey> = (words[0] != "-").then(|| name(words[0]));
            let cluster: Option<ClusterName> = (words[1] != "-").then(|| name(words[1]));
            let subject = TapSubject {
                service: service.as_ref(),
                cluster: cluster.as_ref(),
                status: words[2].parse().unwrap(),
                method: words[3],
                path: words[4],
            };
            let shown = if filter.matches(&subject) {
                "yes"
            } else {
                "no"
            };
            assert_eq!(shown, parts[2], "{line}");
        }
    }

    fn filter(words: &str) -> TapFilter {
        let mut filter = TapFilter::default();
        for (field, value) in words.split(' ').filter_map(|word| word.split_once('=')) {
            match field {
                "service" => filter.service = Some(name(value)),
                "cluster" => filter.clusters = Some([name(value)].into()),
                "status" => filter.status = Some(value.parse().unwrap()),
                "method" => filter.method = Some(value.to_owned()),
                "path" => filter.path = Some(value.to_owned()),
                other => panic!("no field {other}"),
            }
        }
        filter
    }
}
