//! T13: a token used again, and the way back after she was removed. The last: it removes her.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use rand::random;
use weft_identity::{JoinToken, bundle_hash};
use weft_mallory::raw::{Hello, Welcome, greet};
use weft_mallory::{CLUSTER, GATEWAYS, configure, door};
use weft_model::{Author, Command, Generation, Redemption, RequestId, TokenId};
use weft_proto::identity::JoinRequest;
use weft_proto::identity::enrolment_client::EnrolmentClient;
use weft_registry::{Draft, Proposal};
use weft_test_support::{SOON, eventually, run};

use crate::Stage;

/// A redemption by this token, as it would go on the wire.
fn redemption(stage: &Stage<'_>, secret: &JoinToken, name: &str) -> Result<Bytes> {
    let mallory = &stage.mallory;
    let state = mallory.state();
    let member = state.cluster(&CLUSTER.parse()?).context("her cluster")?;
    let mut gateway = state
        .node(mallory.id())
        .context("her node")?
        .gateway
        .clone();
    gateway.name = name.parse()?;
    let token = secret.id();
    let draft = Draft {
        request: RequestId(random()),
        author: Author::Token(token),
        by_order_of: None,
        generation: Generation(1),
        command: Command::RedeemToken(Box::new(Redemption {
            token,
            bundle: member.bundle.clone(),
            spec: member.spec.clone(),
            gateway,
        })),
    };
    Ok(Proposal::sign(&secret.key(), &draft).encode())
}

fn join(stage: &Stage<'_>, cluster: &str, entry: Bytes) -> Result<tonic::Status> {
    let address = stage.dev.gateway(cluster, "gw-1")?.api.parse()?;
    let state = stage.mallory.state();
    let member = state.cluster(&cluster.parse()?).context("a member")?;
    let roots: Vec<_> = member.bundle.iter().map(|der| der.clone().into()).collect();
    let channel = stage
        .mallory
        .wait(door::knock_bare(address, bundle_hash(&roots)))?;
    let csr = Bytes::new();
    let mut client = EnrolmentClient::new(channel);
    let asked = door::ask(JoinRequest { entry, csr });
    let joined = stage.mallory.wait(client.join(asked));
    joined.err().context("she is let in")
}

/// Her own token, spent when she joined, by every door that takes one.
pub(crate) fn spent(stage: &Stage<'_>) -> Result<()> {
    let secret: JoinToken = stage.tokens[0].parse()?;
    for (cluster, _) in GATEWAYS {
        let status = join(stage, cluster, redemption(stage, &secret, "gw-2")?)?;
        let code = status.metadata().get("weft-code").context("a code")?;
        ensure!(code == "WEFT-2003", "{cluster}: {status}");
    }
    // A token that nobody granted does not so much as enter the log.
    let seed = "weft-nobody-granted-this";
    ensure!(seed.parse::<JoinToken>().is_err(), "a token of no form");
    let strange = stage.mallory.loot.sign(
        Author::Token(TokenId(random())),
        1,
        Command::RevokeToken(TokenId(random())),
    );
    let status = join(stage, "eu-west-1", strange.encode())?;
    ensure!(status.code() == tonic::Code::InvalidArgument, "{status}");
    Ok(())
}

/// After an administrator has removed her: nothing that she holds opens anything.
pub(crate) fn removed(stage: &Stage<'_>) -> Result<()> {
    let mallory = &stage.mallory;
    let own = mallory.id();
    let nodes = GATEWAYS.iter().map(|(c, g)| mallory.node_of(c, g));
    let nodes = nodes.collect::<Result<Vec<_>>>()?;
    // What an administrator had granted her for a second gateway goes with her.
    let further: JoinToken = stage.tokens[1].parse()?;
    let further = redemption(stage, &further, "gw-2")?;
    let remove = ["cluster", "remove", CLUSTER, "--yes"];
    stage.dev.weft(remove)?.ok()?;
    for (cluster, gateway) in GATEWAYS {
        let to = stage.dev.gateway(cluster, gateway)?.tunnel.parse()?;
        eventually("her tunnels end", SOON, || {
            let hello = Hello {
                version: 1,
                node: own.0,
                gateway: "gw-1".into(),
                incarnation: random(),
                purpose: 2,
                worker: 0,
            };
            let svid = mallory.loot.svid();
            match mallory.wait(greet(to, &svid, mallory.bundles(), &hello))? {
                Welcome::Out(_) => Ok(()),
                Welcome::In(_) => bail!("{cluster} takes her in"),
            }
        })?;
        let address = stage.dev.gateway(cluster, gateway)?.api.parse()?;
        let svid = mallory.loot.svid();
        let knocked = mallory.wait(door::knock(address, &svid, mallory.bundles()));
        ensure!(knocked.is_err(), "{cluster}: her certificate is let in");
        let status = join(stage, cluster, further.clone())?;
        ensure!(status.code() != tonic::Code::Ok, "{status}");
    }
    for node in nodes {
        eventually("and those that were up are cut", SOON, || {
            ensure!(mallory.tunnels.control(node).is_none(), "one is up");
            Ok(())
        })?;
    }
    // Nor by an honest mistake: her name is not given again.
    let again = [
        "cluster",
        "token",
        "create",
        "--cluster",
        CLUSTER,
        "--region",
        "sa-east",
    ];
    let refused = stage.dev.weft(again)?;
    refused.exits(6)?.says("removed member")?;
    let config = configure(stage.dev, "mallory-2", "gw-1")?;
    let mut join = stage
        .dev
        .command(["cluster", "join", "127.1.0.1:7444", "--config"]);
    join.arg(&config).env("WEFT_JOIN_TOKEN", &stage.tokens[0]);
    ensure!(
        !run(&mut join)?.status.success(),
        "her old token lets another in"
    );
    Ok(())
}
