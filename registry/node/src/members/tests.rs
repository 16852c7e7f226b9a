use std::collections::BTreeMap;

use raft::eraftpb::ConfState;
use weft_model::fixture::{Log, name};
use weft_model::{Author, ClusterRole, Command, NodeId};

use super::*;

fn conf(voters: &[u64], learners: &[u64]) -> ConfState {
    ConfState::from((voters.to_vec(), learners.to_vec()))
}

fn near(nodes: &[u64]) -> BTreeMap<NodeId, Progress> {
    let progress = |id: &u64| {
        let progress = Progress {
            behind: 0,
            active: true,
        };
        (NodeId(*id), progress)
    };
    nodes.iter().map(progress).collect()
}

fn three_clusters() -> Log {
    let mut log = Log::founded();
    log.join(2, "eu-west-1");
    log.join(3, "ap-south-1");
    log
}

fn ids(nodes: &[u64]) -> Vec<NodeId> {
    nodes.iter().copied().map(NodeId).collect()
}

fn check(
    log: &Log,
    conf: ConfState,
    progress: &BTreeMap<NodeId, Progress>,
    expect: Option<MemberChange>,
) {
    let planned = plan_members(&log.state, &conf, progress, NodeId(1));
    assert_eq!(planned, expect, "{conf:?}");
}

#[test]
fn newcomers_replicate_before_they_vote() {
    let log = three_clusters();
    let all = near(&[1, 2, 3]);
    check(
        &log,
        conf(&[1], &[]),
        &all,
        Some(MemberChange::AddLearner(NodeId(2))),
    );
    check(
        &log,
        conf(&[1], &[2]),
        &all,
        Some(MemberChange::AddLearner(NodeId(3))),
    );
    let both = MemberChange::Voters {
        promote: ids(&[2, 3]),
        demote: ids(&[]),
    };
    check(&log, conf(&[1], &[2, 3]), &all, Some(both));
    check(&log, conf(&[1, 2, 3], &[]), &all, None);
}

#[test]
fn a_follower_replicates_and_never_votes() {
    let mut log = three_clusters();
    let mut node = (**log.state.node(NodeId(3)).unwrap()).clone();
    node.gateway.role = weft_model::GatewayRole::Follower;
    let mut parts = log.state.to_parts();
    parts.nodes.retain(|(id, _)| *id != NodeId(3));
    parts.nodes.push((NodeId(3), node));
    log.state = Federation::from_parts(parts).unwrap();
    let all = near(&[1, 2, 3]);
    let add = MemberChange::AddLearner(NodeId(3));
    check(&log, conf(&[1], &[2]), &all, Some(add));
    check(&log, conf(&[1], &[2, 3]), &all, None);
}

#[test]
fn voters_are_odd_in_number_and_have_caught_up() {
    let log = three_clusters();
    // Two candidates would only add a way to fail.
    check(&log, conf(&[1], &[2, 3]), &near(&[1, 2]), None);
    let mut behind = near(&[1, 2, 3]);
    behind.entry(NodeId(3)).and_modify(|p| p.behind = 1_000);
    check(&log, conf(&[1], &[2, 3]), &behind, None);
    // Who votes already goes on, near or not.
    check(&log, conf(&[1, 2, 3], &[]), &near(&[1]), None);
}

#[test]
fn a_cluster_without_the_role_gets_no_vote() {
    let mut log = three_clusters();
    let cluster = name("ap-south-1");
    let mut spec = log.state.cluster(&cluster).unwrap().spec.clone();
    spec.role = ClusterRole::Member;
    log.accept(log.admin(), Command::PutCluster(cluster, Box::new(spec)));
    check(&log, conf(&[1], &[2, 3]), &near(&[1, 2, 3]), None);
    let demoted = MemberChange::Voters {
        promote: ids(&[]),
        demote: ids(&[2, 3]),
    };
    check(
        &log,
        conf(&[1, 2, 3], &[]),
        &near(&[1, 2, 3]),
        Some(demoted),
    );
}

