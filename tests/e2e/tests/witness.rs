//! Two clusters and a witness: either of the two may be lost.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_e2e::Host;
use weft_test_support::{SOON, User, eventually, isolated};

const EXPORT: &str = "apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: web }
spec: { ports: [{ name: http, port: 80 }], exportTo: ['*'] }
";

/// The cluster that leads, once three vote.
fn leader(user: &User, asked: &str) -> Result<String> {
    let raft = user.weft(["--cluster", asked, "raft", "members", "-o", "json"])?;
    let raft = raft.json()?;
    let members = raft["members"].as_array().map_or(&[][..], Vec::as_slice);
    let is = |member: &&Value, role: &str| member["role"] == role;
    ensure!(
        members.iter().all(|it| !is(&it, "learner")) && members.len() == 3,
        "{raft}"
    );
    let leader = members.iter().find(|it| is(it, "leader"));
    let cluster = leader.context("no leader")?["cluster"].as_str();
    Ok(cluster.unwrap_or_default().to_owned())
}

#[test]
fn a_witness_keeps_two_clusters_writing_when_one_is_lost() -> Result<()> {
    let name = "a_witness_keeps_two_clusters_writing_when_one_is_lost";
    isolated(name, || {
        let user = User::new()?;
        let mut one = Host::new(&user, 1, "eu", "gw-1")?;
        let mut two = Host::new(&user, 2, "us", "gw-1")?;
        let mut witness = Host::new(&user, 3, "tie", "gw-1")?;
        one.found(&user)?;
        one.start(&user)?;
        two.join(&user, &one)?;
        two.start(&user)?;
        witness.join_as(&user, &one, "witness")?;
        witness.start(&user)?;
        eventually("three vote", SOON, || leader(&user, "eu"))?;
        for host in [&one, &two, &witness] {
            // So that the user knows each gateway before one of them is lost.
            user.weft(["--cluster", host.cluster(), "status"])?;
        }
        let clusters = user.weft(["cluster", "list"])?.ok()?;
        ensure!(clusters.contains("witness"), "{clusters}");

        let file = user.scratch().join("export.yaml");
        fs::write(&file, EXPORT)?;
        let export = file.to_str().context("a path in UTF-8")?;
        user.weft(["--cluster", "tie", "apply", "-f", export])?
            .exits(2)?
            .says("offers no services")?;
        // Told to lead, it hands over.
        user.weft(["raft", "transfer", "tie/gw-1"])?;
        eventually("another one leads", SOON, || {
            let leader = leader(&user, "us")?;
            ensure!(leader != "tie", "{leader} leads");
            Ok(())
        })?;

        one.stop("KILL")?;
        eventually("the other one writes", SOON, || {
            user.weft(["--cluster", "us", "apply", "-f", export])?.ok()
        })?;
        ensure!(leader(&user, "us")? == "us");
        Ok(())
    })
}
