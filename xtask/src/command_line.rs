//! The arguments of `cargo xtask`.

use std::ops::Range;

use crate::{deny::Install, failure::Failure, skew::Skew, suite::Scope};

pub(crate) const USAGE: &str = "\
usage: cargo xtask TASK

  test [--quick]    everything that must hold before a change lands:
                    packages, tidy, format, clippy, documentation, planted faults,
                    tests.
                    --quick leaves out those faults, the end-to-end tests and
                    what they need
  lint              format and clippy alone
  doc               build the documentation; a warning is an error
  tidy              what no compiler checks: names, links, fences, sizes, sources
  bugs              faults planted one at a time: each must make a test fail
  sim [--seeds A..B]
                    the seeded simulations of the registry, of liveness and of whole
                    gateways, on all processors: seeds 1 to 10,000 of each, or those
                    from A up to B
  mutants           ten million mutated records, as many snapshots, and as many of what each
                    crate's decoders read of peers, users and disks: none may panic, and
                    no decoder hold more than 256 KiB and 512 bytes for each byte
  sweep             the registry's file damaged at every byte of its end
  durability [--cycles N]
                    three gateways killed, one or all at once, 500 times, or N, while
                    clients write: nothing acknowledged is lost
  soak [--minutes N]
                    an hour, or N minutes, of mixed load and churn on a federation
                    of this machine: memory and descriptors stay flat, and a table
  watches [--events N]
                    a million log entries, or N, under restarts, cuts and leader
                    changes: each is watched once and in order; and what a thousand
                    watchers that stall cost
  nemesis [--minutes N] [--seed N]
                    an hour, or N minutes, of kills, pauses, cuts, loss, delay, clock
                    steps and membership changes on five gateways: what clients were
                    told is linearizable, and a table
  failover [--kills N]
                    fifty leaders killed, or N, at 5 ms and at 80 ms between gateways:
                    how long nobody could write, held against what is promised
  quorumless [--minutes N]
                    ten minutes, or N, of load on a federation that has lost its
                    majority: no request fails
  skew [--previous COMMIT] [--minutes N]
                    an earlier build and this one in one federation for ten minutes,
                    or N, each gateway replaced under load: nobody is failed
  bench registry    the registry beside Debian's etcd, three nodes each, in one run:
                    writes a second, latencies, processor time, as ratios
  mallory [--seconds N]
                    every attempt of a hostile member, and half a minute, or N
                    seconds, of ten times its share: nobody else is slowed beyond twice
  deny [--install]  licences, banned crates and sources (needs cargo-deny;
                    --install builds it first)

sim, mutants, sweep, durability, soak, watches, nemesis, failover, quorumless, skew
and mallory run optimised builds that keep our assertions (profile long), which take some minutes the
first time; skew's earlier build is a debug build. bench measures what ships.";

/// Records, snapshots and each crate's table of decoders get so many by `cargo xtask mutants`.
const MUTANTS: u64 = 10_000_000;
/// How often gateways die if nobody says otherwise.
const DURABILITY_CYCLES: u32 = 500;
/// How long a soak takes if nobody says otherwise.
const SOAK_MINUTES: u32 = 60;

/// Entries that `watches` writes if nobody says otherwise.
const WATCHED_EVENTS: u64 = 1_000_000;
/// The seeds that a campaign runs if nobody says otherwise.
const SIM_SEEDS: Range<u64> = 1..10_001;

/// How long a hostile member writes beyond its share if nobody says otherwise.
const LOAD_SECONDS: u32 = 30;

/// How long the nemesis goes on if nobody says otherwise.
const NEMESIS_MINUTES: u32 = 60;

/// How long a federation goes on without its majority if nobody says otherwise.
const QUORUMLESS_MINUTES: u32 = 10;
/// How many leaders die at each distance if nobody says otherwise.
const FAILOVER_KILLS: u32 = 50;

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    Test(Scope),
    Lint,
    Doc,
    Tidy,
    Deny(Install),
    Bugs,
    /// These seeds.
    Sim(Range<u64>),
    /// So many records.
    Mutants(u64),
    Sweep,
    /// So many cycles.
    Durability(u32),
    /// For so many minutes.
    Soak(u32),
    /// With so many entries.
    Watches(u64),
    Nemesis(Nemesis),
    /// For so many minutes.
    Quorumless(u32),
    /// How often a leader dies at each distance.
    Failover(u32),
    Skew(Skew),
    BenchRegistry,
    /// With so many seconds of load.
    Mallory(u32),
    Help,
}

/// How the nemesis is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nemesis {
    pub(crate) minutes: u32,
    /// Of the plan; the time of day if left out.
    pub(crate) seed: Option<u64>,
}

impl Nemesis {
    fn parse(mut words: &[&str]) -> Result<Self, Failure> {
        let wrong = |word: &str| Failure::Usage(format!("{word:?} is no positive number"));
        let mut nemesis = Self {
            minutes: NEMESIS_MINUTES,
            seed: None,
        };
        loop {
            match words {
                [] => return Ok(nemesis),
                ["--minutes", minutes, rest @ ..] => {
                    let parsed = minutes.parse().ok().filter(|minutes| *minutes > 0);
                    nemesis.minutes = parsed.ok_or_else(|| wrong(minutes))?;
                    words = rest;
                }
                ["--seed", seed, rest @ ..] => {
                    nemesis.seed = Some(seed.parse().map_err(|_| wrong(seed))?);
                    words = rest;
                }
                _ => return Err(Failure::Usage(format!("unknown: {}", words.join(" ")))),
            }
        }
    }
}

