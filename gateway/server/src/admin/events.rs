//! Events: the log's recent entries, with who ordered them and what came of them.
//!
//! They are read from the history of the gateway that answers. Who asks for more than it keeps
//! is told where it begins.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;
use tonic::Status;
use weft_model::{Author, Event, Federation, Index, Key, Refusal, WallTime, code};
use weft_proto::api::WatchEvent;
use weft_registry::{HistoryError, Judged, Origin, Registry, WatchError};

use super::history::Past;
use super::status::freshness;
use super::view::{ChangeView, EventView, EventsView, RecordView};
use super::{Events, history};
use crate::api::refusal;
use crate::hub::Hub;

/// The log positions that one answer looks at.
const PAGE: u64 = 10_000;

/// What the log says after `arguments.after`, since `arguments.sinceMs`, or in the last
/// `arguments.agoMs` before a moment of the past, a page at a time; without any, its newest page.
/// Of the past, the log ends there.
pub(super) async fn recent(
    hub: &Hub,
    arguments: &Value,
    past: Option<&Past>,
) -> Result<EventsView, Status> {
    let registry = hub.registry();
    let number = |field: &str| arguments.get(field).and_then(Value::as_u64);
    let span = registry.history_span().await.map_err(history::status)?;
    let last = past.map_or(span.last, |past| past.index);
    let ago = past.zip(number("agoMs"));
    let ago = ago.map(|(past, ago)| past.time.0.saturating_sub(ago));
    let mut cut = false;
    let after = match (number("after"), number("sinceMs").or(ago)) {
        (Some(after), _) if after < span.after.0 && span.after > FIRST => {
            return Err(compacted(span.after));
        }
        (Some(after), _) => after.max(span.after.0),
        (None, Some(since)) => match registry.index_at(WallTime(since)).await {
            Ok(index) => index.0,
            Err(HistoryError::Gone { first }) => {
                cut = true;
                first.0
            }
            Err(error) => return Err(history::status(error)),
        },
        (None, None) => {
            let newest = last.0.saturating_sub(PAGE);
            cut = newest.max(span.after.0) > FIRST.0;
            newest.max(span.after.0)
        }
    };
    let most = match past {
        Some(past) => past.index.0.saturating_sub(after).min(PAGE),
        None => PAGE,
    };
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    let page = registry.entries(Index(after), limit).await;
    let page = page.map_err(history::status)?;
    let state = past.map_or_else(|| registry.state(), |past| Arc::clone(&past.state));
    let recovered = registry.status().raft.recovered.0;
    let is_by_then = |index| past.is_none_or(|past| index <= past.index.0);
    Ok(EventsView {
        api_version: "weft.dev/v1".into(),
        freshness: past.map_or_else(|| freshness(hub), |past| past.freshness(hub)),
        as_of: past.map(Past::view),
        recovered: (recovered > 0 && is_by_then(recovered)).then_some(recovered),
        kept_after: page.begins.0,
        from_after: after,
        read: page.read.0,
        cut,
        items: page
            .entries
            .iter()
            .map(|entry| view(&state, entry))
            .collect(),
    })
}

/// What stands before a federation's first entry: the consensus's own beginning.
const FIRST: Index = Index(1);

/// Entries after `from`, as they are applied here.
pub(super) fn watch(hub: &Hub, from: Index) -> Events {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(show(hub.registry().clone(), from, sender));
    Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))
}

/// Ends when nobody reads any more, or nothing more can be shown.
async fn show(registry: Registry, from: Index, sender: mpsc::Sender<Result<WatchEvent, Status>>) {
    let mut watch = registry.watch(from);
    loop {
        let next = tokio::select! {
            next = watch.next() => next,
            () = sender.closed() => return,
        };
        let event = match next {
            Ok(entry) => written(&view(&registry.state(), &entry)),
            Err(WatchError::Compacted { first }) => Err(compacted(first)),
            Err(WatchError::Unreadable(what)) => Err(refusal(code::HISTORY_DAMAGED, what)),
            Err(WatchError::Stopped) => return,
        };
        let ended = event.is_err();
        if sender.send(event).await.is_err() || ended {
            return;
        }
    }
}

fn compacted(first: Index) -> Status {
    let what = format!("events are kept here from after index {first} on");
    refusal(code::COMPACTED, what)
}

fn written(view: &EventView) -> Result<WatchEvent, Status> {
    let json = serde_json::to_vec(view).map_err(|error| Status::internal(error.to_string()))?;
    Ok(WatchEvent {
        index: view.index,
        json: Bytes::from(json),
    })
}

