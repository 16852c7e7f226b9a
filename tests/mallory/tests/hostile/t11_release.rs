//! T11: another's release: promoted, ended, or held back where she has no say.

use anyhow::{Context, Result, bail, ensure};
use rand::random;
use serde_json::json;
use weft_mallory::{CLUSTER, GATEWAYS};
use weft_model::{Advance, Command, ReleaseEnd, ServiceKey};
use weft_proto::catalog as wire;
use weft_proto::catalog::peer_frame::Frame;
use weft_registry::ProposeError;
use weft_test_support::{Dev, SOON, eventually};

use crate::Stage;
use crate::t01_owner::hello;

/// The release that `weft dev` brings, started.
pub(crate) fn prepare(dev: &Dev) -> Result<()> {
    let file = dev.folder().join("samples/checkout-v2.yaml");
    let file = file.to_str().context("a path in UTF-8")?;
    dev.weft(["release", "start", "-f", file])?.ok()?;
    Ok(())
}

/// By the log: releases are operators'.
pub(crate) fn commands(stage: &Stage<'_>) -> Result<()> {
    let (mallory, loot) = (&stage.mallory, &stage.mallory.loot);
    let key: ServiceKey = "shop/checkout-v2".parse()?;
    let state = mallory.state();
    let release = state.release(&key).context("the release")?;
    let spec = release.spec.clone();
    let advance = Advance {
        run: release.created,
        from: weft_model::Stage(1),
        to: weft_model::Stage(2),
    };
    let tried = [
        Command::PutRelease("shop/mine".parse()?, Box::new(spec.clone())),
        Command::PutRelease(key.clone(), Box::new(spec)),
        Command::AdvanceRelease(key.clone(), advance),
        Command::PauseRelease(key.clone()),
        Command::ResumeRelease(key.clone(), Vec::new()),
        Command::EndRelease(key.clone(), ReleaseEnd::Abort),
        Command::DeleteRelease(key),
    ];
    for command in tried {
        let what = format!("{command:?}");
        match mallory.propose(loot.sign(loot.author(), 1 << 46, command)) {
            Err(ProposeError::Refused(_)) => {}
            other => bail!("{what}: {other:?}"),
        }
    }
    Ok(())
}

/// By clamps: a gateway lowers its own region and no other.
pub(crate) fn clamps(stage: &Stage<'_>) -> Result<()> {
    let mallory = &stage.mallory;
    let state = mallory.state();
    let release = state
        .release(&"shop/checkout-v2".parse()?)
        .context("the release")?;
    let clamp = |region: &str, cluster: &str| wire::Clamp {
        id: random::<[u8; 16]>().to_vec().into(),
        release: Some(wire::ServiceKey {
            namespace: "shop".into(),
            name: "checkout-v2".into(),
        }),
        run: release.created.0,
        region: region.into(),
        cluster: cluster.into(),
        gateway: "gw-1".into(),
        weight: 0,
        made_ms: state.time().0,
        by: "mallory".into(),
    };
    for (cluster, gateway) in GATEWAYS {
        let at = format!("{cluster}/{gateway}");
        let mut stream = mallory.open_catalog(mallory.node_of(cluster, gateway)?)?;
        mallory.tell(&mut stream, Frame::Hello(hello(CLUSTER)))?;
        let said = [
            ("eu-west", "mallory-1"),
            ("eu-west", "eu-west-1"),
            ("us-east", "mallory-1"),
            ("sa-east", "us-east-1"),
        ];
        let mut clamps: Vec<wire::Clamp> = said.map(|(region, of)| clamp(region, of)).into();
        // The control: her own region she may lower.
        clamps.push(clamp("sa-east", CLUSTER));
        mallory.tell(&mut stream, Frame::Clamps(wire::ClampList { clamps }))?;
        eventually("her own clamp counts, and no other", SOON, || {
            let asked = json!({ "namespace": "shop", "name": "checkout-v2" });
            let shown = stage.victims.question(&at, "release", &asked)?;
            let clamps = shown["clamps"].as_array().cloned().unwrap_or_default();
            ensure!(!clamps.is_empty(), "none yet: {shown}");
            for clamp in clamps {
                ensure!(clamp["region"] == "sa-east", "{clamp}");
                ensure!(clamp["cluster"] == CLUSTER, "{clamp}");
            }
            Ok(())
        })?;
    }
    Ok(())
}
