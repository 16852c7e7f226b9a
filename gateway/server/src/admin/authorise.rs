//! Who may call what. Deny by default: a call without a rule is a call that fails.

use tonic::{Request, Status};
use weft_model::{Role, SpiffePath, TrustDomain, UserName, code};

use crate::api::{caller, refusal};
use crate::hub::Hub;

/// The operator behind a request, if their role is `least` or more.
///
/// Only the operators' own trust domain makes operators: a member's CA can sign `/user/…`
/// paths in its own domain, and they mean nothing here.
pub(super) fn needs<T>(hub: &Hub, request: &Request<T>, least: Role) -> Result<UserName, Status> {
    let denied = |what: String| refusal(code::NOT_AUTHORISED, what);
    let id = caller(request)
        .ok_or_else(|| denied("this call needs an operator's certificate".into()))?;
    let user = match &id.path {
        SpiffePath::User(user) if id.trust_domain == TrustDomain::of_operators(hub.domain()) => {
            user
        }
        _ => return Err(denied(format!("{id} is no operator of {}", hub.domain()))),
    };
    match hub.registry().state().role(user) {
        Some(role) if role >= least => Ok(user.clone()),
        Some(role) => Err(denied(format!(
            "{user} is {role:?}, this call needs {least:?}"
        ))),
        None => Err(denied(format!("{user} has no role"))),
    }
}
