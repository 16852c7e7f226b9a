//! Nothing acknowledged is lost: gateways are killed, one of them or all at once, again and again
//! while clients write; and a sync that fails ends the process before it acknowledges anything.
//!
//! A few cycles here; `cargo xtask durability` runs five hundred (`WEFT_DURABILITY_CYCLES`). A
//! killed process loses none of what the kernel has taken: that disks lose what was not synced is
//! simulated (`tests/sim`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use weft_nemesis::{Access, GATEWAYS, Reading, Told, Trio, cluster};
use weft_test_support::{SOON, command, eventually, isolated, run};

/// Cycles unless the environment says otherwise: each kind of death at least once.
const CYCLES: u64 = 4;
/// Trails are judged after so many, and in the end.
const AUDIT_CYCLES: u64 = 100;
/// Clients of each gateway.
const WRITERS: usize = 2;
/// Records that a client writes in turn: so many of its last writes are looked for.
const RECORDS: u64 = 8;
/// A process whose sync failed has ended after this.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// How long a write that cannot be acknowledged is waited for: far longer than others take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before a client tries again.
const PAUSE: Duration = Duration::from_millis(20);

fn runtime() -> Result<Runtime> {
    let mut threads = Builder::new_multi_thread();
    Ok(threads.worker_threads(2).enable_all().build()?)
}

#[test]
fn what_was_acknowledged_survives_the_death_of_gateways() -> Result<()> {
    isolated(
        "what_was_acknowledged_survives_the_death_of_gateways",
        || {
            let chosen = std::env::var("WEFT_DURABILITY_CYCLES").ok();
            let cycles = chosen.map_or(Ok(CYCLES), |text| text.parse())?;
            let runtime = runtime()?;
            let mut trio = Trio::start(&runtime)?;
            let writers = Writer::all();
            let before = audit(&trio, &runtime)?;
            let (mut audited, mut of) = (0, 0);
            let (begun, mut all_died, mut leaderless) = (Instant::now(), 0, Vec::new());
            for cycle in 1..=cycles {
                let victims = victims(&trio, &runtime, cycle)?;
                all_died += u64::from(victims.len() == GATEWAYS.count());
                let gap = die_while_writing(&mut trio, &runtime, &writers, cycle, &victims)
                    .with_context(|| format!("cycle {cycle} of {cycles}, {victims:?} died"))
                    .inspect_err(|_| say(&trio.last_words()))?;
                leaderless.extend(gap.filter(|_| cycle % 3 == LEADERS_TURN));
                if cycle % AUDIT_CYCLES != 0 && cycle != cycles {
                    continue;
                }
                let trail = audit(&trio, &runtime)?;
                if trail.after == before.after {
                    of = acknowledged(&writers);
                    audited = trail.effected - before.effected;
                    ensure!(
                        audited >= of,
                        "{audited} writes are in the audit trail, {of} were acknowledged"
                    );
                }
            }
            say(&format!(
                "{cycles} cycles, in {all_died} of which all died; {} acknowledged writes, 0 lost; \
                 the trail had {audited} when {of} were acknowledged, each once; {:?}",
                acknowledged(&writers),
                begun.elapsed()
            ));
            leaderless.sort_unstable();
            if let (Some(median), Some(longest)) =
                (leaderless.get(leaderless.len() / 2), leaderless.last())
            {
                say(&format!(
                    "{} leaders died alone: after {median:?} (median) and {longest:?} (longest) all \
                     clients of the others had written again",
                    leaderless.len()
                ));
            }
            Ok(())
        },
    )
}

fn acknowledged(writers: &[Arc<Writer>]) -> u64 {
    writers.iter().map(|writer| writer.acknowledged()).sum()
}

/// The founder's audit trail.
struct Trail {
    /// It begins after this position: a long one loses its beginning, as history does.
    after: u64,
    /// How many requests took effect, where each counts once.
    effected: u64,
}

