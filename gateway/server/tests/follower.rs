//! Gateways of a federation in one process, on loopback: a follower begins anew, and leaves.

#![allow(clippy::unwrap_used, reason = "a test that lacks it has failed")]

mod support;

use std::time::{Duration, Instant};

use support::{config, now};
use tempfile::tempdir;
use weft_gateway::config::GatewayConfigFile;
use weft_gateway::membership::{Administrator, JoinError, MembershipError, found, join};
use weft_gateway::{Gateway, GatewayError};
use weft_identity::{JoinToken, SigningKey};
use weft_model::fixture::{export, name};
use weft_model::{
    AppProtocol, Author, ClusterRole, Command, Generation, NodeId, RequestId, ServiceType,
    SignerEpoch, TokenGrant, WallTime,
};
use weft_registry::wire::FORMAT_SUPPORTED;
use weft_registry::{Draft, Proposal};
use weft_test_support::{Answer, RecordType, ask};

const FOLLOWS: &str = r#","role":"follower","leaveOnStop":true"#;

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes the gateway a member through `through`; its number is that of the administrator's order.
async fn admit(
    through: &Gateway,
    admin: &Administrator,
    config: &GatewayConfigFile,
    order: u64,
) -> Result<NodeId, JoinError> {
    let key = SigningKey::generate();
    let spec = &config.spec;
    let grant = TokenGrant {
        key: key.public(),
        cluster: spec.cluster.clone(),
        region: spec.region.clone(),
        role: ClusterRole::Voter,
        expires: WallTime(now().0 + 600_000),
    };
    let draft = Draft {
        request: RequestId((u128::from(order) << 64).to_be_bytes()),
        author: Author::Operator(admin.user.clone(), SignerEpoch::FIRST),
        by_order_of: None,
        generation: Generation(order),
        command: Command::GrantToken(grant),
    };
    let hub = through.hub();
    hub.propose(Proposal::sign(&admin.signing, &draft))
        .await
        .unwrap();
    let own = hub.bundles().current();
    let token = JoinToken::with_key(
        &key,
        spec.cluster.clone(),
        spec.region.clone(),
        hub.domain().clone(),
        own.of(hub.trust_domain()).unwrap().hash(),
        vec![hub.config().api.advertised().unwrap()],
    );
    let joined = join(config, &token, None, now, |_| {}).await?;
    Ok(joined.node)
}

fn voters(gateway: &Gateway) -> usize {
    gateway.hub().registry().status().raft.voters.len()
}

fn follows_up_to(follower: &Gateway, other: &Gateway) -> bool {
    let applied = |it: &Gateway| it.hub().registry().applied().index;
    applied(follower) >= applied(other) && follower.hub().zones().are_known()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_begins_anew_under_a_leader_that_it_never_heard_of_and_leaves() {
    let dir = tempdir().unwrap();
    let at =
        |number, cluster, gateway, more| config(dir.path(), [77, number], cluster, gateway, more);
    let first = at(1, "eu", "gw-1", "");
    let (_, admin) = found(&first, name("fed.example.org"), name("ana"), now()).unwrap();
    let one = Gateway::start(first).await.unwrap();
    let level = || one.hub().registry().state().format();
    until("the newest format level", || level() == FORMAT_SUPPORTED).await;

    // The first gateway of a cluster is none, and its token is not spent.
    let alone = admit(&one, &admin, &at(9, "ap", "gw-1", FOLLOWS), 1).await;
    assert!(
        matches!(
            alone,
            Err(JoinError::Membership(MembershipError::FollowsNobody(_)))
        ),
        "{alone:?}"
    );
    let it = || at(4, "eu", "gw-2", FOLLOWS);
    let node = admit(&one, &admin, &it(), 2).await.unwrap();
    let follower = Gateway::start(it()).await.unwrap();
    until("it follows", || follows_up_to(&follower, &one)).await;
    // Told to stop it leaves, as its configuration says.
    follower.shutdown().await;
    until("its record is gone", || {
        one.hub().registry().state().node(node).is_none()
    })
    .await;

    // Another one does not, and comes back to its folder.
    let mut other = it();
    other.spec.leave_on_stop = false;
    std::fs::remove_dir_all(dir.path().join("4")).unwrap();
    let node = admit(&one, &admin, &other, 3).await.unwrap();
    let follower = Gateway::start(other.clone()).await.unwrap();
    until("it follows", || follows_up_to(&follower, &one)).await;
    follower.shutdown().await;
    assert!(!dir.path().join("4/registry").exists());

    // While it is away two others come, and one of them leads.
    let mut others = Vec::new();
    for (number, cluster) in [(2, "us"), (3, "ap")] {
        let config = at(number, cluster, "gw-1", "");
        let node = admit(&one, &admin, &config, 10 + u64::from(number))
            .await
            .unwrap();
        others.push((node, Gateway::start(config).await.unwrap()));
    }
    let web = export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
    let web = Command::PutExport(name("us"), name("shop/web"), Box::new(web));
    others[0].1.hub().write(web, None).await.unwrap();
    until("three vote", || voters(&one) == 3).await;
    one.hub().registry().transfer(others[0].0).await.unwrap();
    let follower = Gateway::start(other.clone()).await.unwrap();
    assert!(follower.hub().registry().state().domain().is_none());
    until("it follows", || follows_up_to(&follower, &one)).await;
    let raft = &follower.hub().registry().status().raft;
    assert_eq!(raft.leadership.leader, Some(others[0].0));
    assert_eq!(
        (raft.voters.len(), raft.learners.as_slice()),
        (3, &[node][..])
    );
    assert!(
        one.hub().registry().state().node(node).is_some(),
        "it came back"
    );
    assert_eq!(
        asked().await.code,
        0,
        "a service that was offered while it was away"
    );
    follower.shutdown().await;

    // It stays what it is.
    let mut as_member = other.clone();
    as_member.spec.role = weft_model::GatewayRole::Member;
    let refused = Gateway::start(as_member).await.err().unwrap();
    assert!(
        matches!(
            refused,
            GatewayError::Membership(MembershipError::Role { .. })
        ),
        "{refused}"
    );
    for (_, gateway) in others {
        gateway.shutdown().await;
    }
    one.shutdown().await;

    // With nobody there it knows nothing, and denies nothing. It is nobody's to dial either; its
    // last run in this process may still hold the old sockets.
    other.spec.tunnel.bind = "127.77.5.1:7443".parse().unwrap();
    other.spec.api.bind = "127.77.5.1:7444".parse().unwrap();
    let follower = Gateway::start(other).await.unwrap();
    assert_eq!(asked().await.code, 2, "SERVFAIL");
    assert!(follower.hub().registry().state().domain().is_none());
    follower.shutdown().await;
}

/// What the follower's DNS says.
async fn asked() -> Answer {
    let asking = || {
        ask(
            "127.77.4.1:8653",
            "web.shop.svc.clusterset.local",
            RecordType::A,
        )
    };
    tokio::task::spawn_blocking(asking).await.unwrap().unwrap()
}
