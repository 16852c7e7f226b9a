//! Why an entry changed nothing.

use serde::Serialize;

use crate::{ClusterName, FormatLevel, Generation, Kind, Namespace, ReleaseRefusal, ServiceKey};

/// Why an entry changed nothing. Every replica comes to the same one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
pub enum Refusal {
    /// The federation has no first entry yet, or has one already.
    #[error("the federation is already founded, or not yet")]
    Founding,
    /// The signature does not hold, or the author has no such key.
    #[error("the entry's signature does not hold for its author")]
    Signature,
    /// The author does not own what the command changes, or lacks the role.
    #[error("{author} may not change {what}")]
    NotOwner {
        /// Who tried.
        author: String,
        /// What it tried to change.
        what: String,
    },
    /// An older write than one already seen of this owner.
    #[error(
        "generation {given} is not above {seen}: a replay, or a lost race; read again and retry"
    )]
    StaleGeneration {
        /// As written.
        given: Generation,
        /// The newest accepted.
        seen: Generation,
    },
    /// No such record.
    #[error("{0} does not exist")]
    Unknown(String),
    /// The name is taken, or belonged to a member that was removed.
    #[error("{0} exists already, or its name was used by a removed member")]
    Taken(String),
    /// The token is expired, revoked or used.
    #[error("the token is {0}")]
    Token(&'static str),
    /// The value breaks a rule of its kind.
    #[error("{kind} {name}: {problem}")]
    Invalid {
        /// The kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The cluster may not export from this namespace.
    #[error(
        "cluster {cluster} may not export from namespace {namespace}; Cluster.spec.namespaces lists the allowed ones"
    )]
    Namespace {
        /// The exporter.
        cluster: ClusterName,
        /// The namespace.
        namespace: Namespace,
    },
    /// All virtual-IP indexes are in use or in quarantine.
    #[error("no virtual-IP index is free")]
    Exhausted,
    /// The command belongs to a format level that is not in force.
    #[error("the command needs format level {needs}, {has} is in force")]
    Format {
        /// The level it needs.
        needs: FormatLevel,
        /// The level in force.
        has: FormatLevel,
    },
    /// A release does not do what is asked.
    #[error("release {key} {why}")]
    Release {
        /// The release.
        key: ServiceKey,
        /// Why not.
        why: ReleaseRefusal,
    },
    /// The last administrator cannot be removed.
    #[error("this would leave the federation without an administrator")]
    LastAdmin,
}

/// What a token can be that makes it useless: all that [`Refusal::Token`] ever says.
pub mod token {
    /// Its time is over.
    pub const EXPIRED: &str = "expired";
    /// An administrator withdrew it.
    pub const REVOKED: &str = "revoked";
    /// It made somebody a member.
    pub const USED: &str = "used already";
    pub(crate) const TOO_LONG: &str = "valid for more than 24h: ask for less";
    pub(crate) const TOO_MANY: &str = "one too many: wait until some have expired";
    pub(crate) const OTHER: &str = "not usable";
    pub(crate) const ALL: [&str; 6] = [EXPIRED, REVOKED, USED, TOO_LONG, TOO_MANY, OTHER];
}

impl Refusal {
    /// The refusal of a token, from what another build wrote of it.
    pub fn token(what: &str) -> Self {
        let known = token::ALL.into_iter().find(|known| *known == what);
        Self::Token(known.unwrap_or(token::OTHER))
    }

    /// The refusal of a value that breaks a rule of its kind.
    pub(crate) fn invalid(kind: Kind, name: impl ToString, problem: impl Into<String>) -> Self {
        Self::Invalid {
            kind,
            name: name.to_string(),
            problem: problem.into(),
        }
    }
}
