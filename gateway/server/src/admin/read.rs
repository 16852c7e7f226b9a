//! Reads: records, services, endpoints, tokens, sidecars.

use serde_json::{Value, json};
use tonic::Status;
use weft_model::{
    ApiVersion, Endpoint, Federation, Health, Kind, KindName, ReleaseRecord, ServiceKey,
    TokenState, UserName, WallTime, code,
};
use weft_proto::api::GetRequest;

use super::history::Past;
use super::status::{exported_services, freshness, services as service_views, traffic};
use super::view::{EndpointView, ListView, ProxyView, ServiceView};
use crate::api::refusal;
use crate::hub::Hub;

/// Resources of a kind, narrowed by namespace, name and cluster.
pub(super) fn resources(state: &Federation, request: &GetRequest) -> Result<Vec<Value>, Status> {
    let KindName::Enforced(kind) = KindName::parse(&request.kind) else {
        return Err(refusal(
            code::UNKNOWN_KIND,
            format!("there is no kind {:?}", request.kind),
        ));
    };
    let wanted = |namespace: Option<&str>, name: &str, cluster: Option<&str>| {
        let fits = |filter: &str, value: Option<&str>| {
            filter.is_empty() || value.is_none_or(|v| v == filter)
        };
        fits(&request.namespace, namespace)
            && fits(&request.name, Some(name))
            && fits(&request.cluster, cluster)
    };
    Ok(match kind {
        Kind::Cluster => state
            .clusters()
            .filter(|(name, _)| wanted(None, name.as_str(), None))
            .map(|(name, member)| {
                let status = json!({ "trustDomain": member.trust_domain, "lapsed": member.lapsed, "joined": member.joined });
                resource(kind, None, name.as_str(), &member.spec, status)
            })
            .collect(),
        Kind::ServiceExport => state
            .exports()
            .filter(|((key, cluster), _)| {
                wanted(Some(key.namespace.as_str()), key.name.as_str(), Some(cluster.as_str()))
            })
            .map(|((key, cluster), record)| {
                let status = json!({
                    "cluster": cluster,
                    "generation": record.generation,
                    "precedence": record.precedence,
                    "conditions": conditions(state, key, cluster),
                });
                resource(kind, Some(key.namespace.as_str()), key.name.as_str(), &record.spec, status)
            })
            .collect(),
        Kind::WorkloadEntry => state
            .workload_entries()
            .filter(|((cluster, namespace, name), _)| {
                wanted(Some(namespace.as_str()), name.as_str(), Some(cluster.as_str()))
            })
            .map(|((cluster, namespace, name), record)| {
                let status = json!({ "cluster": cluster, "generation": record.generation });
                resource(kind, Some(namespace.as_str()), name.as_str(), &record.spec, status)
            })
            .collect(),
        Kind::Route => state
            .routes()
            .filter(|(key, _)| wanted(Some(key.namespace.as_str()), key.name.as_str(), None))
            .map(|(key, record)| {
                let status = json!({ "created": record.created });
                resource(kind, Some(key.namespace.as_str()), key.name.as_str(), &record.spec, status)
            })
            .collect(),
        Kind::TrafficPolicy => state
            .policies()
            .filter(|(key, _)| wanted(Some(key.namespace.as_str()), key.name.as_str(), None))
            .map(|(key, record)| {
                resource(kind, Some(key.namespace.as_str()), key.name.as_str(), &record.spec, json!({}))
            })
            .collect(),
        Kind::Release => state
            .releases()
            .filter(|(key, _)| wanted(Some(key.namespace.as_str()), key.name.as_str(), None))
            .map(|(key, record)| {
                resource(kind, Some(key.namespace.as_str()), key.name.as_str(), &record.spec, release(record))
            })
            .collect(),
        Kind::RoleBinding => state
            .role_bindings()
            .filter(|(name, _)| wanted(None, name.as_str(), None))
            .map(|(name, spec)| resource(kind, None, name.as_str(), spec, json!({})))
            .collect(),
    })
}

/// What became of a release.
fn release(record: &ReleaseRecord) -> Value {
    json!({
        "phase": record.phase,
        "stage": record.stage,
        "stages": record.spec.last_stage(),
        "created": record.created,
        "generation": record.generation,
        "cut": record.cut,
        "lifted": record.lifted.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "superseded": record.superseded,
        "history": record.history,
    })
}

/// MCS conditions of one export.
fn conditions(state: &Federation, key: &ServiceKey, cluster: &weft_model::ClusterName) -> Value {
    let exporter = state
        .service(key)
        .and_then(|service| service.exporters.get(cluster));
    let conflicts: Vec<String> = exporter
        .map(|exporter| {
            exporter
                .conflicts
                .iter()
                .map(|conflict| format!("{conflict:?}"))
                .collect()
        })
        .unwrap_or_default();
    let (conflict, reason) = match conflicts.is_empty() {
        true => ("False", "NoConflicts".to_owned()),
        false => ("True", conflicts.join(",")),
    };
    json!([
        { "type": "Valid", "status": "True", "reason": "Valid" },
        { "type": "Ready", "status": "True", "reason": "Exported" },
        { "type": "Conflict", "status": conflict, "reason": reason },
    ])
}

fn resource(
    kind: Kind,
    namespace: Option<&str>,
    name: &str,
    spec: &impl serde::Serialize,
    status: Value,
) -> Value {
    let mut metadata = json!({ "name": name });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    json!({
        "apiVersion": ApiVersion::V1,
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
        "status": status,
    })
}

