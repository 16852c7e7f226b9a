//! History: a record's revisions, the state of the past, the audit trail judged again.

use std::sync::Arc;

use serde_json::Value;
use tonic::Status;
use weft_model::{Federation, Index, Key, Kind, KindName, WallTime, code};
use weft_proto::api::GetRequest;
use weft_registry::{HistoryError, Trail};

use super::events::{author_name, view};
use super::read::resources;
use super::status::freshness;
use super::view::{AuthorCount, FaultView, HistoryView, RevisionView, TrailView};
use crate::api::refusal;
use crate::hub::Hub;

/// A moment of the past that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Right after this entry.
    Index(Index),
    /// After the last entry that the leader took by then.
    Time(WallTime),
}

impl Moment {
    /// `asOf: { index }` or `asOf: { timeMs }` among a question's arguments.
    pub(super) fn among(arguments: &Value) -> Option<Self> {
        let number = |field: &str| arguments.pointer(field).and_then(Value::as_u64);
        let index = number("/asOf/index").map(|index| Self::Index(Index(index)));
        index.or_else(|| number("/asOf/timeMs").map(|time| Self::Time(WallTime(time))))
    }

    /// What a request for resources asks for.
    pub(super) fn of(request: &GetRequest) -> Option<Self> {
        let index = (request.as_of_index > 0).then_some(Self::Index(Index(request.as_of_index)));
        let time = (request.as_of_ms > 0).then_some(Self::Time(WallTime(request.as_of_ms)));
        index.or(time)
    }
}

/// The state now, or as of a moment.
pub(super) async fn state(hub: &Hub, moment: Option<Moment>) -> Result<Arc<Federation>, Status> {
    let registry = hub.registry();
    let index = match moment {
        None => return Ok(registry.state()),
        Some(Moment::Index(index)) => index,
        Some(Moment::Time(time)) => registry.index_at(time).await.map_err(status)?,
    };
    registry.state_at(index).await.map_err(status)
}

/// Every revision of one record.
pub(super) async fn revisions(hub: &Hub, arguments: &Value) -> Result<HistoryView, Status> {
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
    let now = hub.registry().state();
    let items = revisions.iter().map(|revision| {
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
        freshness: freshness(hub),
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
