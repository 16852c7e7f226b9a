//! Who may call which method: one table, asked before a call reaches its service.
//!
//! A method without a row does not exist to anybody; `tests` below fails for it too. What a call
//! means beyond that (whose endpoint, which record) its service judges.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use weft_model::{Federation, Role, SpiffeId, SpiffePath, TrustDomain, code};

use super::{Caller, refusal};
use crate::hub::Hub;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Whoever reaches the port: what is asked carries its own proof.
    Anyone,
    /// Workloads and gateways of the gateway's own cluster.
    Own,
    /// Workloads of the gateway's own cluster.
    OwnWorkload,
    /// Operators with this role or a higher one.
    Operator(Role),
}

/// Every method, by its path.
pub const RULES: &[(&str, Rule)] = &[
    ("/weft.identity.v1.Enrolment/Describe", Rule::Anyone),
    ("/weft.identity.v1.Enrolment/Join", Rule::Anyone),
    ("/weft.identity.v1.Enrolment/Enrol", Rule::Anyone),
    ("/weft.identity.v1.Renewal/Renew", Rule::Own),
    ("/weft.catalog.v1.Catalog/Session", Rule::OwnWorkload),
    ("/weft.api.v1.Admin/Status", Rule::Operator(Role::Viewer)),
    ("/weft.api.v1.Admin/Get", Rule::Operator(Role::Viewer)),
    ("/weft.api.v1.Admin/Submit", Rule::Operator(Role::Operator)),
    ("/weft.api.v1.Admin/Put", Rule::Operator(Role::Operator)),
    ("/weft.api.v1.Admin/Delete", Rule::Operator(Role::Operator)),
    // Of single questions some need more.
    ("/weft.api.v1.Admin/Ask", Rule::Operator(Role::Viewer)),
    ("/weft.api.v1.Admin/Watch", Rule::Operator(Role::Viewer)),
    (
        "/weft.api.v1.Admin/IssueWorkloadToken",
        Rule::Operator(Role::Operator),
    ),
    // Paths and hosts of single requests are more than what a viewer needs to see.
    ("/weft.api.v1.Admin/Tap", Rule::Operator(Role::Operator)),
    (
        "/weft.api.v1.Admin/TransferLeader",
        Rule::Operator(Role::Admin),
    ),
    ("/weft.api.v1.Admin/Backup", Rule::Operator(Role::Admin)),
];

/// The rule of a method.
pub(crate) fn rule(path: &str) -> Option<Rule> {
    let mut rules = RULES.iter();
    rules
        .find(|(known, _)| *known == path)
        .map(|(_, rule)| *rule)
}

/// Where a call is judged.
#[derive(Debug, Clone, Copy)]
struct Here<'a> {
    state: &'a Federation,
    trust_domain: &'a TrustDomain,
}

/// Whether `caller` may call the method at `path`.
fn judge(path: &str, caller: Option<&SpiffeId>, here: Here<'_>) -> Result<(), Status> {
    let denied = |what: String| Err(refusal(code::NOT_AUTHORISED, what));
    let Some(rule) = rule(path) else {
        return Err(Status::unimplemented(format!("there is no method {path}")));
    };
    if rule == Rule::Anyone {
        return Ok(());
    }
    let Some(id) = caller else {
        return denied("this call needs a certificate".into());
    };
    let own = id.trust_domain == *here.trust_domain;
    let lawful = match (rule, &id.path) {
        (Rule::Anyone, _) => true,
        (Rule::Own, SpiffePath::Workload { .. } | SpiffePath::Gateway(_)) => own,
        (Rule::OwnWorkload, SpiffePath::Workload { .. }) => own,
        (Rule::Operator(least), SpiffePath::User(_)) => {
            operator(id, here.state)?;
            return role(id, here.state, least);
        }
        _ => false,
    };
    match lawful {
        true => Ok(()),
        false => denied(format!("{id} may not call {path}")),
    }
}

/// Passes identities of the operators' own trust domain: a member's CA can sign `/user/…` paths
/// in its own, and they mean nothing.
fn operator(id: &SpiffeId, state: &Federation) -> Result<(), Status> {
    let operators = state.domain().map(TrustDomain::of_operators);
    match operators.is_some_and(|domain| domain == id.trust_domain) {
        true => Ok(()),
        false => Err(refusal(
            code::NOT_AUTHORISED,
            format!("{id} is no operator of this federation"),
        )),
    }
}

fn role(id: &SpiffeId, state: &Federation, least: Role) -> Result<(), Status> {
    let SpiffePath::User(user) = &id.path else {
        return Err(refusal(
            code::NOT_AUTHORISED,
            format!("{id} is no operator"),
        ));
    };
    match state.role(user) {
        Some(role) if role >= least => Ok(()),
        Some(role) => Err(refusal(
            code::NOT_AUTHORISED,
            format!("{user} is {role:?}, this call needs {least:?}"),
        )),
        None => Err(refusal(code::NOT_AUTHORISED, format!("{user} has no role"))),
    }
}

