//! The pages that say what to type do not lie: each block is run, and what it prints is
//! compared with what the page shows.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use weft_test_support::{
    Dev, Page, PostgreSql, Task, User, Walk, command, isolated, pages, use_resolver,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

const README: &str = "README.md";
const FIRST_TEN_MINUTES: &str = "docs/tutorials/first-ten-minutes.md";
const POSTGRESQL: &str = "docs/how-to/postgresql.md";
const FORWARD_DNS: &str = "docs/how-to/forward-dns.md";
const TWO_HOSTS: &str = "docs/how-to/two-hosts.md";
const OBSERVE: &str = "docs/how-to/observe.md";
/// Tells what to configure and nothing to type; the tests in `networks` run it.
const NETWORKS: &str = "docs/how-to/networks.md";
/// Begins with hosts that are gone; the test in `recovery` makes them, and runs all of it.
const RECOVER: &str = "docs/how-to/recover.md";
/// Takes a third host, and one that goes away: the test in `follower` runs one.
const FOLLOWERS: &str = "docs/how-to/followers.md";
/// Needs users, tables of the kernel and routes of its own: `capture` and `virtual_ips` make them.
const CAPTURE: &str = "docs/how-to/capture.md";

/// What no test runs, and why.
const NOT_RUN: &[(&str, &str)] = &[
    (
        README,
        "the tests run in the second line and start the program that they were built with",
    ),
    (
        README,
        "docs/how-to/two-hosts.md runs these with all that belongs to them",
    ),
    (FIRST_TEN_MINUTES, "the test has built the program already"),
    (TWO_HOSTS, "there is no third host"),
    (RECOVER, RECOVERED),
    (RECOVER, RECOVERED),
    (RECOVER, RECOVERED),
    (RECOVER, RECOVERED),
    (FOLLOWERS, FOLLOWED),
    (FOLLOWERS, FOLLOWED),
];

const RECOVERED: &str = "tests/e2e/tests/recovery.rs runs it, with gateways that are gone";
const FOLLOWED: &str = "tests/e2e/tests/follower.rs runs one";

fn page(path: &str) -> Result<Page> {
    Page::read(Path::new(ROOT), Path::new(path))
}

#[test]
fn the_readme_holds() -> Result<()> {
    isolated("the_readme_holds", || {
        Walk::new(&User::new()?)?.along(&page(README)?)
    })
}

#[test]
fn the_first_ten_minutes_hold() -> Result<()> {
    isolated("the_first_ten_minutes_hold", || {
        Walk::new(&User::new()?)?.along(&page(FIRST_TEN_MINUTES)?)
    })
}

#[test]
fn registering_postgresql_holds() -> Result<()> {
    isolated("registering_postgresql_holds", || {
        Dev::with(&[], |dev| {
            let _server = PostgreSql::start("127.2.9.1")?;
            Walk::new(dev.user())?.along(&page(POSTGRESQL)?)
        })
    })
}

#[test]
fn seeing_what_goes_on_holds() -> Result<()> {
    isolated("seeing_what_goes_on_holds", || {
        Dev::with(&[], |dev| Walk::new(dev.user())?.along(&page(OBSERVE)?))
    })
}

/// The stanzas for other resolvers are run by the DNS listener's own tests.
#[test]
fn forwarding_dns_holds() -> Result<()> {
    isolated("forwarding_dns_holds", || {
        Dev::with(&["--dns-port", "53"], |dev| {
            use_resolver("127.1.0.1")?;
            Walk::new(dev.user())?.along(&page(FORWARD_DNS)?)
        })
    })
}

/// Each host is a network and a `/var/lib` of its own, with a cable between them.
const HOST: &str = "mount -t tmpfs tmpfs /var/lib && exec bash";

#[test]
fn joining_two_hosts_holds() -> Result<()> {
    isolated("joining_two_hosts_holds", || {
        let page = page(TWO_HOSTS)?;
        let user = User::new()?;
        let mut walk = Walk::new(&user)?;
        walk.prepare("", "ip link add host-a type veth peer name host-b")?;
        for (host, address) in [("host-a", "192.0.2.10"), ("host-b", "192.0.2.20")] {
            walk.host(
                host,
                command(["unshare", "--net", "--mount", "sh", "-c", HOST]),
            )?;
            // Typed there, so that it is in its own network before the cable comes.
            walk.prepare(host, "ip link set lo up")?;
            let pid = walk.pid(host)?;
            walk.prepare("", &format!("ip link set {host} netns {pid}"))?;
            walk.prepare(
                host,
                &format!("ip address add {address}/24 dev {host} && ip link set {host} up"),
            )?;
        }
        let first = text_of(&page, "host-a:gateway.yaml").context("the first gateway.yaml")?;
        let second = first
            .replace("eu-west", "us-east")
            .replace("192.0.2.10", "192.0.2.20")
            .replace("240.1.", "240.2.");
        fs::write(walk.folder("host-b").join("gateway.yaml"), second)?;
        // "Take the file to the second host."
        let token = walk.folder("host-a").join("token");
        symlink(token, walk.folder("host-b").join("token"))?;
        walk.along(&page)
    })
}

fn text_of<'a>(page: &'a Page, file: &str) -> Option<&'a str> {
    page.blocks.iter().find_map(|block| match &block.task {
        Task::File(name, text) if name == file => Some(text.as_str()),
        _ => None,
    })
}

/// A page that tells to type something and has no test above would be believed.
#[test]
fn every_page_is_walked() -> Result<()> {
    let walked = BTreeSet::from([
        README,
        FIRST_TEN_MINUTES,
        POSTGRESQL,
        FORWARD_DNS,
        TWO_HOSTS,
        OBSERVE,
        NETWORKS,
        CAPTURE,
        RECOVER,
        FOLLOWERS,
    ]);
    for folder in ["docs/tutorials", "docs/how-to"] {
        for path in pages(Path::new(ROOT), folder)? {
            let name = path.display().to_string();
            ensure!(walked.contains(name.as_str()), "no test walks {name}");
        }
    }
    Ok(())
}

/// A reason not to run a block is a claim too: it is made here as well as on the page.
#[test]
fn what_is_not_run_is_known() -> Result<()> {
    let mut found = Vec::new();
    for path in [
        README,
        FIRST_TEN_MINUTES,
        POSTGRESQL,
        FORWARD_DNS,
        TWO_HOSTS,
        OBSERVE,
        NETWORKS,
        RECOVER,
        FOLLOWERS,
    ] {
        for block in page(path)?.blocks {
            if let Task::Skip(why) = block.task {
                found.push((path, why));
            }
        }
    }
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(path, why)| (*path, why.as_str()))
        .collect();
    assert_eq!(found, NOT_RUN);
    Ok(())
}