#[test]
fn a_removed_gateway_goes_at_once_and_a_leader_hands_over_first() {
    let mut log = three_clusters();
    log.accept(log.admin(), Command::RemoveCluster(name("ap-south-1")));
    let all = near(&[1, 2, 3]);
    check(
        &log,
        conf(&[1, 2, 3], &[]),
        &all,
        Some(MemberChange::Remove(NodeId(3))),
    );
    let planned = plan_members(&log.state, &conf(&[1, 2, 3], &[]), &all, NodeId(3));
    assert_eq!(planned, Some(MemberChange::Transfer(NodeId(1))));
}

#[test]
fn a_vote_moves_from_a_lapsed_cluster_to_a_fresh_one_only() {
    let mut log = three_clusters();
    let lapse = Command::LapseLease(name("ap-south-1"));
    log.accept(gateway(&log, 1), lapse);
    // Nobody else is there: it keeps its vote.
    check(&log, conf(&[1, 2, 3], &[]), &near(&[1, 2, 3]), None);
}

#[test]
fn regions_come_before_clusters_and_clusters_before_gateways() {
    let candidate = |node, region: &str, cluster: &str| Candidate {
        node: NodeId(node),
        region: name(region),
        cluster: name(cluster),
        votes_now: false,
        lapsed: false,
        witness: false,
    };
    let all = [
        candidate(1, "us", "us-1"),
        candidate(2, "us", "us-1"),
        candidate(3, "us", "us-2"),
        candidate(4, "eu", "eu-1"),
        candidate(5, "ap", "ap-1"),
    ];
    let pick = |count: usize| {
        choose_voters(&all[all.len() - count..])
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        choose_voters(&all[..4]),
        ids(&[1, 3, 4]).into_iter().collect()
    );
    assert_eq!(pick(3), ids(&[3, 4, 5]));
    assert_eq!(pick(5), ids(&[1, 2, 3, 4, 5]));
    assert_eq!(pick(2), ids(&[4]));
}

#[test]
fn a_witness_votes_where_two_regions_would_and_not_where_three_do() {
    let candidate = |node, region: &str, witness| Candidate {
        node: NodeId(node),
        region: name(region),
        cluster: name(region),
        votes_now: false,
        lapsed: false,
        witness,
    };
    let all = [
        candidate(1, "w", true),
        candidate(2, "us", false),
        candidate(3, "us", false),
        candidate(4, "us", false),
        candidate(5, "eu", false),
        candidate(6, "eu", false),
        candidate(7, "ap", false),
    ];
    let pick = |nodes: &[u64]| {
        let some: Vec<Candidate> = all
            .iter()
            .filter(|it| nodes.contains(&it.node.0))
            .cloned()
            .collect();
        Vec::from_iter(choose_voters(&some))
    };
    assert_eq!(pick(&[1, 2, 5]), ids(&[1, 2, 5]));
    // Neither region has the majority.
    assert_eq!(pick(&[1, 2, 3, 4, 5, 6]), ids(&[1, 2, 3, 5, 6]));
    assert_eq!(pick(&[1, 2, 5, 7]), ids(&[2, 5, 7]));
}

#[test]
fn a_witness_leads_only_while_nobody_else_can() {
    let mut log = three_clusters();
    log.raise(weft_model::FormatLevel::WITNESSES);
    let cluster = name("eu-west-1");
    let mut spec = log.state.cluster(&cluster).unwrap().spec.clone();
    spec.role = ClusterRole::Witness;
    log.accept(log.admin(), Command::PutCluster(cluster, Box::new(spec)));
    let voting = conf(&[1, 2, 3], &[]);
    let planned = |heard: &[u64]| plan_members(&log.state, &voting, &near(heard), NodeId(2));
    let away = MemberChange::Transfer(NodeId(1));
    assert_eq!(planned(&[1, 2, 3]), Some(away));
    assert_eq!(planned(&[2]), None);
    // Who hands over hands over to the other one.
    let all = BTreeSet::from_iter(ids(&[1, 2, 3]));
    let next = |progress| successor(&log.state, &all, &progress, NodeId(1));
    assert_eq!(next(near(&[1, 2, 3])), Some(NodeId(3)));
    assert_eq!(next(near(&[1, 2])), Some(NodeId(2)));
}

fn gateway(log: &Log, node: u64) -> Author {
    log.gateway(node)
}
