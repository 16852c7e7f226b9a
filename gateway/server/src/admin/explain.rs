//! Explanations: the functions that decide, asked for their reasons.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use serde_json::Value;
use tonic::Status;
use weft_decide::{NO_HEADERS, Reason, RequestHead, Route};
use weft_model::{SpiffeId, SpiffePath, code};
use weft_plan::dns::{self, ClientView, Name, Question, RecordType, Verdict};

use super::status::freshness;
use super::view::{ExplanationView, StepView};
use crate::api::refusal;
use crate::config::GatewayConfig;
use crate::hub::Hub;

/// The port of `http://` without one.
const HTTP: NonZeroU16 = NonZeroU16::new(80).unwrap();

fn text<'a>(arguments: &'a Value, name: &str) -> Result<&'a str, Status> {
    let given = arguments.get(name).and_then(Value::as_str);
    given.ok_or_else(|| refusal(code::USAGE, format!("{name} is missing")))
}

/// How a name is read here and what is answered.
pub(super) fn dns(hub: &Hub, arguments: &Value) -> Result<ExplanationView, Status> {
    let (name, kind) = (text(arguments, "name")?, text(arguments, "type")?);
    let usage = |what: String| refusal(code::USAGE, what);
    let question = Question {
        name: Name::parse(name).map_err(|error| usage(format!("{name:?}: {error}")))?,
        record_type: kind.parse::<RecordType>().map_err(usage)?,
    };
    let explained = dns::explain(&hub.zones(), &question, &ClientView::default());
    let (result, code) = match &explained.answer.verdict {
        Verdict::Found => {
            let lines: Vec<String> = explained
                .answer
                .answers
                .iter()
                .map(ToString::to_string)
                .collect();
            (lines.join("\n  "), None)
        }
        Verdict::NoData => ("NOERROR, no record of that type (NODATA)".into(), None),
        Verdict::NoName => ("NXDOMAIN".into(), Some(code::NO_SUCH_NAME)),
        Verdict::CannotKnow(unknown) => (
            format!("SERVFAIL: {}", unknown.why),
            Some(code::CANNOT_KNOW),
        ),
        Verdict::NotOurs => (
            "in none of our zones: for the upstream resolvers".into(),
            Some(code::NOT_OUR_NAME),
        ),
    };
    Ok(ExplanationView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        question: format!("{name} {kind}, asked in {}", hub.cluster()),
        steps: explained
            .steps
            .iter()
            .map(|step| fact(step.to_string()))
            .collect(),
        result,
        code: code.map(|code| code.to_string()),
    })
}

fn fact(reason: String) -> StepView {
    StepView {
        verdict: "fact".into(),
        subject: String::new(),
        reason,
    }
}

/// Where a request would go from this cluster.
pub(super) fn route(hub: &Hub, arguments: &Value) -> Result<ExplanationView, Status> {
    let (method, url) = (text(arguments, "method")?, text(arguments, "url")?);
    let uri: http::Uri = url
        .parse()
        .map_err(|error| refusal(code::USAGE, format!("{url:?} is no URL: {error}")))?;
    let authority = uri.authority().ok_or_else(|| {
        refusal(
            code::USAGE,
            format!("{url:?} has no host: write http://checkout.shop/"),
        )
    })?;
    let table = hub.service_table();
    let head = RequestHead {
        method,
        authority: authority.as_str(),
        path: uri.path_and_query().map_or("/", |path| path.as_str()),
        port_default: HTTP,
        headers: NO_HEADERS,
    };
    let mut steps = Vec::new();
    let found = match weft_decide::find(&table, &head) {
        Ok(route) => route,
        Err(reason) => return Ok(explanation(hub, method, url, steps, Err(reason))),
    };
    let key = found.service.key();
    steps.push(fact(format!(
        "{authority} is service {key}, port {}",
        found.number()
    )));
    steps.extend(without_sidecar(hub.config(), &found).map(fact));
    let mut taking = 0;
    // Ejections are each sidecar's own observation: a gateway knows of none.
    for (view, verdict) in found.candidates(&table, |_| false) {
        taking += usize::from(verdict.is_ok());
        let endpoint = &view.endpoint;
        steps.push(StepView {
            verdict: if verdict.is_ok() {
                "candidate"
            } else {
                "refused"
            }
            .into(),
            subject: format!(
                "{} in {}",
                short(&endpoint.id.to_string()),
                endpoint.cluster
            ),
            reason: match verdict {
                Ok(level) => format!("{level}{}", fronted(&endpoint.identity)),
                Err(refused) => refused.to_string(),
            },
        });
    }
    let result = match taking {
        0 => Err(Reason::NoEndpoints),
        _ => Ok(format!(
            "{key} port {}: {taking} candidate(s); the nearest level that is not empty, peak-EWMA among two",
            found.number()
        )),
    };
    Ok(explanation(hub, method, url, steps, result))
}

/// Where a client that has no sidecar meets this gateway instead.
fn without_sidecar(config: &GatewayConfig, route: &Route<'_>) -> Option<String> {
    let ips = route.service.virtual_ips().iter();
    let ips: Vec<String> = ips
        .map(|ip| SocketAddr::new(*ip, route.number().get()).to_string())
        .collect();
    if ips.is_empty() {
        return None;
    }
    let what = match (config.stand_in.clients, config.stand_in.capture) {
        (false, _) => "where this gateway answers nobody: standIn.clients is false".to_owned(),
        (true, None) => "where this gateway stands in for one".to_owned(),
        (true, Some(capture)) => format!(
            "where this gateway stands in for one (captured on port {})",
            capture.port
        ),
    };
    let at = ips.join(" or ");
    Some(format!(
        "a client without a sidecar connects to {at}, {what}"
    ))
}

/// Who ends the inner TLS for a server that has no sidecar.
fn fronted(identity: &SpiffeId) -> String {
    match &identity.path {
        SpiffePath::StandIn { gateway, .. } => {
            format!("; it has no sidecar: gateway {gateway} stands in for one")
        }
        _ => String::new(),
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn explanation(
    hub: &Hub,
    method: &str,
    url: &str,
    steps: Vec<StepView>,
    result: Result<String, Reason>,
) -> ExplanationView {
    let (result, code) = match result {
        Ok(result) => (result, None),
        Err(reason) => (
            format!("{} ({})", reason.what(), reason.response_flag()),
            Some(reason.code().to_string()),
        ),
    };
    ExplanationView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        question: format!("{method} {url}, from {}", hub.cluster()),
        steps,
        result,
        code,
    }
}
