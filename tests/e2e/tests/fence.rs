//! A gateway whose state is not the others': found, kept apart over restarts, and repaired.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_e2e::Host;
use weft_test_support::{SOON, User, eventually, isolated};

const BINDING: &str = "apiVersion: weft.dev/v1
kind: RoleBinding
metadata: { name: readers }
spec: { role: viewer, users: [USER] }
";

fn write(user: &User, cluster: &str, reader: &str) -> Result<weft_test_support::Ran> {
    let file = user.scratch().join("binding.yaml");
    fs::write(&file, BINDING.replace("USER", reader))?;
    let path = file.to_str().context("a path in UTF-8")?;
    user.weft(["--cluster", cluster, "apply", "-f", path])
}

fn readers(user: &User, cluster: &str) -> Result<String> {
    let get = [
        "--cluster",
        cluster,
        "get",
        "rolebinding",
        "readers",
        "-o",
        "yaml",
    ];
    user.weft(get)?.ok()
}

fn three_vote(user: &User) -> Result<()> {
    let raft = user.weft(["raft", "members", "-o", "json"])?.json()?;
    let members = raft["members"].as_array().map_or(&[][..], Vec::as_slice);
    let votes = members.iter().filter(|it| it["role"] != "learner").count();
    ensure!(votes == 3, "{raft}");
    Ok(())
}

/// What a gateway says of states that differ; nothing if none does.
fn differs(host: &Host, user: &User) -> Result<Option<String>> {
    let status = host.status(user)?;
    let problems = status["problems"].as_array().map_or(&[][..], Vec::as_slice);
    let found = problems.iter().find(|it| it["code"] == "WEFT-6035");
    let what = found.and_then(|it| it["what"].as_str());
    Ok(what.map(str::to_owned))
}

fn says(host: &Host, user: &User, words: &str) -> Result<()> {
    let said = differs(host, user)?;
    let expected = said.as_deref().is_some_and(|it| it.contains(words));
    ensure!(expected, "{} says {said:?}", host.full_name());
    Ok(())
}

#[test]
fn a_gateway_with_another_state_keeps_apart_over_restarts_until_it_is_repaired() -> Result<()> {
    let name = "a_gateway_with_another_state_keeps_apart_over_restarts_until_it_is_repaired";
    isolated(name, || {
        let user = User::new()?;
        let mut one = Host::new(&user, 1, "eu", "gw-1")?;
        let mut two = Host::new(&user, 2, "us", "gw-1")?;
        let mut sick = Host::new(&user, 3, "ap", "gw-1")?;
        one.found(&user)?;
        one.start(&user)?;
        // In the snapshot that those who join are sent.
        eventually("a write", SOON, || write(&user, "eu", "bob")?.ok())?;
        for host in [&mut two, &mut sick] {
            host.join(&user, &one)?;
            host.start(&user)?;
        }
        eventually("three vote", SOON, || three_vote(&user))?;
        eventually("all know", SOON, || readers(&user, "ap"))?;

        // One bit, behind the checksum: bob becomes boc.
        sick.stop("TERM")?;
        weft_registry::disk::flip(&sick.state().join("registry"), &[b"readers", b"bob"])?;
        sick.start(&user)?;
        eventually("it is fenced", SOON, || says(&sick, &user, "it is fenced"))?;
        eventually("the others know", SOON, || {
            says(&one, &user, "ap/gw-1")?;
            says(&two, &user, "ap/gw-1")
        })?;
        ensure!(
            readers(&user, "ap")?.contains("boc"),
            "another bit was flipped"
        );
        write(&user, "ap", "ana")?.exits(1)?.says("WEFT-6035")?;
        write(&user, "eu", "ana")?.ok()?;

        // Started again, with nobody there to compare with.
        for host in [&mut one, &mut two, &mut sick] {
            host.stop("KILL")?;
        }
        let seen = sick
            .weft(&user, &["raft", "inspect", "-o", "json"])?
            .json()?;
        ensure!(seen["fenced"].as_u64() > Some(0), "{seen}");
        sick.start(&user)?;
        eventually("it is fenced still", SOON, || {
            says(&sick, &user, "it is fenced")
        })?;
        for host in [&mut one, &mut two] {
            host.start(&user)?;
        }
        eventually("the others write without it", SOON, || {
            write(&user, "eu", "eve")?.ok()
        })?;
        ensure!(!readers(&user, "ap")?.contains("eve"), "it follows");

        let repair = ["--cluster", "ap", "raft", "repair"];
        user.weft(repair)?.exits(0)?.says("takes part again")?;
        user.weft(repair)?.exits(0)?.says("nothing to repair")?;
        ensure!(readers(&user, "ap")?.contains("eve"));
        eventually("all agree", SOON, || {
            for host in [&one, &two, &sick] {
                let said = differs(host, &user)?;
                ensure!(said.is_none(), "{said:?}");
            }
            Ok(())
        })?;
        eventually("it takes writes", SOON, || write(&user, "ap", "mia")?.ok())?;
        let status: Value = sick.status(&user)?;
        ensure!(
            status["raft"]["members"].as_array().map(Vec::len) == Some(3),
            "{status}"
        );
        Ok(())
    })
}
