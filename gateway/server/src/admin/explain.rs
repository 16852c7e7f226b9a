//! Explanations: the functions that decide, asked for their reasons.

use serde_json::Value;
use tonic::Status;
use weft_model::code;
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
