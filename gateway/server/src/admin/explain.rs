//! Explanations: the functions that decide, asked for their reasons.

mod lanes;
mod recorded;

use std::net::SocketAddr;
use std::num::NonZeroU16;

use serde_json::Value;
use tonic::Status;
use weft_decide::{
    Backend, EndpointRefusal, EndpointView, HeaderList, Level, Locality, Matched, Reason,
    RequestHead, Route, RuleTable, ServiceTable,
};
use weft_model::{SpiffeId, SpiffePath, code};
use weft_plan::dns::{self, ClientView, Name, Question, RecordType, Verdict};

use super::history::Past;
use super::status::{self, freshness};
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

/// Header fields as they were given, `name: value` each.
fn header_fields(arguments: &Value) -> Result<Vec<(String, String)>, Status> {
    let given = arguments.get("headers").and_then(Value::as_array);
    let lines = given.into_iter().flatten().filter_map(Value::as_str);
    lines
        .map(|line| match line.split_once(':') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => Err(refusal(
                code::USAGE,
                format!("{line:?} is no header: write NAME: VALUE"),
            )),
        })
        .collect()
}

/// Where a request would go from this cluster; of the past, as far as the records alone say.
pub(super) fn route(
    hub: &Hub,
    arguments: &Value,
    past: Option<&Past>,
) -> Result<ExplanationView, Status> {
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
    let fields = header_fields(arguments)?;
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let table = match past {
        Some(past) => recorded::table(hub, &past.state),
        None => hub.service_table(),
    };
    let head = RequestHead {
        method,
        authority: authority.as_str(),
        path: uri.path_and_query().map_or("/", |path| path.as_str()),
        port_default: HTTP,
        headers: &HeaderList(&fields),
    };
    let mut steps: Vec<StepView> = past
        .map(|_| fact(recorded::NOT_RECORDED.into()))
        .into_iter()
        .collect();
    let explanation = |steps, result| explanation(hub, past, (method, url), steps, result);
    let found = match weft_decide::find(&table, &head) {
        Ok(route) => route,
        Err(reason) => {
            steps.extend(refused_rules(&table, &head));
            return Ok(explanation(steps, Err(reason)));
        }
    };
    let key = found.service.key();
    steps.push(fact(format!(
        "{authority} is service {key}, port {}",
        found.number()
    )));
    if past.is_none() {
        steps.extend(without_sidecar(hub.config(), &found).map(fact));
    }
    let asked = Asked {
        hub,
        past,
        table: &table,
        // What CONNECT opens is a connection: no audience that is told by requests meets it.
        head: (method != "CONNECT").then_some(&head),
    };
    let result = match (&found.matched, found.port.rules.as_ref()) {
        (Some(matched), Some(rules)) => {
            steps.extend(rule_steps(rules, &head));
            ruled(&asked, &found, matched, &mut steps)
        }
        _ => {
            let itself = Backend {
                service: found.service,
                port: found.port,
                scope: found.scope.clone(),
            };
            answered_by(&asked, &itself, &mut steps)
        }
    };
    Ok(explanation(steps, result))
}

/// What is asked, and by what it is judged.
struct Asked<'a> {
    hub: &'a Hub,
    past: Option<&'a Past>,
    table: &'a ServiceTable,
    head: Option<&'a RequestHead<'a>>,
}

/// What the rule that counts does with the request.
fn ruled(
    asked: &Asked<'_>,
    found: &Route<'_>,
    matched: &Matched<'_>,
    steps: &mut Vec<StepView>,
) -> Result<String, Reason> {
    let rule = matched.rule;
    let named = format!("{} rule {}", rule.route, rule.number);
    if let Some(redirect) = rule.redirect() {
        return Ok(format!(
            "{named}: redirects with status {}",
            redirect.status_code
        ));
    }
    let backends = &rule.spec.backend_refs;
    let total: u64 = backends
        .iter()
        .map(|backend| u64::from(backend.weight))
        .sum();
    let mut answers = Vec::new();
    for backend in backends.iter().filter(|backend| backend.weight > 0) {
        let key = backend.key(&rule.route.namespace);
        let share = 100.0 * f64::from(backend.weight) / total as f64;
        let answer = found
            .refer(asked.table, backend)
            .and_then(|backend| answered_by(asked, &backend, steps));
        answers.push(match answer {
            Ok(answer) => format!("{share:.1} % to {answer}"),
            Err(reason) => format!("{share:.1} % to {key}: {}", reason.what()),
        });
    }
    match answers.is_empty() {
        true => Err(Reason::NoBackend),
        false => Ok(format!("{named}: {}", answers.join("; "))),
    }
}