pub(super) fn view(state: &Federation, entry: &Judged) -> EventView {
    let Judged {
        index,
        origin,
        result,
    } = entry;
    let Origin {
        author,
        by_order_of,
        time,
        command,
        target,
    } = origin;
    let own = match author {
        // A gateway's own record is named by its author.
        Author::Gateway(node, _) if *command == "put gateway" => Some(Key::Node(*node)),
        _ => None,
    };
    EventView {
        index: index.0,
        time_ms: time.0,
        author: author_name(state, author),
        by_order_of: by_order_of.as_ref().map(ToString::to_string),
        command: (*command).to_owned(),
        record: target
            .as_ref()
            .or(own.as_ref())
            .map(|key| record(state, key)),
        changes: result
            .iter()
            .flatten()
            .map(|event| change(state, event))
            .collect(),
        refused: result.as_ref().err().map(ToString::to_string),
        proven: *result != Err(Refusal::Signature),
    }
}

pub(super) fn author_name(state: &Federation, author: &Author) -> String {
    match author {
        Author::Gateway(node, _) => format!("gateway {}", gateway(state, *node)),
        other => other.to_string(),
    }
}

/// `cluster/gateway` while it is a member, and its number after that.
fn gateway(state: &Federation, node: weft_model::NodeId) -> String {
    state.node(node).map_or_else(
        || node.to_string(),
        |known| format!("{}/{}", known.cluster, known.gateway.name),
    )
}

fn change(state: &Federation, event: &Event) -> ChangeView {
    let of = |change: &str, key: &Key| ChangeView {
        change: change.to_owned(),
        record: Some(record(state, key)),
    };
    match event {
        Event::Put(key) => of("put", key),
        Event::Deleted(key) => of("deleted", key),
        Event::Lease(cluster, lapsed) => {
            let change = if *lapsed {
                "lease lapsed"
            } else {
                "lease returned"
            };
            of(change, &Key::Cluster(cluster.clone()))
        }
        Event::Format(level) => ChangeView {
            change: format!("format level {level}"),
            record: None,
        },
    }
}

fn record(state: &Federation, key: &Key) -> RecordView {
    let named = |kind: &str, name: String| RecordView {
        kind: kind.to_owned(),
        name,
        cluster: None,
    };
    match key {
        Key::Cluster(name) => named("cluster", name.to_string()),
        Key::Node(node) => named("gateway", gateway(state, *node)),
        Key::Export(key, cluster) => RecordView {
            cluster: Some(cluster.to_string()),
            ..named("serviceexport", key.to_string())
        },
        Key::Service(key) => named("service", key.to_string()),
        Key::WorkloadEntry(cluster, namespace, name) => RecordView {
            cluster: Some(cluster.to_string()),
            ..named("workloadentry", format!("{namespace}/{name}"))
        },
        Key::RoleBinding(name) => named("rolebinding", name.to_string()),
        Key::Route(key) => named("route", key.to_string()),
        Key::TrafficPolicy(key) => named("trafficpolicy", key.to_string()),
        Key::Release(key) => named("release", key.to_string()),
        Key::Token(id) => named("token", id.to_string()),
        Key::Signer(user) => named("signer", user.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use weft_model::NodeId;
    use weft_model::fixture::name;
    use weft_proto::peer::RaftBatch;
    use weft_registry::{CallError, RegistryConfig, Start, Transport};

    use super::*;

    struct Nowhere;

    impl Transport for Nowhere {
        fn send(&self, _: NodeId, _: RaftBatch) {}

        async fn call(&self, _: NodeId, _: &'static str, _: Bytes) -> Result<Bytes, CallError> {
            Err(CallError::Peer("there is none".to_owned()))
        }
    }

    #[tokio::test]
    async fn a_watch_that_nobody_reads_ends_though_nothing_happens() {
        let dir = tempfile::tempdir().unwrap();
        let join = Start::Join {
            node: NodeId(2),
            domain: name("fed.example.org"),
        };
        let config = RegistryConfig::new(dir.path(), join);
        let registry = Registry::start(config, Nowhere).unwrap();
        let (sender, receiver) = mpsc::channel(16);
        let mut shown = tokio::spawn(show(registry.clone(), Index(0), sender));
        let waits = timeout(Duration::from_millis(50), &mut shown).await;
        assert!(waits.is_err(), "while somebody reads");
        drop(receiver);
        let ended = timeout(Duration::from_secs(5), shown).await;
        ended.expect("it ends").unwrap();
        registry.shutdown().await;
    }
}
