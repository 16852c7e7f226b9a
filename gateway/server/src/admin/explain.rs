//! Explanations: the functions that decide, asked for their reasons.

use serde_json::Value;
use tonic::Status;
use weft_model::{Health, ServiceKey, code};
use weft_plan::Traffic;
use weft_plan::dns::{self, ClientView, Name, Question, RecordType, Verdict};

use super::status::freshness;
use super::view::{ExplanationView, StepView};
use crate::api::refusal;
use crate::hub::Hub;

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
        kind: kind.parse::<RecordType>().map_err(|error| usage(format!("{kind:?}: {error}")))?,
    };
    let explained = dns::explain(&hub.zones(), &question, &ClientView::default());
    let (result, code) = match &explained.answer.verdict {
        Verdict::Records(records) => {
            let lines: Vec<String> = records.iter().map(ToString::to_string).collect();
            (lines.join("\n  "), None)
        }
        Verdict::NoData => ("NOERROR, no record of that type (NODATA)".into(), None),
        Verdict::NoSuchName => ("NXDOMAIN".into(), Some(code::NO_SUCH_NAME)),
        Verdict::Unknown(unknown) => (format!("SERVFAIL: {}", unknown.text), Some(code::CANNOT_KNOW)),
        Verdict::NotOurs => ("not ours: forwarded to the upstream resolvers".into(), Some(code::NOT_OUR_NAME)),
    };
    Ok(ExplanationView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        question: format!("{name} {kind}, asked in {}", hub.cluster()),
        steps: explained.steps.iter().map(|step| fact(step.to_string())).collect(),
        result,
        code: code.map(|code| code.to_string()),
    })
}

fn fact(reason: String) -> StepView {
    StepView { verdict: "fact".into(), subject: String::new(), reason }
}

/// Where a request would go from this cluster.
pub(super) fn route(hub: &Hub, arguments: &Value) -> Result<ExplanationView, Status> {
    let (method, url) = (text(arguments, "method")?, text(arguments, "url")?);
    let uri: http::Uri =
        url.parse().map_err(|error| refusal(code::USAGE, format!("{url:?} is no URL: {error}")))?;
    let authority = uri
        .authority()
        .ok_or_else(|| refusal(code::USAGE, format!("{url:?} has no host: write http://checkout.shop/")))?;
    let table = hub.service_table();
    let head = weft_decide::RequestHead { authority: authority.as_str(), virtual_ip: None };
    let mut steps = Vec::new();
    let found = match weft_decide::find(&table, &head) {
        Ok(route) => route,
        Err(reason) => {
            return Ok(explanation(hub, method, url, steps, reason.to_string(), Some(reason.code())));
        }
    };
    let key: ServiceKey = found.service.key().clone();
    steps.push(fact(format!("{authority} is service {key}, port {}", found.number())));
    let (state, outlook, now) = (hub.registry().state(), hub.outlook(), hub.clock().now());
    let mut chosen = 0;
    if let Some(endpoints) = hub.catalog().service(&key) {
        for endpoint in &endpoints.endpoints {
            let verdict = outlook.verdict(&state, &key, &endpoint.cluster, now);
            let takes = endpoint.health == Health::Ready && verdict.traffic == Traffic::All;
            chosen += usize::from(takes);
            let reason = if endpoint.health == Health::Ready {
                verdict.why.to_string()
            } else {
                format!("{:?}", endpoint.health)
            };
            steps.push(StepView {
                verdict: if takes { "candidate" } else { "refused" }.into(),
                subject: format!("{} in {}", short(&endpoint.id.to_string()), endpoint.cluster),
                reason,
            });
        }
    }
    let (result, code) = match chosen {
        0 => ("no endpoint takes new work (UH)".to_owned(), Some(code::NO_HEALTHY_UPSTREAM)),
        count => (
            format!("{key} port {}: {count} candidate(s), nearest first, by peak-EWMA power of two choices", found.number()),
            None,
        ),
    };
    Ok(explanation(hub, method, url, steps, result, code))
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn explanation(
    hub: &Hub,
    method: &str,
    url: &str,
    steps: Vec<StepView>,
    result: String,
    code: Option<weft_model::Code>,
) -> ExplanationView {
    ExplanationView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        question: format!("{method} {url}, from {}", hub.cluster()),
        steps,
        result,
        code: code.map(|code| code.to_string()),
    }
}
