//! Names: DNS labels and labels' cousins, checked once, where they enter.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no characters.
    #[error("a name cannot be empty")]
    Empty,
    /// The name is longer than its form allows, in bytes.
    #[error("{name:?} has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// The name as given.
        name: String,
        /// Its length in bytes.
        len: usize,
        /// The longest length allowed, in bytes.
        max: usize,
    },
    /// The name has a character outside its alphabet, or at a place where it may not stand.
    #[error("{name:?} may not have {found:?} at position {at}: {rule}")]
    Character {
        /// The name as given.
        name: String,
        /// The offending character.
        found: char,
        /// Its position, counted from 1.
        at: usize,
        /// The rule it breaks.
        rule: &'static str,
    },
}

const LABEL_RULE: &str =
    "lower-case letters, digits and '-' are allowed, beginning and ending with a letter or digit";
const WORD_RULE: &str =
    "letters, digits, '-', '_' and '.' are allowed, beginning and ending with a letter or digit";

/// RFC 1123 label, lower case, at most 63 bytes.
fn check_label(name: &str) -> Result<(), NameError> {
    check(name, 63, LABEL_RULE, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
    })
}

/// Kubernetes label value that is not empty: at most 63 bytes of `[A-Za-z0-9._-]`.
fn check_word(name: &str) -> Result<(), NameError> {
    check(name, 63, WORD_RULE, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
    })
}

/// Dot-separated labels, at most 200 bytes, so that a trust domain below it stays within 255.
fn check_domain(name: &str) -> Result<(), NameError> {
    check(name, 200, LABEL_RULE, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.')
    })?;
    name.split('.').try_for_each(check_label)
}

fn check(
    name: &str,
    max: usize,
    rule: &'static str,
    allowed: impl Fn(char) -> bool,
) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > max {
        return Err(NameError::TooLong {
            name: name.chars().take(80).collect(),
            len: name.len(),
            max,
        });
    }
    let last = name.chars().count();
    for (position, found) in (1..).zip(name.chars()) {
        let edge = position == 1 || position == last;
        if !allowed(found) || (edge && !found.is_ascii_alphanumeric()) {
            return Err(NameError::Character {
                name: name.to_owned(),
                found,
                at: position,
                rule,
            });
        }
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks `name` and takes it.
            pub fn new(name: &str) -> Result<Self, NameError> {
                $check(name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(&name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "minLength": 1, "maxLength": 253 })
            }
        }
    };
}

name!(
    /// A cluster: MCS's cluster id, a DNS label, stable for the membership.
    ClusterName, check_label);
name!(
    /// A region, the first level of locality: `eu-west`.
    RegionName, check_label);
name!(
    /// An availability zone inside a region; never a cluster.
    ZoneName, check_label);
name!(
    /// A namespace; the same name means the same namespace in every cluster (MCS).
    Namespace, check_label);
name!(
    /// A service's name within its namespace.
    ServiceName, check_label);
name!(
    /// A service account's name within its namespace. A word, as in Kubernetes.
    ServiceAccount, check_word);
name!(
    /// A gateway's name within its cluster.
    GatewayName, check_label);
name!(
    /// A service port's name.
    PortName, check_label);
name!(
    /// An endpoint's host name, the first label of a headless endpoint's DNS name.
    Hostname, check_label);
name!(
    /// The value of an endpoint's version label: `v2`.
    Version, check_word);
name!(
    /// A wave's name within its release.
    WaveName, check_label);
name!(
    /// An operator's name.
    UserName, check_word);
name!(
    /// The federation's domain, root of every trust domain: `fed.example.org`.
    FederationDomain, check_domain);
