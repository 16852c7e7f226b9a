//! Breaks things, step by step, and sees what has come of it.

use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weft_test_support::{SOON, eventually};
use weft_wan::{LinkSpec, Loss, Probability};

use crate::clients::Clients;
use crate::coverage::Coverage;
use crate::plan::{Fault, SITES, Shape, Step, Victim};
use crate::site::Skew;
use crate::timeline::Series;
use crate::world::{ALL, GUEST, World};

/// What breaks things in a world.
pub struct Nemesis<'a> {
    world: &'a mut World,
    clients: &'a Clients,
    /// What it went through.
    pub coverage: Coverage,
    /// How long after the kill of a leader nobody was told of a write.
    leader_killed: Series,
    /// How long after a partial partition the first write was done that began in it.
    partial: Series,
    /// How long after a cut that leaves a whole majority.
    cut: Series,
    /// Cuts during which no write was done.
    unserved: Vec<String>,
}

/// An hour, seconds.
const HOUR: i64 = 3600;
/// How long after a kill the longest pause between two writes is looked for.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Within this writes are promised to be back after any partition.
const WRITES_BACK: Duration = Duration::from_secs(10);

impl<'a> Nemesis<'a> {
    /// One that has done nothing yet.
    pub fn new(world: &'a mut World, clients: &'a Clients) -> Self {
        Self {
            world,
            clients,
            coverage: Coverage::default(),
            leader_killed: Series::default(),
            partial: Series::default(),
            cut: Series::default(),
            unserved: Vec::new(),
        }
    }

    /// Does one step to its end, and mends everything.
    ///
    /// # Errors
    /// The world cannot be changed so, or a gateway ended by itself.
    pub fn strike(&mut self, step: &Step) -> Result<()> {
        let leader = self.world.leader(&ALL);
        let victim = match step.victim {
            Victim::Site(site) => site,
            Victim::Leader => leader.unwrap_or(0),
        };
        let at = self.clients.now() as f64 / 1e9;
        let seconds = step.length.as_secs_f64();
        let fault = step.fault;
        let number = victim + 1;
        say(&format!(
            "{at:8.1} s  {fault:?}, s{number}, {seconds:.1} s (leader: {leader:?})"
        ));
        match fault {
            Fault::Kill => self.kill(victim, leader, step.length)?,
            Fault::Restart => self.restart(victim, step.length)?,
            Fault::KillAll => self.kill_all()?,
            Fault::Stop => self.stop(victim, step.length)?,
            Fault::Cut(shape) => self.cut(shape, victim, leader, step.length)?,
            Fault::Loss => self.weather(loss()?, step.length)?,
            Fault::Delay => self.weather(delay(), step.length)?,
            Fault::ClockForwards => self.clock(victim, Skew(HOUR), step.length)?,
            Fault::ClockBack => self.clock(victim, Skew(-HOUR), step.length)?,
            Fault::Membership => self.membership(victim)?,
        }
        self.coverage.count(fault);
        self.world.heal()?;
        sleep(step.rest);
        Ok(())
    }

    fn kill(&mut self, victim: usize, leader: Option<usize>, length: Duration) -> Result<()> {
        let from = self.clients.now();
        self.world.site(victim).kill()?;
        self.clients.killed(victim);
        sleep(length.max(AFTERMATH));
        if leader == Some(victim) {
            let to = from + nanoseconds(AFTERMATH);
            let gap = self.clients.timeline(|timeline| timeline.gap(from, to));
            self.leader_killed.note(gap);
        }
        Ok(())
    }

    fn restart(&mut self, victim: usize, length: Duration) -> Result<()> {
        self.world.site(victim).end("TERM")?;
        self.clients.killed(victim);
        sleep(length);
        Ok(())
    }

    fn kill_all(&mut self) -> Result<()> {
        for site in ALL {
            self.world.site(site).kill()?;
            self.clients.killed(site);
        }
        self.world.heal()?;
        let from = self.clients.now();
        self.await_write(from)
    }

    fn await_write(&self, from: u64) -> Result<()> {
        eventually("a write is done", SOON, || {
            let now = self.clients.now();
            let first = self.clients.timeline(|t| t.first_after(from, now));
            ensure!(first.is_some(), "none yet");
            Ok(())
        })
    }

    fn stop(&mut self, victim: usize, length: Duration) -> Result<()> {
        self.world.site(victim).stop(true)?;
        sleep(length);
        Ok(())
    }