/// Every gateway's own trail holds.
fn audit(trio: &Trio, runtime: &Runtime) -> Result<Trail> {
    let (mut after, mut effected) = (0, 0);
    for gateway in GATEWAYS.rev() {
        let trail = eventually("an audit", SOON, || {
            runtime.block_on(async { trio.access().connect(gateway).await?.audit().await })
        })?;
        let count = |name: &str| trail[name].as_u64().context("a count");
        (after, effected) = (count("after")?, count("effected")?);
    }
    Ok(Trail { after, effected })
}

/// In which of three cycles the leader dies.
const LEADERS_TURN: u64 = 2;

/// Who dies: all, the leader, one in turn.
fn victims(trio: &Trio, runtime: &Runtime, cycle: u64) -> Result<Vec<usize>> {
    Ok(match cycle % 3 {
        1 => GATEWAYS.collect(),
        LEADERS_TURN => vec![eventually("a leader", SOON, || {
            runtime.block_on(trio.access().leader(1))
        })?],
        _ => vec![(cycle / 3 % 3 + 1) as usize],
    })
}

/// Writes ever higher numbers to its records in turn, one after the other.
struct Writer {
    gateway: usize,
    number: usize,
    asked: AtomicU64,
    acknowledged: AtomicU64,
    /// For each record the last number that was acknowledged, and the last that was asked for.
    records: Mutex<BTreeMap<String, (u64, u64)>>,
}

