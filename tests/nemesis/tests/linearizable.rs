//! Five real gateways while everything fails: whatever their clients were told, one copy of the
//! registry could have told them.
//!
//! Every fault once here; `cargo xtask nemesis` goes on for an hour (`WEFT_NEMESIS_MINUTES`), on
//! another seed each time (`WEFT_NEMESIS_SEED`).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Builder;
use weft_nemesis::{Clients, Nemesis, Pace, Plan, Seen, World, check};
use weft_test_support::isolated;

/// Less than this shows nothing.
const OPERATIONS_MIN: usize = 1_000;

#[test]
fn the_registry_is_one_copy_while_everything_fails() -> Result<()> {
    let name = "the_registry_is_one_copy_while_everything_fails";
    isolated(name, || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let mut world = World::start(runtime)?;
        let outcome = run(&mut world);
        if outcome.is_err() {
            say(&world.last_words());
        }
        outcome
    })
}

fn run(world: &mut World) -> Result<()> {
    let seed: u64 = number("WEFT_NEMESIS_SEED")?.unwrap_or(1);
    let minutes = number("WEFT_NEMESIS_MINUTES")?;
    say(&format!("seed {seed}"));
    let clients = Clients::start(world, seed)?;
    let mut nemesis = Nemesis::new(world, &clients);
    let (pace, length) = match minutes {
        None => (Pace::Brief, Duration::ZERO),
        Some(minutes) => (Pace::Long, Duration::from_secs(minutes * 60)),
    };
    let mut plan = Plan::new(seed, pace);
    let begun = Instant::now();
    loop {
        let step = plan.next().context("plans do not end")?;
        nemesis.strike(&step).with_context(|| format!("{step:?}"))?;
        if plan.is_even() && begun.elapsed() >= length {
            break;
        }
    }
    let (report, promises) = (nemesis.to_string(), nemesis.judge());
    for site in 0..world.gateways()?.len() {
        world.await_service(site, site as u64 + 1)?;
    }
    let seen = clients.end(world)?;
    judge(&seen, &report)?;
    promises
}

fn judge(seen: &Seen, report: &str) -> Result<()> {
    let Seen {
        history,
        timeline,
        backwards,
        local_reads,
        refused,
    } = seen;
    say(report);
    say(&format!(
        "{} operations, {} of them unknown; {} writes done, {refused} refused; {local_reads} local reads",
        history.len(),
        history.unknown(),
        timeline.len(),
    ));
    let began = Instant::now();
    let checked = check(history)?;
    say(&format!(
        "linearizable: {checked:?} in {:?}",
        began.elapsed()
    ));
    ensure!(backwards.is_empty(), "{backwards:#?}");
    ensure!(
        history.len() >= OPERATIONS_MIN,
        "{} are too few",
        history.len()
    );
    Ok(())
}

fn number(variable: &str) -> Result<Option<u64>> {
    match std::env::var(variable) {
        Err(_) => Ok(None),
        Ok(text) => Ok(Some(text.parse().with_context(|| variable.to_owned())?)),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the test program captures and shows it"
)]
fn say(text: &str) {
    println!("{text}");
}
