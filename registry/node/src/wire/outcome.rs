//! Outcomes of requests and the reasons in them.

use weft_model::{FormatLevel, Generation, Index, Kind, Outcome, Refusal, RequestId};
use weft_proto::log::{self, refusal, refusal::Reason, request_outcome::Outcome as Wire};

use super::field::{WireError, choice, id_bytes, name, present, request, unspecified};
use super::release;

pub(super) fn write_chunk(chunk: &[(RequestId, Outcome)]) -> log::Requests {
    let row = |(request, outcome): &(RequestId, Outcome)| log::RequestOutcome {
        request: id_bytes(&request.0),
        outcome: Some(match outcome {
            Ok(index) => Wire::Accepted(index.0),
            Err(refusal) => Wire::Refused(write_refusal(refusal)),
        }),
    };
    log::Requests {
        outcomes: chunk.iter().map(row).collect(),
    }
}

pub(super) fn read_chunk(wire: &log::Requests) -> Result<Vec<(RequestId, Outcome)>, WireError> {
    let row = |wire: &log::RequestOutcome| {
        let outcome = match present("requests.outcome", wire.outcome.as_ref())? {
            Wire::Accepted(index) => Ok(Index(*index)),
            Wire::Refused(refusal) => Err(read_refusal(refusal)?),
        };
        Ok((request(&wire.request)?, outcome))
    };
    wire.outcomes.iter().map(row).collect()
}

pub(crate) fn write_refusal(refusal: &Refusal) -> log::Refusal {
    const UNIT: refusal::Unit = refusal::Unit {};
    let reason = match refusal {
        Refusal::Founding => Reason::Founding(UNIT),
        Refusal::Signature => Reason::Signature(UNIT),
        Refusal::NotOwner { author, what } => Reason::NotOwner(refusal::NotOwner {
            author: author.clone(),
            what: what.clone(),
        }),
        Refusal::StaleGeneration { given, seen } => {
            Reason::StaleGeneration(refusal::StaleGeneration {
                given: given.0,
                seen: seen.0,
            })
        }
        Refusal::Unknown(what) => Reason::Unknown(what.clone()),
        Refusal::Taken(what) => Reason::Taken(what.clone()),
        Refusal::Token(what) => Reason::Token((*what).to_owned()),
        Refusal::Invalid {
            kind,
            name,
            problem,
        } => Reason::Invalid(refusal::Invalid {
            kind: write_kind(*kind),
            name: name.clone(),
            problem: problem.clone(),
        }),
        Refusal::Namespace { cluster, namespace } => Reason::Namespace(refusal::Namespace {
            cluster: cluster.to_string(),
            namespace: namespace.to_string(),
        }),
        Refusal::Exhausted => Reason::Exhausted(UNIT),
        Refusal::Format { needs, has } => Reason::Format(refusal::Format {
            needs: needs.0,
            has: has.0,
        }),
        Refusal::Release { key, why } => Reason::Release(release::write_refusal(key, why)),
        Refusal::LastAdmin => Reason::LastAdmin(UNIT),
    };
    log::Refusal {
        reason: Some(reason),
    }
}

pub(crate) fn read_refusal(wire: &log::Refusal) -> Result<Refusal, WireError> {
    Ok(match present("refusal", wire.reason.as_ref())? {
        Reason::Founding(_) => Refusal::Founding,
        Reason::Signature(_) => Refusal::Signature,
        Reason::NotOwner(wire) => Refusal::NotOwner {
            author: wire.author.clone(),
            what: wire.what.clone(),
        },
        Reason::StaleGeneration(wire) => Refusal::StaleGeneration {
            given: Generation(wire.given),
            seen: Generation(wire.seen),
        },
        Reason::Unknown(what) => Refusal::Unknown(what.clone()),
        Reason::Taken(what) => Refusal::Taken(what.clone()),
        Reason::Token(what) => Refusal::token(what),
        Reason::Invalid(wire) => Refusal::Invalid {
            kind: read_kind(wire.kind)?,
            name: wire.name.clone(),
            problem: wire.problem.clone(),
        },
        Reason::Namespace(wire) => Refusal::Namespace {
            cluster: name("refusal.cluster", &wire.cluster)?,
            namespace: name("refusal.namespace", &wire.namespace)?,
        },
        Reason::Exhausted(_) => Refusal::Exhausted,
        Reason::Format(wire) => Refusal::Format {
            needs: FormatLevel(wire.needs),
            has: FormatLevel(wire.has),
        },
        Reason::Release(wire) => {
            let (key, why) = release::read_refusal(wire)?;
            Refusal::Release { key, why }
        }
        Reason::LastAdmin(_) => Refusal::LastAdmin,
    })
}

fn write_kind(kind: Kind) -> i32 {
    let kind = match kind {
        Kind::Cluster => log::Kind::Cluster,
        Kind::ServiceExport => log::Kind::ServiceExport,
        Kind::WorkloadEntry => log::Kind::WorkloadEntry,
        Kind::RoleBinding => log::Kind::RoleBinding,
        Kind::Route => log::Kind::Route,
        Kind::TrafficPolicy => log::Kind::TrafficPolicy,
        Kind::Release => log::Kind::Release,
    };
    kind.into()
}

fn read_kind(number: i32) -> Result<Kind, WireError> {
    match choice("refusal.kind", number)? {
        log::Kind::Unspecified => Err(unspecified("refusal.kind")),
        log::Kind::Cluster => Ok(Kind::Cluster),
        log::Kind::ServiceExport => Ok(Kind::ServiceExport),
        log::Kind::WorkloadEntry => Ok(Kind::WorkloadEntry),
        log::Kind::RoleBinding => Ok(Kind::RoleBinding),
        log::Kind::Route => Ok(Kind::Route),
        log::Kind::TrafficPolicy => Ok(Kind::TrafficPolicy),
        log::Kind::Release => Ok(Kind::Release),
    }
}