impl Writer {
    fn all() -> Vec<Arc<Self>> {
        let places = GATEWAYS.flat_map(|gateway| (0..WRITERS).map(move |number| (gateway, number)));
        let writer = |(gateway, number)| Self {
            gateway,
            number,
            asked: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            records: Mutex::default(),
        };
        places.map(|place| Arc::new(writer(place))).collect()
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    fn note(&self, key: &str, note: impl FnOnce(&mut (u64, u64))) {
        note(self.records().entry(key.to_owned()).or_default());
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<String, (u64, u64)>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on until it is told to stop, over broken connections and refusals.
    async fn write(self: Arc<Self>, access: Access, stop: Arc<AtomicBool>) {
        let mut operator = None;
        while !stop.load(Ordering::SeqCst) {
            let Some(connected) = &mut operator else {
                operator = access.connect(self.gateway).await.ok();
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let value = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            let key = format!("{}-{}-{}", self.gateway, self.number, value % RECORDS);
            self.note(&key, |(_, asked)| *asked = value);
            match connected.write(&key, value).await {
                Told::Done => {
                    self.note(&key, |(acknowledged, _)| *acknowledged = value);
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                Told::Refused(_) => tokio::time::sleep(PAUSE).await,
                Told::Unknown(_) => operator = None,
            }
        }
    }

    /// Which records hold neither what was acknowledged last nor what was asked for since.
    async fn lost(&self, access: &Access, asked: usize) -> Result<Vec<String>> {
        let records = self.records().clone();
        let mut operator = access.connect(asked).await?;
        let mut lost = Vec::new();
        for (key, (acknowledged, last)) in records {
            let owner = cluster(self.gateway);
            let (found, _) = operator.read(&key, &owner, Reading::Linearizable).await?;
            if !(acknowledged..=last).contains(&found) {
                lost.push(format!(
                    "{key} has {found} at gateway {asked}; {acknowledged} was acknowledged, \
                     {last} was asked for"
                ));
            }
        }
        Ok(lost)
    }
}

/// Kills these in the middle of writes, starts them, and looks for what was acknowledged. If only one
/// died: how long it took until each client of the others had a write acknowledged.
fn die_while_writing(
    trio: &mut Trio,
    runtime: &Runtime,
    writers: &[Arc<Writer>],
    cycle: u64,
    victims: &[usize],
) -> Result<Option<Duration>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for writer in writers {
        let writing = Arc::clone(writer).write(trio.access(), Arc::clone(&stop));
        tasks.spawn_on(writing, runtime.handle());
    }
    // Another moment in each cycle.
    await_writes(writers, 1 + cycle * 7 % 13, &[])?;
    let killed = Instant::now();
    trio.kill(victims)?;
    let mut gap = None;
    if victims.len() == 1 {
        await_writes(writers, 1, victims)?;
        gap = Some(killed.elapsed());
    }
    stop.store(true, Ordering::SeqCst);
    runtime.block_on(async {
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        anyhow::Ok(())
    })?;
    for victim in victims {
        trio.revive(*victim, &[])?;
    }
    let access = trio.access();
    for gateway in GATEWAYS {
        for writer in writers {
            let lost = eventually("linearizable reads", SOON, || {
                runtime.block_on(writer.lost(&access, gateway))
            })?;
            ensure!(lost.is_empty(), "lost: {lost:#?}");
        }
    }
    Ok(gap)
}

/// Waits until each has so many more acknowledged writes, but those of `dead` gateways.
fn await_writes(writers: &[Arc<Writer>], more: u64, dead: &[usize]) -> Result<()> {
    let alive = || writers.iter().filter(|w| !dead.contains(&w.gateway));
    let before: Vec<u64> = alive().map(|writer| writer.acknowledged()).collect();
    eventually("writes are acknowledged", SOON, || {
        for (writer, before) in alive().zip(&before) {
            let now = writer.acknowledged();
            ensure!(now >= before + more, "gateway {}: {now}", writer.gateway);
        }
        Ok(())
    })
}

#[test]
fn a_failed_sync_ends_the_gateway_before_it_acknowledges() -> Result<()> {
    isolated(
        "a_failed_sync_ends_the_gateway_before_it_acknowledges",
        || {
            let runtime = runtime()?;
            let mut trio = Trio::start(&runtime)?;
            fail_a_sync(&mut trio, &runtime).inspect_err(|_| say(&trio.last_words()))
        },
    )
}

/// Gateways 1 and 3 are the majority, so that nothing can be acknowledged without the disk of 3.
fn fail_a_sync(trio: &mut Trio, runtime: &Runtime) -> Result<()> {
    let access = trio.access();
    trio.kill(&[3])?;
    trio.revive(3, &["fiu-run", "-x"])?;
    let written = |gateway, value| {
        eventually("a write is acknowledged", SOON, || {
            let told = runtime.block_on(write(access.clone(), gateway, value))?;
            ensure!(told == Told::Done, "{told:?}");
            Ok(())
        })
    };
    written(3, 1)?;
    trio.kill(&[2])?;
    written(1, 2)?;
    let fault = "enable name=posix/io/sync/fdatasync,failinfo=5";
    let pid = trio.gateway(3)?.pid().to_string();
    run(&mut command(["fiu-ctrl", "-c", fault, &pid]))?.ok()?;
    let begun = Instant::now();
    let writes = [1, 3].map(|gateway| runtime.spawn(write(access.clone(), gateway, 3)));
    let code = trio.gateway(3)?.wait_within(SOON)?;
    let took = begun.elapsed();
    let said = trio.gateway(3)?.said();
    say(&format!(
        "it ended {took:?} after the writes were sent, with {code:?}"
    ));
    ensure!(code.is_some_and(|code| code != 0), "{code:?}:\n{said}");
    ensure!(said.contains("WEFT-6005"), "{said}");
    ensure!(took <= ENDS_WITHIN, "it took {took:?}");
    for told in writes {
        let told = runtime.block_on(told)?;
        ensure!(!matches!(told, Ok(Told::Done)), "acknowledged: {told:?}");
    }
    [2, 3]
        .iter()
        .try_for_each(|gateway| trio.revive(*gateway, &[]))?;
    for (gateway, least) in [(1, 2), (3, 1)] {
        let (found, _) = eventually("a linearizable read", SOON, || {
            runtime.block_on(async {
                let mut operator = access.connect(2).await?;
                let owner = cluster(gateway);
                operator.read("sync", &owner, Reading::Linearizable).await
            })
        })?;
        ensure!(found == least || found == 3, "lost: {found}, not {least}");
    }
    Ok(())
}

async fn write(access: Access, gateway: usize, value: u64) -> Result<Told> {
    let mut operator = access.connect(gateway).await?.within(PATIENCE);
    Ok(operator.write("sync", value).await)
}

#[expect(
    clippy::print_stdout,
    reason = "the test program captures and shows it"
)]
fn say(text: &str) {
    println!("{text}");
}
