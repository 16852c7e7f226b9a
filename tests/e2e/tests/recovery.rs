//! Gateways and clusters that are gone for good: removed, replaced, and the registry founded
//! anew from what is left, or from a backup.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_e2e::Host;
use weft_test_support::{SOON, User, eventually, isolated};

const WRITE: &str = "apiVersion: weft.dev/v1
kind: RoleBinding
metadata: { name: NAME }
spec: { role: viewer, users: [viewer-of-NAME] }
";

/// Writes a record of that name.
fn write(user: &User, name: &str) -> Result<()> {
    let file = user.scratch().join("write.yaml");
    fs::write(&file, WRITE.replace("NAME", name))?;
    let path = file.to_str().context("a path in UTF-8")?;
    user.weft(["apply", "-f", path])?.ok()?;
    Ok(())
}

fn records(user: &User) -> Result<String> {
    user.weft(["get", "rolebinding", "-o", "name", "--consistent"])?
        .ok()
}

fn votes(user: &User, count: usize) -> Result<Vec<Value>> {
    let raft = user.weft(["raft", "members", "-o", "json"])?.json()?;
    let members = raft["members"].as_array().cloned().unwrap_or_default();
    let votes = members.iter().filter(|it| it["role"] != "learner").count();
    ensure!(votes == count, "{votes} vote: {raft}");
    Ok(members)
}

#[test]
fn what_is_lost_for_good_is_removed_replaced_and_founded_anew() -> Result<()> {
    let name = "what_is_lost_for_good_is_removed_replaced_and_founded_anew";
    isolated(name, || {
        let user = User::new()?;
        let mut one = Host::new(&user, 1, "eu", "gw-1")?;
        let mut two = Host::new(&user, 2, "us", "gw-1")?;
        let mut three = Host::new(&user, 3, "ap", "gw-1")?;
        one.found(&user)?;
        one.start(&user)?;
        for host in [&mut two, &mut three] {
            host.join(&user, &one)?;
            host.start(&user)?;
        }
        eventually("three vote", SOON, || votes(&user, 3))?;
        write(&user, "first")?;

        let mut four = Host::new(&user, 4, "us", "gw-2")?;
        a_dead_cluster_is_removed_without_its_help(&user, &mut three)?;
        a_gateway_is_replaced(&user, &one, &mut four)?;
        eventually("three vote again", SOON, || votes(&user, 3))?;
        let backup = a_backup_is_taken_and_looked_into(&user)?;
        write(&user, "second")?;
        a_lost_majority_is_recovered_from(&user, &mut one, &mut two, &mut four)?;
        the_backup_is_restored(&user, &mut one, &mut four, &backup)
    })
}

fn a_dead_cluster_is_removed_without_its_help(user: &User, dead: &mut Host) -> Result<()> {
    dead.stop("KILL")?;
    user.weft(["cluster", "remove", "ap"])?
        .exits(6)?
        .says("not confirmed")?;
    user.weft(["cluster", "remove", "ap", "--yes"])?.ok()?;
    eventually("the dead one no longer counts", SOON, || votes(user, 1))?;
    write(user, "without-ap")?;
    // It comes back, and is told.
    dead.start(user)?;
    user.weft([
        "cluster",
        "token",
        "create",
        "--cluster",
        "ap",
        "--region",
        "ap-r",
    ])?
    .exits(6)?;
    let clusters = user.weft(["cluster", "list", "-o", "name"])?.ok()?;
    ensure!(!clusters.contains("ap"), "{clusters}");
    dead.stop("TERM")
}

fn a_gateway_is_replaced(user: &User, founder: &Host, lost: &mut Host) -> Result<()> {
    lost.join(user, founder)?;
    lost.start(user)?;
    let before = eventually("three vote", SOON, || votes(user, 3))?;
    let highest = before.iter().filter_map(|it| it["node"].as_u64()).max();
    lost.stop("KILL")?;
    // Its registry is gone, and with it what it had voted for: it may not begin anew.
    fs::remove_dir_all(lost.state().join("registry"))?;
    lost.refuses_to_start(user, 1, "the log that this gateway began is gone")?;
    // All of its disk is gone: it is nobody until it joins again.
    fs::remove_dir_all(lost.state())?;
    lost.refuses_to_start(user, 6, "holds no membership")?;
    let name = lost.full_name();
    user.weft(["gateway", "remove", &name])?.exits(6)?;
    user.weft(["gateway", "remove", &name, "--yes"])?.ok()?;
    user.weft(["gateway", "remove", &name, "--yes"])?
        .exits(2)?
        .says("there is no gateway")?;
    lost.join(user, founder)?;
    lost.start(user)?;
    let after = eventually("it votes under a new id", SOON, || votes(user, 3))?;
    let newest = after.iter().filter_map(|it| it["node"].as_u64()).max();
    ensure!(newest > highest, "{newest:?} after {highest:?}");
    Ok(())
}