/// Services behind the table.
#[derive(Clone)]
pub struct Guarded<S> {
    hub: Arc<Hub>,
    inner: S,
}

impl<S> Guarded<S> {
    /// Puts `inner` behind the table.
    pub fn new(hub: Arc<Hub>, inner: S) -> Self {
        Self { hub, inner }
    }
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<Caller>();
        let caller = caller.and_then(|caller| caller.0.as_deref());
        let state = self.hub.registry().state();
        let here = Here {
            state: &state,
            trust_domain: self.hub.trust_domain(),
        };
        match judge(request.uri().path(), caller, here) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(status) => Either::Left(ready(Ok(status.into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use weft_model::RoleBindingSpec;
    use weft_model::fixture::{ADMIN, DOMAIN, Log, name};
    use weft_model::{Command, PublicKey, SignerEpoch, SignerRecord};

    use super::*;

    /// The services that this process serves, as the `.proto` files have them.
    fn methods() -> BTreeSet<String> {
        let files = prost_types::FileDescriptorSet::decode(weft_proto::DESCRIPTORS).unwrap();
        let ours = files
            .file
            .iter()
            .filter(|file| file.package().starts_with("weft."));
        let services = ours.flat_map(|file| {
            let package = file.package();
            file.service.iter().map(move |service| (package, service))
        });
        services
            .flat_map(|(package, service)| {
                let methods = service.method.iter();
                methods
                    .map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
            })
            .collect()
    }

    #[test]
    fn every_method_has_one_rule_and_every_rule_a_method() {
        let methods = methods();
        assert!(methods.len() >= 15, "{methods:?}");
        let ruled: BTreeSet<String> = RULES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(ruled.len(), RULES.len(), "one is there twice");
        assert_eq!(ruled, methods);
    }

    #[test]
    fn each_role_calls_what_the_table_says_and_nothing_else() {
        let mut log = Log::founded();
        log.join(2, "eu-west-1");
        for (user, role) in [("vi", Role::Viewer), ("oz", Role::Operator)] {
            let record = SignerRecord {
                user: name(user),
                epoch: SignerEpoch(1),
                key: PublicKey([8; 32]),
            };
            log.accept(log.gateway(1), Command::RecordSigner(record));
            let spec = RoleBindingSpec {
                role,
                users: BTreeSet::from([name(user)]),
            };
            log.accept(log.admin(), Command::PutRoleBinding(name(user), spec));
        }
        let trust_domain = name(&format!("us-east-1.{DOMAIN}"));
        let here = Here {
            state: &log.state,
            trust_domain: &trust_domain,
        };
        let id = |text: String| Some(name::<SpiffeId>(&format!("spiffe://{text}")));
        let callers = [
            (None, ""),
            (id(format!("us-east-1.{DOMAIN}/ns/shop/sa/web")), "RS"),
            (id(format!("us-east-1.{DOMAIN}/gateway/gw-1")), "R"),
            (
                id(format!(
                    "us-east-1.{DOMAIN}/gateway/gw-1/for/ns/shop/sa/web"
                )),
                "",
            ),
            (id(format!("us-east-1.{DOMAIN}/user/{ADMIN}")), ""),
            (id(format!("eu-west-1.{DOMAIN}/ns/shop/sa/web")), ""),
            (id(format!("eu-west-1.{DOMAIN}/gateway/gw-1")), ""),
            (id(format!("eu-west-1.{DOMAIN}/user/{ADMIN}")), ""),
            (id(format!("{DOMAIN}/ns/shop/sa/web")), ""),
            (id(format!("{DOMAIN}/user/nobody")), ""),
            (id(format!("{DOMAIN}/user/vi")), "v"),
            (id(format!("{DOMAIN}/user/oz")), "vo"),
            (id(format!("{DOMAIN}/user/{ADMIN}")), "voa"),
        ];
        for (caller, may) in callers {
            for (path, rule) in RULES {
                let allowed = match rule {
                    Rule::Anyone => true,
                    Rule::Own => may.contains('R'),
                    Rule::OwnWorkload => may.contains('S'),
                    Rule::Operator(Role::Viewer) => may.contains('v'),
                    Rule::Operator(Role::Operator) => may.contains('o'),
                    Rule::Operator(Role::Admin) => may.contains('a'),
                };
                let judged = judge(path, caller.as_ref(), here);
                assert_eq!(judged.is_ok(), allowed, "{caller:?} {path}: {judged:?}");
            }
            for path in [
                "/weft.api.v1.Admin/New",
                "/",
                "",
                "/weft.api.v1.Admin/status",
            ] {
                assert!(judge(path, caller.as_ref(), here).is_err(), "{path}");
            }
        }
    }
}