fn list<T>(hub: &Hub, items: Vec<T>) -> ListView<T> {
    ListView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        items,
    }
}

/// Services as the log had them; who served them then is not in it.
pub(super) fn services_past(hub: &Hub, state: &Federation) -> ListView<ServiceView> {
    let mut past = list(hub, exported_services(hub, state));
    past.freshness.applied_index = state.applied().0;
    past
}

/// Services that this cluster may see.
pub(super) fn services(hub: &Hub) -> ListView<ServiceView> {
    let state = hub.registry().state();
    list(
        hub,
        service_views(hub, &state, &hub.catalog(), &hub.outlook()),
    )
}

/// Endpoints of one service, and what each would get from here.
pub(super) fn endpoints(hub: &Hub, arguments: &Value) -> Result<ListView<EndpointView>, Status> {
    let key = arguments
        .get("service")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let key: ServiceKey = key.parse().map_err(|error| {
        refusal(
            code::USAGE,
            format!("{key:?} is not namespace/name: {error}"),
        )
    })?;
    let (state, catalog, outlook) = (hub.registry().state(), hub.catalog(), hub.outlook());
    if state.service(&key).is_none() && catalog.service(&key).is_none() {
        return Err(refusal(
            code::NO_ROUTE,
            format!("there is no service {key}"),
        ));
    }
    let known = catalog
        .service(&key)
        .map(|service| service.endpoints.clone())
        .unwrap_or_default();
    let now = hub.clock().now();
    let items = known
        .iter()
        .map(|endpoint| {
            let verdict = outlook.verdict(&state, &key, &endpoint.cluster, now);
            let judged = match endpoint.health {
                Health::Ready => format!("{}: {}", traffic(verdict.traffic), verdict.why),
                Health::NotReady => match &endpoint.unready {
                    Some(why) => format!("gets nothing: its health check fails: {}", why.as_str()),
                    None => "gets nothing: its health checks fail, or nobody attests it".into(),
                },
                Health::Draining => "finishes what runs: it is draining".into(),
            };
            view(endpoint, judged)
        })
        .collect();
    Ok(list(hub, items))
}

fn view(endpoint: &Endpoint, verdict: String) -> EndpointView {
    EndpointView {
        id: endpoint.id.to_string(),
        service: endpoint.service.to_string(),
        cluster: endpoint.cluster.to_string(),
        zone: endpoint.zone.as_ref().map(ToString::to_string),
        version: endpoint.version.as_ref().map(ToString::to_string),
        health: match endpoint.health {
            Health::Ready => "ready",
            Health::NotReady => "not-ready",
            Health::Draining => "draining",
        }
        .into(),
        weight: endpoint.weight,
        address: endpoint.address.map(|address| address.to_string()),
        identity: endpoint.identity.to_string(),
        verdict,
    }
}

/// The generation that an operator's next command must carry.
pub(super) fn order(hub: &Hub, user: &UserName) -> Value {
    json!({ "generation": hub.registry().state().next_order(user) })
}

/// Join tokens, now or as of a moment; their secrets are nowhere.
pub(super) fn tokens(hub: &Hub, past: Option<&Past>) -> ListView<Value> {
    let Some(past) = past else {
        return list(hub, tokens_of(&hub.registry().state(), hub.now()));
    };
    ListView {
        freshness: past.freshness(hub),
        ..list(hub, tokens_of(&past.state, past.time))
    }
}

/// What had become of each by then.
fn tokens_of(state: &Federation, now: WallTime) -> Vec<Value> {
    let items = state.tokens().map(|(id, (grant, became))| {
        let state = match became {
            TokenState::Open if now > grant.expires => "expired".to_owned(),
            TokenState::Open => "open".to_owned(),
            TokenState::Redeemed(node) => format!("redeemed by node {node}"),
            TokenState::Revoked => "revoked".to_owned(),
        };
        json!({
            "id": id.to_string(),
            "cluster": grant.cluster,
            "region": grant.region,
            "expiresMs": grant.expires,
            "state": state,
        })
    });
    items.collect()
}

/// Sidecars with a session here.
pub(super) fn proxies(hub: &Hub) -> ListView<ProxyView> {
    let sessions = hub.catalog_handle().sessions().into_iter();
    let view = |(identity, endpoints): (weft_model::SpiffeId, usize)| ProxyView {
        identity: identity.to_string(),
        endpoints: u32::try_from(endpoints).unwrap_or(u32::MAX),
    };
    list(hub, sessions.map(view).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weft_model::fixture::federation;

    use super::*;

    #[test]
    fn a_token_has_ended_when_its_time_was_over_at_the_moment_asked_for() {
        let mut log = weft_model::fixture::Log::founded();
        log.join(2, "eu-west-1");
        let (id, (grant, _)) = log.state.tokens().next().unwrap();
        let redeemed = tokens_of(&log.state, grant.expires.after(Duration::from_secs(1)));
        assert_eq!(redeemed[0]["state"], "redeemed by node 2");
        let granted = log.entries[1].clone();
        let mut early = weft_model::fixture::Log::founded();
        early.append(granted);
        let check = |now, expect: &str| {
            let tokens = tokens_of(&early.state, now);
            assert_eq!(tokens[0]["id"], id.to_string());
            assert_eq!(tokens[0]["state"], expect);
        };
        check(early.state.time(), "open");
        check(grant.expires, "open");
        check(grant.expires.after(Duration::from_millis(1)), "expired");
        assert!(tokens_of(&federation(), grant.expires).len() > 1);
    }
}
