//! History: a record's revisions, the state of the past, the audit trail judged again.

mod known;

use std::sync::Arc;

use serde_json::Value;
use tonic::Status;
use weft_model::{Federation, Index, Key, Kind, KindName, WallTime, code};
use weft_proto::api::GetRequest;
use weft_registry::{HistoryError, Trail};

use super::events::{author_name, view};
use super::read::resources;
use super::status::freshness;
use super::view::{
    AuthorCount, FaultView, Freshness, HistoryView, MomentView, RevisionView, TrailView,
};
use crate::api::refusal;
use crate::hub::Hub;
use known::Known;

/// A moment of the past that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Right after this entry.
    Index(Index),
    /// After the last entry that the leader took by then.
    Time(WallTime),
}

impl Moment {
    /// `asOf: { index }` or `asOf: { timeMs }` among a question's arguments. What does not read is
    /// refused: an answer about now would pass for one about then.
    pub(super) fn among(arguments: &Value) -> Result<Option<Self>, Status> {
        let Some(asked) = arguments.get("asOf").filter(|asked| !asked.is_null()) else {
            return Ok(None);
        };
        let number = |field: &str| asked.get(field).and_then(Value::as_u64);
        let index = number("index").map(|index| Self::Index(Index(index)));
        let moment = index.or_else(|| number("timeMs").map(|time| Self::Time(WallTime(time))));
        let unread = || refusal(code::USAGE, format!("asOf is no moment: {asked}"));
        moment.map(Some).ok_or_else(unread)
    }

    /// What a request for resources asks for.
    pub(super) fn of(request: &GetRequest) -> Option<Self> {
        let index = (request.as_of_index > 0).then_some(Self::Index(Index(request.as_of_index)));
        let time = (request.as_of_ms > 0).then_some(Self::Time(WallTime(request.as_of_ms)));
        index.or(time)
    }
}

/// A moment of the past, and what the log had come to.
#[derive(Debug, Clone)]
pub(super) struct Past {
    /// The last position that counts.
    pub(super) index: Index,
    /// When it was: as was asked, or when the leader took the last entry.
    pub(super) time: WallTime,
    /// The federation then.
    pub(super) state: Arc<Federation>,
}

impl Past {
    pub(super) async fn of(hub: &Hub, moment: Moment) -> Result<Self, Status> {
        let registry = hub.registry();
        let index = match moment {
            Moment::Index(index) => index,
            Moment::Time(time) => {
                let reached = Known::of(hub).reaches(time);
                reached.map_err(|why| refusal(code::NOT_YET, why))?;
                registry.index_at(time).await.map_err(status)?
            }
        };
        let state = registry.state_at(index).await.map_err(status)?;
        let time = match moment {
            Moment::Index(_) => state.time(),
            Moment::Time(time) => time,
        };
        Ok(Self { index, time, state })
    }

    /// As a program is told it.
    pub(super) fn view(&self) -> MomentView {
        MomentView {
            index: self.index.0,
            time_ms: self.time.0,
        }
    }

    /// How fresh an answer about it is.
    pub(super) fn freshness(&self, hub: &Hub) -> Freshness {
        Freshness {
            applied_index: self.index.0,
            ..freshness(hub)
        }
    }
}

/// The state now, or as of a moment.
pub(super) async fn state(hub: &Hub, moment: Option<Moment>) -> Result<Arc<Federation>, Status> {
    match moment {
        None => Ok(hub.registry().state()),
        Some(moment) => Ok(Past::of(hub, moment).await?.state),
    }
}

