//! T1: records and endpoints that another cluster owns.

use anyhow::{Context, Result, bail, ensure};
use rand::random;
use serde_json::json;
use weft_mallory::{CLUSTER, Taken};
use weft_model::{
    Author, ClusterName, ClusterSpec, Command, ExportSpec, FormatLevel, NodeId, PublicKey, Refusal,
    RoleBindingSpec, RouteSpec, SignerEpoch, SignerRecord, TokenGrant, TokenId, WorkloadEntrySpec,
};
use weft_proto::catalog as wire;
use weft_proto::catalog::peer_frame::Frame;
use weft_registry::ProposeError;

use crate::Stage;

/// The one that suffers.
pub(crate) const VICTIM: &str = "us-east-1";

/// Beyond every count that the log has seen.
const LATE: u64 = 1 << 40;

pub(crate) fn export() -> Result<ExportSpec> {
    Ok(serde_json::from_value(json!({
        "ports": [{ "name": "http", "port": 80, "appProtocol": "http" }],
        "exportTo": ["*"],
    }))?)
}

/// Everything that is not hers to say, each signed as herself.
pub(crate) fn others_commands(stage: &Stage<'_>) -> Result<Vec<Command>> {
    let victim: ClusterName = VICTIM.parse()?;
    let own: ClusterName = CLUSTER.parse()?;
    let checkout = "shop/checkout".parse()?;
    let node = stage.mallory.node_of(VICTIM, "gw-1")?;
    let state = stage.mallory.state();
    let mut spec: ClusterSpec = state.cluster(&own).context("her cluster")?.spec.clone();
    spec.region = "us-east".parse()?;
    let entry: WorkloadEntrySpec = serde_json::from_value(json!({
        "service": "checkout", "address": "127.6.6.6", "ports": { "http": 80 },
    }))?;
    let route: RouteSpec = serde_json::from_value(json!({
        "parentRefs": [{ "name": "checkout" }],
        "rules": [{ "backendRefs": [{ "name": "payments" }] }],
    }))?;
    let admins: RoleBindingSpec =
        serde_json::from_value(json!({ "role": "admin", "users": ["mallory"] }))?;
    let key = PublicKey([7; 32]);
    let grant = TokenGrant {
        key,
        cluster: "mallory-2".parse()?,
        region: "us-east".parse()?,
        role: weft_model::ClusterRole::Voter,
        expires: state.time().after(std::time::Duration::from_secs(600)),
    };
    let own_bundle = state.cluster(&own).context("her cluster")?.bundle.clone();
    Ok(vec![
        Command::PutExport(victim.clone(), "shop/mallory".parse()?, Box::new(export()?)),
        Command::PutExport(
            victim.clone(),
            "shop/payments".parse()?,
            Box::new(export()?),
        ),
        Command::DeleteExport(victim.clone(), checkout),
        Command::PutWorkloadEntry(
            victim.clone(),
            "shop".parse()?,
            "evil".parse()?,
            Box::new(entry),
        ),
        Command::PutBundle(victim.clone(), own_bundle),
        Command::PutBundle(victim.clone(), Vec::new()),
        Command::RemoveGateway(node),
        Command::RemoveCluster(victim.clone()),
        Command::PutCluster(own, Box::new(spec)),
        Command::GrantToken(grant),
        Command::RevokeToken(TokenId::of(&key)),
        Command::RecordSigner(SignerRecord {
            user: "mallory".parse()?,
            epoch: SignerEpoch::FIRST,
            key,
        }),
        Command::PutRoleBinding("mine".parse()?, admins),
        Command::DeleteRoleBinding("eyes".parse()?),
        Command::PutRoute("shop".parse()?, "evil".parse()?, Box::new(route)),
        Command::LapseLease(victim.clone()),
        Command::ReturnLease(victim),
        Command::RaiseFormat(FormatLevel(u32::MAX)),
    ])
}

/// By the log: every replica refuses what is not its author's to say.
pub(crate) fn records(stage: &Stage<'_>) -> Result<()> {
    let loot = &stage.mallory.loot;
    for command in others_commands(stage)? {
        let what = format!("{command:?}");
        match stage
            .mallory
            .propose(loot.sign(loot.author(), LATE, command))
        {
            Err(ProposeError::Refused(_)) => {}
            other => bail!("{what}: {other:?}"),
        }
    }
    // The control: what is hers goes.
    let own = Command::PutExport(CLUSTER.parse()?, "evil/own".parse()?, Box::new(export()?));
    let own_gone = Command::DeleteExport(CLUSTER.parse()?, "evil/own".parse()?);
    for (count, command) in [(1, own), (2, own_gone)] {
        let written = stage
            .mallory
            .propose(loot.sign(loot.author(), LATE + count, command));
        stage.mallory.await_index(written?)?;
    }
    Ok(())
}

