//! One member cluster is hostile, and holds all that it owns: the attempts of the threat model,
//! by every door, on one real federation. After each, what the others hold is as it was and
//! every process lives.
//!
//! `docs/reliability.md` has the table of what is tried where.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod matrix;
mod t01_owner;
mod t02_roles;
mod t03_mint;
mod t04_replay;
mod t05_address;
mod t06_attract;
mod t07_deputy;
mod t08_assert;
mod t09_flood;
mod t09_words;
mod t10_poison;
mod t11_release;
mod t13_return;

use anyhow::{Context, Result};
use tokio::runtime::Builder;
use weft_mallory::{Node, Victims, founder, join};
use weft_test_support::{Cases, Dev, command, isolated, run};

/// All that an attempt may use, and what is looked at after it.
struct Stage<'a> {
    dev: &'a Dev,
    mallory: Node,
    victims: Victims,
    /// The token that she joined by, and one that an administrator meant for a second gateway.
    tokens: [String; 2],
    diary: t08_assert::Diary,
}

#[test]
fn a_hostile_member_is_contained() -> Result<()> {
    isolated("a_hostile_member_is_contained", || {
        Dev::with(&["--wan", "off"], |dev| {
            let runtime = Builder::new_multi_thread()
                .worker_threads(2)
                .on_thread_start(weft_mallory::step_back)
                .enable_all()
                .build()?;
            let (mallory, tokens) = join(dev, runtime.handle())?;
            let founder = founder(dev)?;
            let victims = Victims::meet(dev, &founder, mallory.bundles(), runtime.handle())?;
            t04_replay::prepare(dev)?;
            t07_deputy::prepare(dev)?;
            let diary = t08_assert::prepare(dev)?;
            t11_release::prepare(dev)?;
            let stage = Stage {
                dev,
                mallory,
                victims,
                tokens,
                diary,
            };
            let mut cases = Cases::default();
            for (name, attempt) in ATTEMPTS {
                cases.run(name, || stage.contain(*attempt));
            }
            // It removes her, and so changes what is looked at.
            cases.run("T13 the way back after removal", || {
                t13_return::removed(&stage)?;
                stage.victims.all_live(stage.dev)
            });
            cases.verdict()
        })
    })
}

type Attempt = fn(&Stage<'_>) -> Result<()>;

const ATTEMPTS: &[(&str, Attempt)] = &[
    (
        "T1 another cluster's records, by the log",
        t01_owner::records,
    ),
    (
        "T1 another author's name under her signature",
        t01_owner::authors,
    ),
    (
        "T1 another cluster's endpoints, by the catalog",
        t01_owner::endpoints,
    ),
    (
        "T2 leadership moved by a member without a vote",
        t02_roles::transfer,
    ),
    (
        "T2 a leader's words from a member without a vote",
        t02_roles::leader,
    ),
    (
        "T2 a candidate's words from a member without a vote",
        t02_roles::candidate,
    ),
    ("T2 every method by every certificate", matrix::every_method),
    ("T3 others' identities, at the tunnels", t03_mint::tunnels),
    ("T3 others' identities, at the API", t03_mint::api),
    ("T4 what others signed before, again", t04_replay::entries),
    (
        "T5 endpoints at addresses that are not hers",
        t05_address::endpoints,
    ),
    ("T5 a gateway at the nearest machine", t05_address::gateways),
    (
        "T6 weights and counts without measure",
        t06_attract::weights,
    ),
    (
        "T7 relays to what is not exported to her",
        t07_deputy::relays,
    ),
    ("T7 the port of others' sidecars", t07_deputy::preambles),
    ("T7 tales of what is not exported to her", t07_deputy::tales),
    (
        "T8 callers of others, in what she reports",
        t08_assert::edges,
    ),
    (
        "T8 whom an app would trust, in her requests",
        t08_assert::headers,
    ),
    ("T9 entries beyond her share", t09_flood::entries),
    (
        "T9 streams, endpoints and calls without pause",
        t09_words::without_pause,
    ),
    (
        "T10 what does not read, by every door",
        t10_poison::unreadable,
    ),
    (
        "T10 what reads and is out of bounds",
        t10_poison::beyond_bounds,
    ),
    ("T11 another's release, by the log", t11_release::commands),
    ("T11 another's region, by clamps", t11_release::clamps),
    ("T13 a token that was spent", t13_return::spent),
];

impl Stage<'_> {
    /// Makes an attempt; then nothing of the others' has changed, and all that ran runs.
    fn contain(&self, attempt: Attempt) -> Result<()> {
        let before = self.victims.settled()?;
        attempt(self)?;
        before.compare(&self.victims.settled()?)?;
        self.victims.all_live(self.dev)
    }
}

/// A number of the metrics of a cluster's first gateway.
fn metric(stage: &Stage<'_>, cluster: &str, name: &str) -> Result<u64> {
    let console = stage.dev.gateway(cluster, "gw-1")?.console;
    let url = format!("http://{console}/metrics");
    let text = run(&mut command(["curl", "-sS", "--max-time", "5", &url]))?.ok()?;
    let prefix = format!("{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    Ok(line.context("no such metric")?.trim().parse()?)
}