/// Every revision of one record, or those up to a moment.
pub(super) async fn revisions(
    hub: &Hub,
    arguments: &Value,
    past: Option<&Past>,
) -> Result<HistoryView, Status> {
    let text = |field: &str| {
        let value = arguments.get(field).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let KindName::Enforced(kind) = KindName::parse(&text("kind")) else {
        let what = format!("there is no kind {:?}", text("kind"));
        return Err(refusal(code::UNKNOWN_KIND, what));
    };
    let (namespace, name, cluster) = (text("namespace"), text("name"), text("cluster"));
    let wanted = move |key: &Key| {
        let named = named(key).filter(|(of, ..)| *of == kind);
        named.is_some_and(|(_, place, known, owner)| {
            let fits = |asked: &str, value: Option<&str>| asked.is_empty() || value == Some(asked);
            known == name
                && (place.is_none() || fits(&namespace, place.as_deref()))
                && (owner.is_none() || fits(&cluster, owner.as_deref()))
        })
    };
    let found = hub.registry().revisions(wanted).await.map_err(status)?;
    let (begins, revisions) = found;
    let last = past.map_or(Index(u64::MAX), |past| past.index);
    let kept = revisions
        .iter()
        .filter(|revision| revision.entry.index <= last);
    let now = past.map_or_else(|| hub.registry().state(), |past| Arc::clone(&past.state));
    let items = kept.map(|revision| {
        let resource = resource_of(&revision.state, &revision.key);
        RevisionView {
            event: view(&now, &revision.entry),
            cluster: named(&revision.key).and_then(|(.., owner)| owner),
            deleted: resource.is_none(),
            resource,
        }
    });
    Ok(HistoryView {
        api_version: "weft.dev/v1".into(),
        freshness: past.map_or_else(|| freshness(hub), |past| past.freshness(hub)),
        begins_after: begins.0,
        items: items.collect(),
    })
}

/// The record as it stands in a state.
pub(super) fn resource_of(state: &Federation, key: &Key) -> Option<Value> {
    let (kind, namespace, name, cluster) = named(key)?;
    let request = GetRequest {
        kind: kind.to_string(),
        namespace: namespace.unwrap_or_default(),
        name,
        cluster: cluster.unwrap_or_default(),
        ..GetRequest::default()
    };
    resources(state, &request).ok()?.into_iter().next()
}

/// Kind, namespace, name and owner of what `get` prints.
pub(super) fn named(key: &Key) -> Option<(Kind, Option<String>, String, Option<String>)> {
    let of = |kind, key: &weft_model::ServiceKey| {
        let namespace = Some(key.namespace.to_string());
        Some((kind, namespace, key.name.to_string(), None))
    };
    match key {
        Key::Cluster(name) => Some((Kind::Cluster, None, name.to_string(), None)),
        Key::Export(key, cluster) => {
            let (kind, namespace, name, _) = of(Kind::ServiceExport, key)?;
            Some((kind, namespace, name, Some(cluster.to_string())))
        }
        Key::WorkloadEntry(cluster, namespace, name) => Some((
            Kind::WorkloadEntry,
            Some(namespace.to_string()),
            name.to_string(),
            Some(cluster.to_string()),
        )),
        Key::RoleBinding(name) => Some((Kind::RoleBinding, None, name.to_string(), None)),
        Key::Route(key) => of(Kind::Route, key),
        Key::TrafficPolicy(key) => of(Kind::TrafficPolicy, key),
        Key::Release(key) => of(Kind::Release, key),
        Key::Node(_) | Key::Service(_) | Key::Token(_) | Key::Signer(_) => None,
    }
}

/// The trail that this gateway keeps, judged again.
pub(super) async fn audit(hub: &Hub) -> Result<TrailView, Status> {
    let trail = hub.registry().audit().await.map_err(status)?;
    let state = hub.registry().state();
    let Trail {
        after,
        last,
        effected,
        refused,
        unproven,
        repeats,
        unreadable,
        own,
        proven,
        states,
        chain,
        fault,
    } = trail;
    let authors = proven.iter().map(|(author, entries)| AuthorCount {
        author: author_name(&state, author),
        entries: *entries,
    });
    Ok(TrailView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        after: after.0,
        last: last.0,
        effected,
        refused,
        unproven,
        repeats,
        unreadable,
        own,
        authors: authors.collect(),
        states,
        chain: chain.iter().map(|byte| format!("{byte:02x}")).collect(),
        fault: fault.map(|fault| FaultView {
            index: fault.index.0,
            what: fault.what,
        }),
    })
}

/// History's refusal as its caller sees it.
pub(super) fn status(error: HistoryError) -> Status {
    let code = match &error {
        HistoryError::Gone { .. } => code::COMPACTED,
        HistoryError::Ahead { .. } => code::NOT_YET,
        HistoryError::Behind { .. } => code::READ_ONLY,
        HistoryError::Unreadable(_) => code::HISTORY_DAMAGED,
        HistoryError::Stopped => code::UNREACHABLE,
    };
    refusal(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_moment_that_does_not_read_is_not_now() {
        let check = |asked: Value, expect: Option<Moment>| {
            assert_eq!(Moment::among(&asked).unwrap(), expect, "{asked}");
        };
        check(json!({}), None);
        check(json!({ "asOf": null }), None);
        let index = Some(Moment::Index(Index(41)));
        check(json!({ "asOf": { "index": 41 } }), index);
        let time = Some(Moment::Time(WallTime(1_000)));
        check(json!({ "asOf": { "timeMs": 1_000 } }), time);
        for wrong in [json!({}), json!({ "index": "41" }), json!(41)] {
            let refused = Moment::among(&json!({ "asOf": wrong })).unwrap_err();
            assert!(refused.message().contains("no moment"), "{refused}");
        }
    }
}