/// Under names that are not hers: nothing of it so much as enters the log.
pub(crate) fn authors(stage: &Stage<'_>) -> Result<()> {
    let (mallory, loot) = (&stage.mallory, &stage.mallory.loot);
    let victim = mallory.node_of(VICTIM, "gw-1")?;
    let names = [
        Author::Gateway(victim, SignerEpoch::FIRST),
        Author::Gateway(NodeId(9_999), SignerEpoch::FIRST),
        Author::Gateway(mallory.id(), SignerEpoch(2)),
        Author::Operator("mallory".parse()?, SignerEpoch::FIRST),
        Author::Token(TokenId(random())),
        Author::Founder,
    ];
    for author in names {
        let what = format!("{author:?}");
        let delete = Command::DeleteExport(VICTIM.parse()?, "shop/checkout".parse()?);
        let forged = loot.sign(author, LATE, delete);
        ensure!(
            mallory.forward(forged.encode())? == Taken::No,
            "{what} was taken"
        );
    }
    let delete = Command::DeleteExport(VICTIM.parse()?, "shop/checkout".parse()?);
    let forged = loot.sign(Author::Gateway(victim, SignerEpoch::FIRST), LATE, delete);
    match mallory.propose(forged) {
        Err(ProposeError::Refused(Refusal::Signature)) => {}
        other => bail!("{other:?}"),
    }
    // A signature over other bytes than these.
    let honest = loot.sign(
        loot.author(),
        LATE + 9,
        Command::RemoveCluster(VICTIM.parse()?),
    );
    let mut bytes = honest.encode().to_vec();
    let at = bytes
        .windows(VICTIM.len())
        .position(|part| part == VICTIM.as_bytes());
    bytes[at.context("the name")?] ^= 1;
    ensure!(
        mallory.forward(bytes)? == Taken::No,
        "changed bytes were taken"
    );
    Ok(())
}

/// By the catalog: a gateway speaks for its own cluster and no other.
pub(crate) fn endpoints(stage: &Stage<'_>) -> Result<()> {
    let mallory = &stage.mallory;
    let listed = stage.victims.question(
        "us-east-1/gw-1",
        "endpoints",
        &json!({ "service": "shop/checkout" }),
    )?;
    let ids: Vec<Vec<u8>> = listed["items"]
        .as_array()
        .context("endpoints")?
        .iter()
        .filter_map(|item| bytes(item["id"].as_str()?))
        .collect();
    ensure!(!ids.is_empty(), "nothing to take over: {listed}");
    for (cluster, gateway) in weft_mallory::GATEWAYS {
        let mut stream = mallory.open_catalog(mallory.node_of(cluster, gateway)?)?;
        mallory.tell(&mut stream, Frame::Hello(hello(CLUSTER)))?;
        mallory.tell(&mut stream, Frame::Snapshot(wire::SnapshotBegin::default()))?;
        for id in &ids {
            for (of, identity) in [
                (
                    VICTIM,
                    "spiffe://us-east-1.dev.weft.internal/ns/shop/sa/checkout",
                ),
                (
                    CLUSTER,
                    "spiffe://us-east-1.dev.weft.internal/ns/shop/sa/checkout",
                ),
                (
                    CLUSTER,
                    "spiffe://mallory-1.dev.weft.internal/ns/shop/sa/checkout",
                ),
            ] {
                let claimed = endpoint(id.clone(), of, "checkout", identity);
                mallory.tell(&mut stream, Frame::Endpoint(claimed))?;
            }
            let word = wire::Withdraw {
                id: id.clone().into(),
                sequence: u64::MAX,
            };
            mallory.tell(&mut stream, Frame::EndpointWithdrawn(word))?;
            mallory.tell(&mut stream, Frame::EndpointRetracted(id.clone().into()))?;
        }
        let new = endpoint(
            random::<[u8; 16]>().to_vec(),
            VICTIM,
            "checkout",
            "spiffe://us-east-1.dev.weft.internal/ns/shop/sa/checkout",
        );
        mallory.tell(&mut stream, Frame::Endpoint(new))?;
        let odd = wire::Mark {
            hash: 1,
            ..wire::Mark::default()
        };
        mallory.tell(&mut stream, Frame::Mark(odd))?;
        // It has taken all of that in once it asks for it anew, since it holds none of it.
        loop {
            let said = mallory.hear(&mut stream)?.context("it hung up")?;
            if matches!(said, Frame::Resync(_)) {
                break;
            }
        }
        // And who says to be another gateway is cut off.
        let mut stream = mallory.open_catalog(mallory.node_of(cluster, gateway)?)?;
        mallory.tell(&mut stream, Frame::Hello(hello(VICTIM)))?;
        while let Ok(Some(said)) = mallory.hear(&mut stream) {
            ensure!(matches!(said, Frame::Hello(_)), "it goes on: {said:?}");
        }
    }
    Ok(())
}

pub(crate) fn hello(cluster: &str) -> wire::PeerHello {
    wire::PeerHello {
        cluster: cluster.into(),
        gateway: "gw-1".into(),
        epoch: random::<[u8; 16]>().to_vec().into(),
        recovering: false,
    }
}

pub(crate) fn endpoint(
    id: Vec<u8>,
    cluster: &str,
    service: &str,
    identity: &str,
) -> wire::Endpoint {
    wire::Endpoint {
        id: id.into(),
        service: Some(wire::ServiceKey {
            namespace: "shop".into(),
            name: service.into(),
        }),
        cluster: cluster.into(),
        address: "127.6.6.6:15006".into(),
        ports: vec![wire::EndpointPort {
            service_port: 80,
            protocol: wire::AppProtocol::Http.into(),
            ..wire::EndpointPort::default()
        }],
        identity: identity.into(),
        weight: 100,
        health: wire::Health::Ready.into(),
        sequence: u64::MAX,
        ..wire::Endpoint::default()
    }
}

pub(crate) fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2).map(|at| hex.get(at..at + 2));
    pairs
        .map(|pair| u8::from_str_radix(pair?, 16).ok())
        .collect()
}