/// Each match of each rule, the most specific one first: why it does not count, or that it does.
fn rule_steps(rules: &RuleTable, head: &RequestHead<'_>) -> Vec<StepView> {
    let mut counts = None;
    let steps = rules.explain(head).map(|(rule, _, verdict)| {
        let subject = format!("{} rule {}", rule.route, rule.number);
        let (verdict, reason) = match (verdict, &counts) {
            (Err(why), _) => ("refused", why.to_string()),
            (Ok(()), None) => {
                counts = Some(subject.clone());
                (
                    "candidate",
                    "matches, and is the most specific that does".to_owned(),
                )
            }
            (Ok(()), Some(other)) => ("refused", format!("matches, but {other} comes before it")),
        };
        StepView {
            verdict: verdict.into(),
            subject,
            reason,
        }
    });
    steps.collect()
}

/// The rules of the service asked for, if that is where the request failed.
fn refused_rules(table: &ServiceTable, head: &RequestHead<'_>) -> Vec<StepView> {
    let refused = weft_decide::rules_of(table, head);
    refused
        .map(|rules| rule_steps(rules, head))
        .unwrap_or_default()
}

/// Every endpoint of a backend, and how many take work, in each lane that the request may get. Of
/// the past, the lanes alone.
fn answered_by(
    asked: &Asked<'_>,
    backend: &Backend<'_>,
    steps: &mut Vec<StepView>,
) -> Result<String, Reason> {
    let possible = lanes::possible(asked, backend, steps);
    if asked.past.is_some() {
        return Ok(recorded::backend(backend, &possible));
    }
    // Ejections are each sidecar's own observation: a gateway knows of none.
    let judge = |lane| backend.candidates(asked.table, lane, |_| false);
    let mut taking = vec![0; possible.len()];
    let mut verdicts: Vec<_> = possible.iter().map(|it| judge(it.lane)).collect();
    loop {
        let row: Vec<_> = verdicts.iter_mut().filter_map(Iterator::next).collect();
        let Some((view, _)) = row.first() else { break };
        let view: &EndpointView = view;
        let verdicts = row.into_iter().map(|(_, verdict)| verdict);
        let mut said = None;
        for (verdict, taking) in verdicts.zip(&mut taking) {
            *taking += usize::from(verdict.is_ok());
            said = match said {
                Some(Ok(level)) => Some(Ok(level)),
                _ => Some(verdict),
            };
        }
        steps.extend(said.map(|verdict| endpoint_step(asked.hub, view, verdict)));
    }
    if taking.iter().all(|taking| *taking == 0) {
        return Err(Reason::NoEndpoints);
    }
    let parts = possible.iter().zip(&taking).map(|(it, taking)| {
        let named = match it.named.as_str() {
            "" => String::new(),
            named => format!(" of {named}"),
        };
        format!("{taking} candidate(s){named}")
    });
    let parts: Vec<_> = parts.collect();
    Ok(format!(
        "{} port {}: {}; the nearest level while it has capacity, peak-EWMA among two",
        backend.service.key(),
        backend.port.port.port,
        parts.join(", ")
    ))
}

fn endpoint_step(
    hub: &Hub,
    view: &EndpointView,
    verdict: Result<Level, EndpointRefusal>,
) -> StepView {
    let endpoint = &view.endpoint;
    let third = status::through(hub, &endpoint.cluster);
    let way = third.map_or_else(String::new, |third| format!(", through {third}"));
    let version = endpoint.version.as_ref();
    let version = version.map(|version| format!(" {version}"));
    StepView {
        verdict: match verdict {
            Ok(_) => "candidate",
            Err(_) => "refused",
        }
        .into(),
        subject: format!(
            "{}{} in {}",
            short(&endpoint.id.to_string()),
            version.unwrap_or_default(),
            endpoint.cluster
        ),
        reason: match verdict {
            Ok(level) => format!(
                "{level}{way}{}{}",
                fronted(&endpoint.identity),
                ceiling(&view.locality)
            ),
            Err(refused) => refused.to_string(),
        },
    }
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

/// What bounds how much goes to a cluster.
fn ceiling(locality: &Locality) -> String {
    match locality {
        Locality::Remote {
            max_share: Some(share),
            ..
        } => format!("; at most {share} while others can serve"),
        Locality::Remote { .. } | Locality::Local => String::new(),
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn explanation(
    hub: &Hub,
    past: Option<&Past>,
    (method, url): (&str, &str),
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
        freshness: past.map_or_else(|| freshness(hub), |past| past.freshness(hub)),
        question: match past {
            Some(past) => format!(
                "{method} {url}, from {} as of index {}",
                hub.cluster(),
                past.index
            ),
            None => format!("{method} {url}, from {}", hub.cluster()),
        },
        steps,
        result,
        code,
    }
}
