//! Names while gateways are stopped, killed and restarted: never empty, never older than before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use weft_test_support::{Dev, RecordType, SOON, ask, eventually, signal, wait_until_gone};

use super::{CELL, HOME, NAMES};

const CLUSTERS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-south-1"];
const GATEWAYS: [&str; 2] = ["gw-1", "gw-2"];
/// Names that come to be while it goes on.
const STEPS: usize = 3;
/// From one round of questions to a server to the next.
const INTERVAL: Duration = Duration::from_millis(20);
/// Rounds before, during and after each event.
const CALM: usize = 40;

pub(super) fn are_asked_all_the_time(dev: &Dev) -> Result<()> {
    dev.apply("eu-west-1", CELL)?;
    let polls = start(dev)?;
    for poll in &polls {
        poll.goes_on(CALM)?;
    }
    // A gateway that tells others stands still in the middle of it.
    let pid = dev.gateway("eu-west-1", "gw-1")?.pid.context("it runs")?;
    signal(pid, "STOP")?;
    let meanwhile = dev
        .apply(HOME, &step(0))
        .and_then(|()| polls[0].goes_on(CALM));
    signal(pid, "CONT")?;
    meanwhile?;
    // Killed in the moment in which it first answers with something new.
    dev.apply(HOME, &step(1))?;
    falls(dev, &polls, HOME, "gw-2", "KILL")?;
    dev.apply(HOME, &step(2))?;
    // The first one fronts a server of those names: without it that server is gone.
    falls(dev, &polls, "eu-west-1", "gw-2", "TERM")?;
    falls(dev, &polls, "ap-south-1", "gw-1", "KILL")?;
    falls(dev, &polls, HOME, "gw-1", "KILL")?;
    verdict(polls)
}

fn step(number: usize) -> String {
    format!(
        "\
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: {{ namespace: shop, name: step-{number} }}
spec: {{ ports: [{{ name: http, port: 80, appProtocol: http }}], exportTo: ['*'] }}
"
    )
}

/// A gateway ends and is started again.
fn falls(dev: &Dev, polls: &[Poll], cluster: &str, name: &str, how: &str) -> Result<()> {
    let pid = dev.gateway(cluster, name)?.pid.context("it runs")?;
    signal(pid, how)?;
    wait_until_gone(&[pid])?;
    polls.iter().try_for_each(|poll| poll.goes_on(CALM / 4))?;
    dev.weft(["dev", "heal"])?.ok()?;
    for poll in polls {
        poll.answers_on(CALM)?;
    }
    Ok(())
}

/// One server, asked all the time. Dropped, it is asked no longer.
struct Poll {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

struct Seen {
    id: String,
    server: String,
    stop: AtomicBool,
    rounds: AtomicUsize,
    answered: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

fn start(dev: &Dev) -> Result<Vec<Poll>> {
    let mut polls = Vec::new();
    for cluster in CLUSTERS {
        for gateway in GATEWAYS {
            let server = dev.gateway(cluster, gateway)?.dns;
            for name in NAMES {
                eventually(&format!("{cluster}/{gateway} knows {name}"), SOON, || {
                    let answer = ask(&server, name, RecordType::A)?;
                    ensure!(!answer.data.is_empty(), "{answer:?}");
                    Ok(())
                })?;
            }
            let seen = Arc::new(Seen {
                id: format!("{cluster}/{gateway}"),
                server,
                stop: AtomicBool::new(false),
                rounds: AtomicUsize::new(0),
                answered: AtomicUsize::new(0),
                faults: Mutex::default(),
            });
            let asking = Arc::clone(&seen);
            let thread = Some(std::thread::spawn(move || asking.ask_until_stopped()));
            polls.push(Poll { seen, thread });
        }
    }
    Ok(polls)
}

fn verdict(polls: Vec<Poll>) -> Result<()> {
    let mut faults = Vec::new();
    let mut asked = 0;
    for mut poll in polls {
        poll.seen.stop.store(true, Ordering::Relaxed);
        let ended = poll.thread.take().map(JoinHandle::join);
        ensure!(matches!(ended, Some(Ok(()))), "a poll panicked");
        asked += poll.seen.answered.load(Ordering::Relaxed);
        faults.append(&mut poll.seen.faults());
    }
    ensure!(faults.is_empty(), "{faults:#?}");
    ensure!(asked > 1000, "only {asked} answers");
    Ok(())
}

impl Poll {
    /// So many more rounds are over, answered or not.
    fn goes_on(&self, count: usize) -> Result<()> {
        more(&self.seen.id, &self.seen.rounds, count)
    }

    /// So many more answers have come.
    fn answers_on(&self, count: usize) -> Result<()> {
        more(&self.seen.id, &self.seen.answered, count)
    }
}

fn more(id: &str, counter: &AtomicUsize, count: usize) -> Result<()> {
    let until = counter.load(Ordering::Relaxed) + count;
    eventually(
        &format!("questions to {id} go on"),
        SOON,
        || match counter.load(Ordering::Relaxed) {
            made if made >= until => Ok(()),
            made => bail!("{made} of {until}"),
        },
    )
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    fn faults(&self) -> Vec<String> {
        std::mem::take(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn fault(&self, what: String) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push(format!("{}: {what}", self.id));
    }

    /// A server that says nothing, as it is down or stands still, is no fault; one that says
    /// less than before is.
    fn ask_until_stopped(&self) {
        let begun = Instant::now();
        let mut serials = BTreeMap::new();
        let mut there: BTreeSet<String> = NAMES.into_iter().map(str::to_owned).collect();
        let steps = (0..STEPS).map(|number| format!("step-{number}.shop.svc.clusterset.local"));
        let names: Vec<String> = there.iter().cloned().chain(steps).collect();
        while !self.stop.load(Ordering::Relaxed) {
            for zone in ["clusterset.local", "weft.internal"] {
                let Ok(answer) = ask(&self.server, zone, RecordType::Soa) else {
                    continue;
                };
                let Some(serial) = answer.serial() else {
                    self.fault(format!(
                        "{:?}: no SOA of {zone}: {answer:?}",
                        begun.elapsed()
                    ));
                    continue;
                };
                let before = serials.insert(zone, serial).unwrap_or(serial);
                // Serial number arithmetic (RFC 1982 §3.2).
                if serial.wrapping_sub(before) > u32::MAX / 2 {
                    self.fault(format!(
                        "{:?}: serial {serial} after {before}",
                        begun.elapsed()
                    ));
                }
            }
            for name in &names {
                let Ok(answer) = ask(&self.server, name, RecordType::A) else {
                    continue;
                };
                self.answered.fetch_add(1, Ordering::Relaxed);
                if !answer.data.is_empty() {
                    there.insert(name.clone());
                } else if there.contains(name) {
                    let code = answer.code;
                    self.fault(format!(
                        "{:?}: {name} is gone, code {code}",
                        begun.elapsed()
                    ));
                }
            }
            self.rounds.fetch_add(1, Ordering::Relaxed);
            sleep(INTERVAL);
        }
    }
}
