//! The part of the document that the log had recorded at a moment.

use std::sync::Arc;

use serde_json::Value;
use weft_model::{ClusterName, Federation, Member, Node, NodeId};

use super::super::history::Past;
use super::super::release;
use super::super::view::{
    PastClusterView, PastGatewayView, PastServiceView, PastStatusView, ServiceView,
};
use super::{recorded, role};
use crate::hub::Hub;

/// What `weft status` tells of now that is in no entry of the log.
const NOT_RECORDED: [&str; 6] = [
    "who led, who voted and who was reached",
    "paths and round trips",
    "endpoints, and services that registration alone made",
    "clamps",
    "disks and certificates of gateways",
    "problems",
];

/// What of the whole is recorded.
pub(in crate::admin) fn past(hub: &Hub, past: &Past) -> PastStatusView {
    let state = &past.state;
    let mut releases = release::list(hub, &Value::Null, Some(state)).items;
    releases.retain(|release| release.under_way);
    let services = exported_services(hub, state).into_iter();
    PastStatusView {
        api_version: "weft.dev/v1".into(),
        federation: hub.domain().to_string(),
        cluster: hub.cluster().to_string(),
        gateway: hub.gateway().to_string(),
        freshness: past.freshness(hub),
        as_of: past.view(),
        format: state.format().0,
        clusters: clusters(state),
        gateways: gateways(state),
        services: services.map(service).collect(),
        releases,
        not_recorded: NOT_RECORDED.map(str::to_owned).into(),
    }
}

/// The exported services that this cluster might see in a state, without who serves them.
pub(in crate::admin) fn exported_services(hub: &Hub, state: &Federation) -> Vec<ServiceView> {
    let visible = state
        .services()
        .filter(|it| it.is_visible_to(hub.cluster()));
    visible
        .map(|service| recorded(hub, state, service))
        .collect()
}

fn clusters(state: &Federation) -> Vec<PastClusterView> {
    let view = |(name, member): (&ClusterName, &Arc<Member>)| {
        let nodes = || state.nodes().filter(|(_, node)| node.cluster == *name);
        let api = nodes().filter_map(|(_, node)| node.gateway.api.as_ref());
        PastClusterView {
            name: name.to_string(),
            region: member.spec.region.to_string(),
            role: role(member.spec.role).into(),
            lease: match member.lapsed {
                None => "held",
                Some(_) => "lapsed",
            }
            .into(),
            gateways: nodes()
                .map(|(_, node)| node.gateway.name.to_string())
                .collect(),
            drain: member.spec.drain,
            api: api.map(ToString::to_string).collect(),
        }
    };
    state.clusters().map(view).collect()
}

fn gateways(state: &Federation) -> Vec<PastGatewayView> {
    let view = |(NodeId(node), known): (NodeId, &Arc<Node>)| PastGatewayView {
        node,
        cluster: known.cluster.to_string(),
        gateway: known.gateway.name.to_string(),
        role: known.gateway.role.as_str().into(),
        format: known.gateway.format.0,
    };
    state.nodes().map(view).collect()
}

fn service(service: ServiceView) -> PastServiceView {
    let ServiceView {
        name,
        service_type,
        ports,
        virtual_ips,
        exporters,
        // Nobody knows what was ready then.
        ready: _,
        conflicts,
    } = service;
    PastServiceView {
        name,
        service_type,
        ports,
        virtual_ips,
        exporters,
        conflicts,
    }
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::Log;
    use weft_model::{Author, Command};

    use super::*;

    #[test]
    fn members_and_gateways_are_as_the_state_has_them() {
        let mut log = Log::founded();
        log.join(2, "eu-west-1");
        let before = log.state.clone();
        let founder = log.cluster_of(1);
        let author: Author = log.gateway(1);
        let lapse = Command::LapseLease("eu-west-1".parse().unwrap());
        log.accept(author, lapse);
        let check = |state: &Federation, expect: [(&str, &str); 2]| {
            let clusters = clusters(state);
            let seen = clusters.iter().map(|it| (&*it.name, &*it.lease));
            assert_eq!(seen.collect::<Vec<_>>(), expect);
        };
        check(&before, [("eu-west-1", "held"), (founder.as_str(), "held")]);
        check(
            &log.state,
            [("eu-west-1", "lapsed"), (founder.as_str(), "held")],
        );
        let gateways = gateways(&log.state);
        let seen = gateways.iter().map(|it| (it.node, &*it.cluster, &*it.role));
        let expect = [(1, founder.as_str(), "member"), (2, "eu-west-1", "member")];
        assert_eq!(seen.collect::<Vec<_>>(), expect);
    }
}
