//! Events: the log's recent entries, with who ordered them and what came of them.
//!
//! They are read from the memory of the gateway that answers: back to the snapshot that it
//! started from, and no more than a few thousand. Who asks for more is told where it begins.

use bytes::Bytes;
use serde_json::Value;
use tonic::Status;
use weft_model::{Author, Event, Federation, Index, Key, Refusal, code};
use weft_proto::api::WatchEvent;
use weft_registry::{Judged, Origin, WatchError};

use super::Events;
use super::status::freshness;
use super::view::{ChangeView, EventView, EventsView, RecordView};
use crate::api::refusal;
use crate::hub::Hub;

/// All that is kept after `arguments.after`; without it, all that is kept.
pub(super) fn recent(hub: &Hub, arguments: &Value) -> Result<EventsView, Status> {
    let after = arguments.get("after").and_then(Value::as_u64).map(Index);
    let recent = hub.registry().recent();
    if after.is_some_and(|after| after < recent.after) {
        return Err(compacted(recent.after));
    }
    let state = hub.registry().state();
    let after = after.unwrap_or(recent.after);
    let wanted = recent.entries.iter().filter(|entry| entry.index > after);
    Ok(EventsView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        kept_after: recent.after.0,
        items: wanted.map(|entry| view(&state, entry)).collect(),
    })
}

/// Entries after `from`, as they are applied here.
pub(super) fn watch(hub: &Hub, from: Index) -> Events {
    let registry = hub.registry().clone();
    let mut watch = registry.watch(from);
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    // Ends when nobody reads, at the latest with the next entry.
    tokio::spawn(async move {
        loop {
            let event = match watch.next().await {
                Ok(entry) => written(&view(&registry.state(), &entry)),
                Err(WatchError::Compacted { first }) => Err(compacted(first)),
                Err(WatchError::Stopped) => return,
            };
            let ended = event.is_err();
            if sender.send(event).await.is_err() || ended {
                return;
            }
        }
    });
    Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))
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

fn view(state: &Federation, entry: &Judged) -> EventView {
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

fn author_name(state: &Federation, author: &Author) -> String {
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
