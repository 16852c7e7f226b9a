//! Whatever clusters, operators and forgers write, in whatever order: what
//! always holds of the state. Every failing log shrinks to a short one.

mod generate;

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::author::Standing;
use crate::fixture::{CLUSTERS, Log, name};
use crate::*;

pub(super) use generate::exports;
use generate::{NAMES, steps};

fn start() -> Log {
    let mut log = Log::founded();
    for (node, (cluster, _)) in (2..).zip(&CLUSTERS[1..]) {
        log.join(node, cluster);
    }
    log
}

/// What must hold of every state.
fn check_state(state: &Federation) {
    let mut indexes = BTreeSet::new();
    for service in state.services() {
        assert!(
            !service.exporters.is_empty(),
            "{} has no exporter",
            service.key
        );
        for cluster in service.exporters.keys() {
            assert!(state.cluster(cluster).is_some(), "{cluster} is no member");
            assert!(state.export(&service.key, cluster).is_some());
        }
        assert!(service.index.0 >= 1 && service.index.0 <= state.virtual_ip_capacity());
        assert!(
            indexes.insert(service.index),
            "index {} twice",
            service.index
        );
    }
    let mut under_way = BTreeSet::new();
    for (key, release) in state.releases() {
        let service = release.spec.key(&key.namespace);
        assert!(
            !release.phase.is_under_way() || under_way.insert(service),
            "two releases under way"
        );
        assert!(!release.phase.is_under_way() || release.is_in_effect());
        assert!(release.history.len() <= quota::HISTORY_MAX);
    }
    let able = |user: &UserName| state.signer(user).is_some();
    let admins = state.role_bindings().filter(|(_, b)| b.role == Role::Admin);
    assert!(
        admins.flat_map(|(_, b)| &b.users).any(able),
        "no administrator is left"
    );
    assert_eq!(Federation::from_parts(state.to_parts()).as_ref(), Ok(state));
}

/// What a cluster owns, in a form that compares.
fn owned(state: &Federation, cluster: &ClusterName) -> impl PartialEq + std::fmt::Debug {
    let exports: Vec<_> = state
        .exports()
        .filter(|((_, by), _)| by == cluster)
        .collect();
    let exports: Vec<_> = exports
        .into_iter()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let entries = state
        .workload_entries()
        .filter(|((by, _, _), _)| by == cluster);
    let entries: Vec<_> = entries.map(|(k, v)| (k.clone(), v.clone())).collect();
    let bundle = state.cluster(cluster).map(|member| member.bundle.clone());
    let nodes = state.nodes().filter(|(_, node)| node.cluster == *cluster);
    let nodes: Vec<_> = nodes.map(|(id, node)| (id, node.clone())).collect();
    (exports, entries, bundle, nodes)
}

/// What must hold of every step from one state to the next.
fn check_step(before: &Federation, after: &Federation, entry: &Entry, applied: &Applied) {
    assert!(after.next_node >= before.next_node);
    for (id, _) in after.nodes().filter(|(id, _)| before.node(*id).is_none()) {
        assert!(id >= before.next_node, "node id {id} was used before");
    }
    check_indexes(before, after, entry);
    let cause = before.admit(after.applied(), entry).ok();
    for cluster in NAMES.map(name::<ClusterName>) {
        if owned(before, &cluster) == owned(after, &cluster) {
            continue;
        }
        let standing = cause.as_ref().map(|cause| &cause.standing);
        let lawful = match standing {
            Some(Standing::Gateway { cluster: own, .. }) => *own == cluster,
            Some(Standing::Operator { role, .. }) => *role == Some(Role::Admin),
            Some(Standing::Token(id)) => before.tokens[id].0.cluster == cluster,
            Some(Standing::Founder) | None => false,
        };
        assert!(lawful, "{} changed what {cluster} owns", entry.author);
    }
    if applied.outcome.is_err() {
        assert_eq!(applied.events, []);
        assert_eq!(
            records(after),
            records(before),
            "a refused entry left a trace"
        );
    }
}

/// A service keeps its index, and none gets one that rests for another.
fn check_indexes(before: &Federation, after: &Federation, entry: &Entry) {
    for service in after.services() {
        if let Some(old) = before.service(&service.key) {
            assert_eq!(old.index, service.index);
            continue;
        }
        for (key, gone) in before.quarantined() {
            let rests = after.applied().0 < gone.since.0 + quota::QUARANTINE_ENTRIES
                || entry.time.since(gone.time) < quota::QUARANTINE_TIME;
            let (same_key, same_index) = (*key == service.key, gone.index == service.index);
            assert!(
                !rests || same_key == same_index,
                "index {} of {key}",
                gone.index
            );
        }
    }
}

/// The state without what every entry may touch.
fn records(state: &Federation) -> FederationParts {
    let mut parts = state.to_parts();
    (parts.applied, parts.time) = (Index(0), WallTime(0));
    parts.requests.clear();
    parts.orders.clear();
    parts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_log_keeps_the_invariants_and_replays_to_itself(
        steps in vec(steps(), 1..100),
        risen in any::<bool>(),
    ) {
        let mut log = start();
        if risen {
            log.raise(FormatLevel::RELEASES);
        }
        let (mut index, mut indexes) = (log.entries.len() as u64, Vec::new());
        indexes.extend(1..=index);
        let (mut accepted, mut judged) = (log.entries.clone(), log.entries.clone());
        for step in &steps {
            index += 1 + step.skip;
            let entry = step.write(&log);
            let before = log.state.clone();
            let applied = log.state.apply(Index(index), &entry);
            check_step(&before, &log.state, &entry, &applied);
            check_state(&log.state);
            indexes.push(index);
            log.entries.push(entry.clone());
            if log.state.requests.outcome(&entry.request).is_some() {
                judged.push(entry.clone());
            }
            if applied.outcome.is_ok() {
                accepted.push(entry);
            }
        }
        let mut again = Federation::default();
        for (index, entry) in indexes.iter().zip(&log.entries) {
            again.apply(Index(*index), entry);
        }
        prop_assert_eq!(&again, &log.state);
        prop_assert_eq!(again.digest(), log.state.digest());
        for entry in &judged {
            index += 1;
            log.state.apply(Index(index), entry);
        }
        again.applied = Index(index);
        prop_assert_eq!(&again, &log.state, "a replay changed something");
        for (number, entry) in accepted.iter().enumerate() {
            let request = RequestId([200, number as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            log.state.apply(Index(index), &Entry { request, ..entry.clone() });
            prop_assert_eq!(records(&log.state), records(&again), "{:?} applied twice", entry);
        }
    }
}