impl Task {
    /// Reads the arguments that follow the program's name.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let arguments: Vec<String> = arguments.collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["test"] => Ok(Self::Test(Scope::Everything)),
            ["test", "--quick"] => Ok(Self::Test(Scope::Quick)),
            ["lint"] => Ok(Self::Lint),
            ["doc"] => Ok(Self::Doc),
            ["tidy"] => Ok(Self::Tidy),
            ["bugs"] => Ok(Self::Bugs),
            ["sim"] => Ok(Self::Sim(SIM_SEEDS)),
            ["sim", "--seeds", seeds] => range(seeds)
                .map(Self::Sim)
                .ok_or_else(|| Failure::Usage(format!("{seeds:?} is no range such as 1..301"))),
            ["mutants"] => Ok(Self::Mutants(MUTANTS)),
            ["sweep"] => Ok(Self::Sweep),
            ["durability"] => Ok(Self::Durability(DURABILITY_CYCLES)),
            ["durability", "--cycles", cycles] => match cycles.parse() {
                Ok(cycles) if cycles > 0 => Ok(Self::Durability(cycles)),
                _ => Err(Failure::Usage(format!("{cycles:?} is no number of cycles"))),
            },
            ["soak"] => Ok(Self::Soak(SOAK_MINUTES)),
            ["soak", "--minutes", minutes] => minutes_of(minutes).map(Self::Soak),
            ["quorumless"] => Ok(Self::Quorumless(QUORUMLESS_MINUTES)),
            ["quorumless", "--minutes", minutes] => minutes_of(minutes).map(Self::Quorumless),
            ["failover"] => Ok(Self::Failover(FAILOVER_KILLS)),
            ["failover", "--kills", kills] => match kills.parse() {
                Ok(kills) if kills > 0 => Ok(Self::Failover(kills)),
                _ => Err(Failure::Usage(format!("{kills:?} is no number of kills"))),
            },
            ["watches"] => Ok(Self::Watches(WATCHED_EVENTS)),
            ["watches", "--events", events] => match events.parse() {
                Ok(events) if events > 0 => Ok(Self::Watches(events)),
                _ => Err(Failure::Usage(format!("{events:?} is no number of events"))),
            },
            ["nemesis", options @ ..] => Ok(Self::Nemesis(Nemesis::parse(options)?)),
            ["skew", options @ ..] => Ok(Self::Skew(Skew::parse(options)?)),
            ["bench", "registry"] => Ok(Self::BenchRegistry),
            ["mallory"] => Ok(Self::Mallory(LOAD_SECONDS)),
            ["mallory", "--seconds", seconds] => match seconds.parse() {
                Ok(seconds) if seconds > 0 => Ok(Self::Mallory(seconds)),
                _ => Err(Failure::Usage(format!(
                    "{seconds:?} is no number of seconds"
                ))),
            },
            ["deny"] => Ok(Self::Deny(Install::No)),
            ["deny", "--install"] => Ok(Self::Deny(Install::Yes)),
            ["help" | "--help" | "-h"] => Ok(Self::Help),
            [] => Err(Failure::Usage("no task was named".into())),
            _ => Err(Failure::Usage(format!("unknown: {}", words.join(" ")))),
        }
    }
}

pub(crate) fn minutes_of(text: &str) -> Result<u32, Failure> {
    let minutes = text.parse().ok().filter(|minutes| *minutes > 0);
    minutes.ok_or_else(|| Failure::Usage(format!("{text:?} is no number of minutes")))
}

/// `first..end`, with something in it.
fn range(text: &str) -> Option<Range<u64>> {
    let (first, end) = text.split_once("..")?;
    let range = first.parse().ok()?..end.parse().ok()?;
    (!range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task, Failure> {
        Task::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn tasks_and_their_options_are_read() {
        assert_eq!(parse("test").unwrap(), Task::Test(Scope::Everything));
        assert_eq!(parse("test --quick").unwrap(), Task::Test(Scope::Quick));
        assert_eq!(parse("deny --install").unwrap(), Task::Deny(Install::Yes));
        assert_eq!(parse("bugs").unwrap(), Task::Bugs);
        assert_eq!(parse("sim").unwrap(), Task::Sim(1..10_001));
        assert_eq!(parse("sim --seeds 5..7").unwrap(), Task::Sim(5..7));
        assert_eq!(parse("mutants").unwrap(), Task::Mutants(10_000_000));
        assert_eq!(parse("durability").unwrap(), Task::Durability(500));
        assert_eq!(parse("durability --cycles 5").unwrap(), Task::Durability(5));
        assert_eq!(parse("soak").unwrap(), Task::Soak(60));
        assert_eq!(parse("soak --minutes 5").unwrap(), Task::Soak(5));
        assert_eq!(parse("quorumless").unwrap(), Task::Quorumless(10));
        assert!(parse("quorumless --minutes 0").is_err());
        assert_eq!(parse("failover").unwrap(), Task::Failover(50));
        assert!(parse("failover --kills 0").is_err());
        let nemesis = |minutes, seed| Task::Nemesis(Nemesis { minutes, seed });
        assert_eq!(parse("nemesis").unwrap(), nemesis(60, None));
        assert_eq!(
            parse("nemesis --seed 7 --minutes 5").unwrap(),
            nemesis(5, Some(7))
        );
        assert_eq!(parse("bench registry").unwrap(), Task::BenchRegistry);
        assert_eq!(parse("--help").unwrap(), Task::Help);
    }

    #[test]
    fn anything_else_is_wrong_usage() {
        for line in [
            "",
            "tests",
            "test --slow",
            "lint --quick",
            "soak --minutes 0",
            "durability --cycles 0",
            "nemesis --minutes 0",
            "nemesis --seed",
            "nemesis 7",
            "bench",
            "sim --seeds 7..7",
            "sim --seeds 7",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }
}
