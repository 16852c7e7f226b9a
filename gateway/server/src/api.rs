//! The gateway's gRPC API: one TLS listener, three kinds of caller.
//!
//! Joiners and enrolling sidecars come without an identity and hold the hash of our CA;
//! sidecars come with a workload's; operators with one of the operators' trust domain.
//! [`RULES`] says who may call what, before a service sees the call; a call without a rule does not
//! exist.

mod enrolment;
mod listener;
mod renewal;
mod rules;
mod used;

use std::sync::Arc;

use tonic::{Request, Status};
use weft_model::{Code, SpiffeId};

use crate::peer::PeerIdentity;

pub use enrolment::EnrolmentService;
pub use listener::{ApiError, ApiListener, serve};
pub use renewal::RenewalService;
pub use rules::{Guarded, RULES, Rule};
pub use used::UsedTokens;

/// Who is at the other end of an API connection; none came without a certificate.
#[derive(Debug, Clone)]
pub struct Caller(pub Option<Arc<SpiffeId>>);

/// The caller of a request; only a mistake in wiring leaves it out.
pub(crate) fn caller<T>(request: &Request<T>) -> Option<&SpiffeId> {
    request
        .extensions()
        .get::<Caller>()
        .and_then(|caller| caller.0.as_deref())
}

/// A refusal with its `WEFT-nnnn` code, which the CLI reads from the metadata.
pub(crate) fn refusal(code: Code, what: impl Into<String>) -> Status {
    use weft_model::code::*;
    let kind = match code {
        NOT_AUTHORISED | WRONG_PEER | NOT_AN_SVID => tonic::Code::PermissionDenied,
        TOKEN_MALFORMED | INVALID_RESOURCE | UNKNOWN_KIND | USAGE | WRONG_VALUE | NOT_ENFORCED
        | TOO_LARGE => tonic::Code::InvalidArgument,
        NO_LEADER | READ_ONLY | CANNOT_KNOW => tonic::Code::Unavailable,
        OUTCOME_UNKNOWN => tonic::Code::DeadlineExceeded,
        COMPACTED => tonic::Code::OutOfRange,
        _ => tonic::Code::FailedPrecondition,
    };
    let mut status = Status::new(kind, what);
    if let Ok(value) = code.to_string().parse() {
        status.metadata_mut().insert("weft-code", value);
    }
    status
}

/// Passes a caller's identity to services that want it as [`PeerIdentity`]; without one, the call
/// is refused.
pub(crate) fn identified(mut request: Request<()>) -> Result<Request<()>, Status> {
    let id = caller(&request)
        .ok_or_else(|| {
            refusal(
                weft_model::code::NOT_AUTHORISED,
                "this call needs an identity",
            )
        })?
        .clone();
    request.extensions_mut().insert(PeerIdentity(id));
    Ok(request)
}