fn a_backup_is_taken_and_looked_into(user: &User) -> Result<String> {
    let path = user.scratch().join("federation.backup");
    let file = path.display().to_string();
    user.weft(["backup", "create", &file])?
        .exits(0)?
        .says("Private keys are not in it")?;
    user.weft(["backup", "create", &file])?
        .exits(2)?
        .says("cannot be written")?;
    let seen = user
        .weft(["backup", "inspect", &file, "-o", "json"])?
        .json()?;
    ensure!(
        seen["domain"] == "fed.example.org" && seen["clusters"] == 2 && seen["gateways"] == 3,
        "{seen}"
    );
    let mut bytes = fs::read(&path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let changed = user.scratch().join("changed.backup");
    fs::write(&changed, &bytes)?;
    let changed = changed.display().to_string();
    user.weft(["backup", "inspect", &changed])?
        .exits(1)?
        .says("WEFT-6039")?;
    Ok(file)
}

fn a_lost_majority_is_recovered_from(
    user: &User,
    left: &mut Host,
    lost: &mut Host,
    behind: &mut Host,
) -> Result<()> {
    // While it runs nobody looks into its folder.
    left.weft(user, &["raft", "inspect"])?
        .exits(1)?
        .says("WEFT-1019")?;
    // This one hears of no write from here on, and the other is gone for good.
    behind.stop("KILL")?;
    eventually("a write of the two that are left", SOON, || {
        write(user, "third")
    })?;
    lost.stop("KILL")?;
    fs::remove_dir_all(lost.state())?;
    // The first may be taken by a leader that has not noticed yet: unknown, then.
    let file = user.scratch().join("write.yaml");
    fs::write(&file, WRITE.replace("NAME", "perhaps"))?;
    let path = file.to_str().context("a path in UTF-8")?;
    eventually("writes are refused", SOON, || {
        user.weft(["apply", "-f", path])?
            .exits(7)?
            .says("WEFT-6001")
    })?;
    left.stop("TERM")?;

    let report = behind
        .weft(user, &["raft", "inspect", "-o", "json"])?
        .ok()?;
    let report_file = user.scratch().join("report.json");
    fs::write(&report_file, report)?;
    let own = left.weft(user, &["raft", "inspect", "-o", "json"])?.ok()?;
    let own_file = user.scratch().join("own.json");
    fs::write(&own_file, own)?;
    let (report, own) = (
        report_file.display().to_string(),
        own_file.display().to_string(),
    );
    // The one that holds less is no place to recover.
    behind
        .weft(user, &["raft", "recover", "--yes", "--report", &own])?
        .exits(6)?
        .says("WEFT-6038")?;
    left.weft(user, &["raft", "recover", "--report", &report])?
        .exits(6)?
        .says(&format!("no report of {}", lost.full_name()))?
        .says("not confirmed")?;
    left.weft(user, &["raft", "recover", "--report", &report, "--yes"])?
        .exits(0)?
        .says("votes alone")?;
    left.start(user)?;
    eventually("it writes alone", SOON, || write(user, "fourth"))?;
    let all = records(user).with_context(|| left.said())?;
    for name in ["first", "second", "third", "fourth"] {
        ensure!(all.contains(name), "{name} is lost: {all}");
    }
    // The one that was behind comes back, follows, and is there for others.
    behind.start(user)?;
    eventually("it follows", SOON, || {
        let seen = behind.status(user)?;
        let members = seen["raft"]["members"].as_array().cloned();
        ensure!(seen["raft"]["recovered"].as_u64() > Some(0), "{seen}");
        ensure!(members.map_or(0, |it| it.len()) == 3, "{seen}");
        Ok(())
    })?;
    user.weft(["gateway", "remove", &lost.full_name(), "--yes"])?
        .ok()?;
    eventually("the lost one no longer counts", SOON, || {
        ensure!(votes(user, 1)?.len() == 2);
        Ok(())
    })
}

fn the_backup_is_restored(
    user: &User,
    left: &mut Host,
    other: &mut Host,
    backup: &str,
) -> Result<()> {
    left.stop("TERM")?;
    other.stop("TERM")?;
    // A registry that is there is not written over.
    left.weft(user, &["backup", "restore", backup, "--yes"])?
        .exits(1)?;
    for host in [&*left, &*other] {
        fs::remove_dir_all(host.state().join("registry"))?;
    }
    left.weft(user, &["backup", "restore", backup])?
        .exits(6)?
        .says("what was committed after that is lost")?;
    left.weft(user, &["backup", "restore", backup, "--yes"])?
        .ok()?;
    left.start(user)?;
    eventually("it writes", SOON, || write(user, "fifth")).with_context(|| left.said())?;
    let all = records(user).with_context(|| left.said())?;
    ensure!(all.contains("first") && !all.contains("fourth"), "{all}");
    Ok(())
}
