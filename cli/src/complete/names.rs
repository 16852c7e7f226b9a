//! The candidates: one function for each kind of thing that an argument names.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap_complete::engine::CompletionCandidate;
use serde_json::json;
use weft_gateway::admin::view::{ListView, ServiceView};
use weft_model::{Kind, code};

use super::live;
use super::words::Words;
use crate::args::Global;
use crate::command::get::{self, parse_kind};
use crate::context::Contexts;

type Candidates = Vec<CompletionCandidate>;

/// Contexts of this user; from the file.
pub(crate) fn contexts() -> Candidates {
    let contexts = Contexts::load().unwrap_or_default();
    contexts
        .contexts
        .keys()
        .map(CompletionCandidate::new)
        .collect()
}

/// Error codes, with what they say.
pub(crate) fn codes() -> Candidates {
    let candidate = |code: &weft_model::Code| {
        CompletionCandidate::new(code.to_string()).help(Some(code.title.into()))
    };
    code::TABLE.iter().map(candidate).collect()
}

/// Kinds, as `weft get` takes them.
pub(crate) fn kinds() -> Candidates {
    get::KINDS
        .iter()
        .map(|(_, words)| CompletionCandidate::new(words[1]))
        .collect()
}

/// Member clusters.
pub(crate) fn clusters() -> Candidates {
    live::ask(async |client, _| {
        let status = client.status(false).await?;
        let cluster = |cluster: weft_gateway::admin::view::ClusterView| {
            CompletionCandidate::new(cluster.name).help(Some(cluster.region.into()))
        };
        Ok(status.clusters.into_iter().map(cluster).collect())
    })
}

/// Gateways: `cluster/gateway`.
pub(crate) fn gateways() -> Candidates {
    live::ask(async |client, _| {
        let status = client.status(false).await?;
        let gateway = |member: weft_gateway::admin::view::RaftMemberView| {
            let name = format!("{}/{}", member.cluster, member.gateway);
            CompletionCandidate::new(name).help(Some(member.role.into()))
        };
        Ok(status.raft.members.into_iter().map(gateway).collect())
    })
}

/// Services: `namespace/name`.
pub(crate) fn services() -> Candidates {
    service_names()
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}

/// Releases: names, of one namespace if it is given.
pub(crate) fn releases() -> Candidates {
    resource_names(Kind::Release)
        .into_iter()
        .map(|(namespace, name)| CompletionCandidate::new(name).help(namespace.map(Into::into)))
        .collect()
}

/// Namespaces of services.
pub(crate) fn namespaces() -> Candidates {
    let services = service_names();
    let namespaces: BTreeSet<&str> = services
        .iter()
        .filter_map(|name| Some(name.split_once('/')?.0))
        .collect();
    namespaces
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}

/// Names of services that every cluster answers.
pub(crate) fn dns_names() -> Candidates {
    let name = |service: String| {
        let (namespace, name) = service.split_once('/')?;
        Some(CompletionCandidate::new(format!(
            "{name}.{namespace}.svc.clusterset.local"
        )))
    };
    service_names().into_iter().filter_map(name).collect()
}

fn service_names() -> Vec<String> {
    live::ask(async |client, _| {
        let list: ListView<ServiceView> = client.ask("services", json!({})).await?;
        Ok(list.items.into_iter().map(|service| service.name).collect())
    })
}

/// Names of the kind that stands before: `get routes NAME`.
pub(crate) fn resources() -> Candidates {
    let words = Words::of_shell();
    let kind = words
        .after(&["get", "describe", "delete"])
        .and_then(|word| parse_kind(word).ok());
    let named = |kind| {
        resource_names(kind)
            .into_iter()
            .map(|(_, name)| CompletionCandidate::new(name))
    };
    kind.map(|kind| named(kind).collect()).unwrap_or_default()
}

/// `kind/name` and `kind/namespace/name`: first the kinds, then the names of one.
pub(crate) fn kind_names(current: &OsStr) -> Candidates {
    let Some(current) = current.to_str() else {
        return Vec::new();
    };
    let Some((word, _)) = current.split_once('/') else {
        let kinds = get::KINDS.iter().map(|(_, words)| words[0]);
        let all = kinds.chain(["service", "gateway"]);
        let fits = all.filter(|kind| kind.starts_with(current));
        return fits
            .map(|kind| CompletionCandidate::new(format!("{kind}/")))
            .collect();
    };
    let names = match (word, parse_kind(word)) {
        (_, Ok(kind)) => resource_names(kind).into_iter().map(full_name).collect(),
        ("service" | "svc", _) => service_names(),
        ("gateway" | "gw", _) => values(gateways()),
        _ => Vec::new(),
    };
    let names = names.into_iter().map(|name| format!("{word}/{name}"));
    let fits = names.filter(|name| name.starts_with(current));
    fits.map(CompletionCandidate::new).collect()
}

/// Namespace and name of each resource of a kind.
fn resource_names(kind: Kind) -> Vec<(Option<String>, String)> {
    let namespace = Words::of_shell().namespace();
    live::ask(async |client, global| {
        let scope = Global {
            namespace,
            ..global.clone()
        };
        let found = client.resources(&scope, kind, None, false).await?;
        let name = |item: &serde_json::Value| {
            let text = |pointer: &str| Some(item.pointer(pointer)?.as_str()?.to_owned());
            Some((text("/metadata/namespace"), text("/metadata/name")?))
        };
        Ok(found.iter().filter_map(name).collect())
    })
}

fn full_name((namespace, name): (Option<String>, String)) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name,
    }
}

fn values(candidates: Candidates) -> Vec<String> {
    let text =
        |candidate: CompletionCandidate| candidate.get_value().to_string_lossy().into_owned();
    candidates.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_before_names() {
        let check = |typed: &str, expect: &[&str]| {
            assert_eq!(values(kind_names(OsStr::new(typed))), expect, "{typed}");
        };
        check("service", &["serviceexport/", "service/"]);
        check("gate", &["gateway/"]);
        check("nonsense/", &[]);
    }

    #[test]
    fn every_kind_and_code_is_offered() {
        let kinds = values(kinds());
        assert!(kinds.contains(&"trafficpolicies".to_owned()), "{kinds:?}");
        assert_eq!(values(codes()).len(), code::TABLE.len());
    }
}
