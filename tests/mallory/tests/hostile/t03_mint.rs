//! T3: identities of others, signed with her CA key or shown with her own certificate.

use anyhow::{Context, Result, bail, ensure};
use rand::random;
use weft_identity::SvidSource;
use weft_mallory::raw::{Hello, Welcome, greet};
use weft_mallory::{GATEWAYS, door};
use weft_proto::api::StatusRequest;
use weft_proto::api::admin_client::AdminClient;

use crate::Stage;

/// What she would like to be.
const OTHERS: [&str; 5] = [
    "spiffe://us-east-1.dev.weft.internal/gateway/gw-1",
    "spiffe://us-east-1.dev.weft.internal/ns/shop/sa/checkout",
    "spiffe://us-east-1.dev.weft.internal/gateway/gw-1/for/ns/shop/sa/checkout",
    "spiffe://dev.weft.internal/user/eyes",
    "spiffe://nobody.dev.weft.internal/gateway/gw-1",
];

/// What her CA may well make, and what is good for nothing elsewhere.
const OWN: [&str; 4] = [
    "spiffe://mallory-1.dev.weft.internal/gateway/gw-9",
    "spiffe://mallory-1.dev.weft.internal/ns/evil/sa/own",
    "spiffe://mallory-1.dev.weft.internal/gateway/gw-1/for/ns/shop/sa/checkout",
    "spiffe://mallory-1.dev.weft.internal/user/eyes",
];

/// At the tunnels: a handshake or a hello ends it.
pub(crate) fn tunnels(stage: &Stage<'_>) -> Result<()> {
    let mallory = &stage.mallory;
    let victim = mallory.node_of("us-east-1", "gw-1")?;
    for (cluster, gateway) in GATEWAYS {
        let to = stage.dev.gateway(cluster, gateway)?.tunnel.parse()?;
        let own = mallory.id();
        let attempt = |svid: &SvidSource, node: u64, what: &str| {
            let hello = Hello {
                version: 1,
                node,
                gateway: "gw-1".into(),
                incarnation: random(),
                purpose: 2,
                worker: 0,
            };
            match mallory.wait(greet(to, svid, mallory.bundles(), &hello))? {
                Welcome::Out(_) => Ok(()),
                Welcome::In(_) => bail!("{what} is welcome as node {node} at {cluster}"),
            }
        };
        for id in OTHERS {
            let forged = mallory.loot.forge(id)?;
            for node in [victim.0, own.0] {
                attempt(&forged, node, id)?;
            }
        }
        for id in OWN {
            let issued = mallory.loot.issue(id)?;
            for node in [victim.0, own.0] {
                attempt(&issued, node, id)?;
            }
        }
        attempt(&mallory.loot.svid(), victim.0, "she herself")?;
        // The control: as herself she is.
        let hello = Hello {
            version: 1,
            node: own.0,
            gateway: "gw-1".into(),
            incarnation: 7,
            purpose: 2,
            worker: 0,
        };
        let svid = mallory.loot.svid();
        let welcome = mallory.wait(greet(to, &svid, mallory.bundles(), &hello))?;
        ensure!(matches!(welcome, Welcome::In(_)), "{welcome:?}");
    }
    Ok(())
}

/// At the API: the handshake ends for what she forged, the call for what is hers.
pub(crate) fn api(stage: &Stage<'_>) -> Result<()> {
    let mallory = &stage.mallory;
    for (cluster, gateway) in GATEWAYS {
        let address = stage.dev.gateway(cluster, gateway)?.api.parse()?;
        for id in OTHERS {
            let forged = mallory.loot.forge(id)?;
            let knocked = mallory.wait(door::knock(address, &forged, mallory.bundles()));
            let refused = knocked.err().with_context(|| format!("{id} is let in"))?;
            ensure!(
                matches!(refused, weft_proxy::rpc::DialError::Handshake { .. }),
                "{id}: {refused}"
            );
        }
        for id in OWN {
            let issued = mallory.loot.issue(id)?;
            let channel = mallory.wait(door::knock(address, &issued, mallory.bundles()))?;
            let asked = door::ask(StatusRequest { consistent: false });
            let answer = mallory.wait(AdminClient::new(channel).status(asked));
            let status = answer
                .err()
                .with_context(|| format!("{id} sees the status"))?;
            ensure!(door::is_denied(&status), "{id}: {status}");
        }
    }
    Ok(())
}
