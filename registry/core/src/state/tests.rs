//! What each command does and what it refuses, one table for each concern.

mod authority;
mod membership;
mod releases;
mod routes;
mod services;
mod values;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::fixture::{ADMIN, CLUSTERS, DOMAIN, Log, cluster_spec, export, gateway, name};
use crate::*;

const US: &str = "us-east-1";
const EU: &str = "eu-west-1";

/// us-east-1 (node 1, founder) and eu-west-1 (node 2), both voters; ap-south-1
/// (node 3) a member without a vote.
fn three() -> Log {
    let mut log = Log::founded();
    log.join(2, EU);
    log.join(3, CLUSTERS[2].0);
    let mut spec = cluster_spec(CLUSTERS[2].1);
    spec.role = ClusterRole::Member;
    let admin = log.admin();
    log.accept(
        admin,
        Command::PutCluster(name(CLUSTERS[2].0), Box::new(spec)),
    );
    log
}

/// Writes the command, which must be refused with this text, and leave no trace
/// but the request's outcome.
#[track_caller]
fn refused(log: &Log, author: Author, command: Command, text: &str) {
    let mut log = log.clone();
    let before = log.state.clone();
    let applied = log.write(author, command);
    let refusal = applied.outcome.expect_err("it must be refused").to_string();
    assert!(refusal.contains(text), "{refusal:?} does not say {text:?}");
    assert_eq!(applied.events, []);
    let mut after = log.state.to_parts();
    let unchanged = before.to_parts();
    after.applied = unchanged.applied;
    after.time = unchanged.time;
    after.orders.clone_from(&unchanged.orders);
    after.requests.clone_from(&unchanged.requests);
    assert_eq!(after, unchanged);
}

fn http() -> ExportSpec {
    export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80)
}

fn put(cluster: &str, key: &str, spec: ExportSpec) -> Command {
    Command::PutExport(name(cluster), name(key), Box::new(spec))
}

fn delete(cluster: &str, key: &str) -> Command {
    Command::DeleteExport(name(cluster), name(key))
}

fn service<'a>(log: &'a Log, key: &str) -> &'a Service {
    log.state.service(&name(key)).expect("the service is there")
}

fn grant(cluster: &str, seed: u8, expires: WallTime) -> TokenGrant {
    TokenGrant {
        key: PublicKey([seed; 32]),
        cluster: name(cluster),
        region: name("eu-west"),
        role: ClusterRole::Member,
        expires,
    }
}

fn redeem(cluster: &str, seed: u8, gateway_name: &str) -> (Author, Command) {
    let token = TokenId::of(&PublicKey([seed; 32]));
    let mut record = gateway(seed);
    record.name = name(gateway_name);
    let redemption = Redemption {
        token,
        bundle: vec![cluster.into()],
        spec: cluster_spec("mars"),
        gateway: record,
    };
    let command = Command::RedeemToken(Box::new(redemption));
    (Author::Token(token), command)
}

fn soon(log: &Log) -> WallTime {
    log.state.time().after(Duration::from_secs(600))
}