    fn cut(
        &mut self,
        shape: Shape,
        victim: usize,
        leader: Option<usize>,
        length: Duration,
    ) -> Result<()> {
        let began = Instant::now();
        let from = self.clients.now();
        self.world.cut(&shape.links(victim, SITES))?;
        let minority: &[usize] = match shape {
            Shape::Alone => &[victim],
            Shape::Minority => &[victim, (victim + 1) % SITES],
            _ => &[],
        };
        if leader == Some(victim) && !minority.is_empty() {
            let others = ALL.into_iter().filter(|site| !minority.contains(site));
            let others: Vec<usize> = others.collect();
            let replaced = eventually("another leads", length, || {
                let now = self.world.leader(&others);
                ensure!(now.is_some() && now != leader, "{now:?}");
                Ok(())
            });
            self.coverage.leaders_in_minority += usize::from(replaced.is_ok());
        }
        sleep(length.saturating_sub(began.elapsed()));
        self.judge_cut(shape, from);
        Ok(())
    }

    fn judge_cut(&mut self, shape: Shape, from: u64) {
        let to = self.clients.now();
        match self.clients.timeline(|t| t.first_after(from, to)) {
            Some(first) if shape.is_partial() => self.partial.note(first),
            Some(first) => self.cut.note(first),
            None => {
                let length = (to - from) as f64 / 1e9;
                self.unserved.push(format!("{shape:?} of {length:.1} s"));
            }
        }
    }

    fn weather(&mut self, spec: LinkSpec, length: Duration) -> Result<()> {
        self.world.weather(spec)?;
        sleep(length);
        Ok(())
    }

    fn clock(&mut self, victim: usize, skew: Skew, length: Duration) -> Result<()> {
        let began = Instant::now();
        self.world.site(victim).set_clock(skew)?;
        let other = (victim + 1) % SITES;
        let jumped = eventually("the clock jumps", length, || {
            let ahead = self.world.clock_ahead(victim, other)?;
            ensure!(ahead > Duration::from_secs(1800), "{ahead:?}");
            Ok(())
        });
        match jumped {
            Ok(()) => self.coverage.clocks_seen_to_jump += 1,
            Err(error) => say(&format!("            {error:#}")),
        }
        sleep(length.saturating_sub(began.elapsed()));
        Ok(())
    }

    /// A guest joins and votes while another gateway is cut off; later it is removed, and the
    /// five vote again.
    fn membership(&mut self, victim: usize) -> Result<()> {
        // Guests join through the first gateway.
        let victim = victim.max(1);
        self.world.cut(&Shape::Alone.links(victim, SITES + 1))?;
        let guest = self.world.invite()?;
        eventually("the guest votes", SOON, || {
            let look = self.world.look(0)?;
            ensure!(look.voters.contains(&guest), "{look:?}");
            Ok(())
        })?;
        self.coverage.voters_changed_in_partition += 1;
        self.coverage.snapshots += self.world.snapshots(GUEST);
        self.world.heal()?;
        self.world.dismiss()?;
        eventually("the five vote again", SOON, || {
            let look = self.world.look(0)?;
            let all = look.voters.len() == SITES && !look.voters.contains(&guest);
            ensure!(all, "{look:?}");
            Ok(())
        })
    }

    /// What is promised of writes, as far as this run shows.
    ///
    /// # Errors
    /// It is not kept.
    pub fn judge(&self) -> Result<()> {
        let missing = self.coverage.missing();
        ensure!(
            missing.is_empty(),
            "the run does not count without {missing:?}"
        );
        let late = self.partial.longest().max(self.cut.longest());
        ensure!(late <= WRITES_BACK, "writes were back after {late:?} only");
        let unserved = &self.unserved;
        ensure!(unserved.is_empty(), "no write during {unserved:?}");
        Ok(())
    }
}

impl fmt::Display for Nemesis<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.coverage)?;
        writeln!(
            f,
            "no write for, after the kill of a leader: {}",
            self.leader_killed
        )?;
        writeln!(f, "first write after a partial partition: {}", self.partial)?;
        writeln!(f, "first write after another cut: {}", self.cut)?;
        write!(f, "cuts without a write: {:?}", self.unserved)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn loss() -> Result<LinkSpec> {
    Ok(LinkSpec {
        loss: Loss::Independent(Probability::new(0.3)?),
        ..LinkSpec::default()
    })
}

/// 80 ms there and back.
fn delay() -> LinkSpec {
    LinkSpec::with_delay(Duration::from_millis(40))
}

#[expect(
    clippy::print_stdout,
    reason = "the test program captures and shows it"
)]
fn say(line: &str) {
    println!("{line}");
}
