//! Five gateways, a guest, and a wire between each two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::runtime::Runtime;
use weft_test_support::{SOON, User, Wire, eventually, run};
use weft_wan::LinkSpec;
use weft_wan::tun::Side;

use crate::operator::{Credentials, Operator, Reading, Told};
use crate::plan::SITES;
use crate::site::{PROMPT, Site, Skew};

/// The number of the machine that clusters join from and are removed from.
pub(crate) const GUEST: usize = SITES;

/// The gateways that stay.
pub(crate) const ALL: [usize; SITES] = [0, 1, 2, 3, 4];

/// The machines. All gateways are voters; the last two share a region, so that a guest from
/// another one takes the vote of one of them.
pub struct World {
    user: User,
    sites: Vec<Site>,
    wires: BTreeMap<(usize, usize), Wire>,
    runtime: Runtime,
    credentials: Arc<Credentials>,
    guests: Vec<String>,
}

/// What a gateway says of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) term: u64,
    /// The leader's cluster.
    pub(crate) leader: Option<String>,
    /// The voters' clusters.
    pub(crate) voters: BTreeSet<String>,
}

impl World {
    /// Makes the machines, founds the federation and has it complete.
    ///
    /// # Errors
    /// Anything went wrong.
    pub fn start(runtime: Runtime) -> Result<Self> {
        let user = User::new()?;
        let mut sites = Vec::new();
        for number in 1..=SITES + 1 {
            let name = match number <= SITES {
                true => format!("s{number}"),
                false => "guest".to_owned(),
            };
            sites.push(Site::new(&name, number, user.scratch())?);
        }
        let mut wires = BTreeMap::new();
        for b in 0..sites.len() {
            for a in 0..b {
                let seed = (a * 16 + b) as u64;
                let wire = Wire::between(&sites[a].namespace, &sites[b].namespace, seed)?;
                sites[a].peer_with(&sites[b])?;
                sites[b].peer_with(&sites[a])?;
                wires.insert((a, b), wire);
            }
        }
        let credentials = found(&user, &mut sites)?;
        let mut world = Self {
            user,
            sites,
            wires,
            runtime,
            credentials: Arc::new(credentials),
            guests: Vec::new(),
        };
        for site in 1..SITES {
            world.join(site)?;
        }
        let status = eventually("the federation is complete", SOON, || world.complete())?;
        let credentials = Arc::get_mut(&mut world.credentials).context("nobody else has it")?;
        credentials.learn(&status)?;
        Ok(world)
    }

    fn join(&mut self, site: usize) -> Result<()> {
        let name = self.sites[site].name.clone();
        let region = match site {
            4 => "r4".to_owned(),
            other => format!("r{}", other + 1),
        };
        self.add(site, &name, &region)?;
        self.sites[site].await_up()
    }

    /// Has a machine's gateway join as `cluster`, and starts it.
    fn add(&mut self, site: usize, cluster: &str, region: &str) -> Result<()> {
        let create = [
            "cluster",
            "token",
            "create",
            "--cluster",
            cluster,
            "--region",
            region,
        ];
        let said = eventually("a token", SOON, || self.user.weft(create)?.ok())?;
        let token = said.lines().next().context("a token")?.trim();
        let joining = &self.sites[site];
        joining.configure(cluster, region)?;
        let config = joining.config();
        let config = config.to_str().context("a path in UTF-8")?;
        let founder = format!("{}:7444", self.sites[0].address());
        let join = [
            "cluster", "join", &founder, "--config", config, "--token", token,
        ];
        let join = self.user.command(join);
        run(&mut joining.namespace.enclose(&join))?.ok()?;
        self.sites[site].start(&self.user)
    }

    fn complete(&self) -> Result<Value> {
        let look = self.look(0)?;
        ensure!(look.voters.len() == SITES, "{look:?}");
        self.status(0)
    }

    /// What the operator needs to connect.
    pub fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    /// What runs what waits.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The gateways that stay: cluster and API.
    ///
    /// # Errors
    /// Never, for the addresses that are chosen here.
    pub fn gateways(&self) -> Result<Vec<(String, std::net::SocketAddr)>> {
        let stay = self.sites[..SITES].iter();
        stay.map(|site| Ok((site.name.clone(), site.api()?)))
            .collect()
    }

    pub(crate) fn site(&mut self, number: usize) -> &mut Site {
        &mut self.sites[number]
    }

    /// Starts a gateway that was killed, and waits until it answers.
    pub(crate) fn restart(&mut self, site: usize) -> Result<()> {
        self.sites[site].start(&self.user)?;
        self.sites[site].await_up()
    }

    async fn connect(&self, site: usize) -> Result<Operator> {
        let site = &self.sites[site];
        let api = site.api()?;
        self.credentials.connect(&site.name, api, PROMPT).await
    }

    /// Waits until a gateway does a write and a linearizable read.
    ///
    /// # Errors
    /// It does not within a minute; with the last reason.
    pub fn await_service(&self, site: usize, value: u64) -> Result<()> {
        let name = &self.sites[site].name;
        eventually(&format!("{name} serves"), SOON, || {
            self.runtime.block_on(async {
                let mut operator = self.connect(site).await?;
                let key = format!("{name}-end");
                let told = operator.write(&key, value).await;
                ensure!(told == Told::Done, "{told:?}");
                let found = operator.read(&key, name, Reading::Linearizable).await?;
                ensure!(found.0 == value, "{value} was written, {found:?} read");
                Ok(())
            })
        })
    }

    fn status(&self, site: usize) -> Result<Value> {
        self.runtime.block_on(async {
            let operator = self.connect(site).await?;
            operator.within(PROMPT).status().await
        })
    }

    /// What one of the gateways that stay says of the group.
    pub(crate) fn look(&self, site: usize) -> Result<Look> {
        ensure!(self.sites[site].runs(), "it does not run");
        let status = self.status(site)?;
        let raft = &status["raft"];
        let members = raft["members"].as_array().context("members")?;
        let cluster = |member: &Value| member["cluster"].as_str().map(str::to_owned);
        let votes = |member: &&Value| member["role"] != "learner";
        let leads = |member: &&Value| member["node"] == raft["leader"];
        Ok(Look {
            term: raft["term"].as_u64().context("a term")?,
            leader: members.iter().find(leads).and_then(cluster),
            voters: members.iter().filter(votes).filter_map(cluster).collect(),
        })
    }

    /// The site that leads, by what the gateway of the highest term says; none if nobody does,
    /// or a guest.
    pub(crate) fn leader(&self, among: &[usize]) -> Option<usize> {
        let looks = among.iter().filter_map(|site| self.look(*site).ok());
        let led = looks.filter(|look| look.leader.is_some());
        let name = led.max_by_key(|look| look.term)?.leader?;
        self.sites[..SITES]
            .iter()
            .position(|site| site.name == name)
    }

    /// How far a site's clock is ahead, as another one sees it.
    pub(crate) fn clock_ahead(&self, of: usize, seen_by: usize) -> Result<Duration> {
        let name = &self.sites[of].name;
        let answer = self.runtime.block_on(async {
            let operator = self.connect(seen_by).await?;
            operator.within(2 * PROMPT).netcheck().await
        })?;
        let peers = answer["peers"].as_array().context("peers")?;
        let peer = peers.iter().find(|peer| peer["cluster"] == name.as_str());
        let ahead = peer.and_then(|peer| peer["clock"]["aheadMs"].as_f64());
        Ok(Duration::from_secs_f64(
            ahead.context("a clock")?.abs() / 1e3,
        ))
    }

    /// Loses packets in these directions.
    pub(crate) fn cut(&self, links: &[(usize, usize)]) -> Result<()> {
        links.iter().try_for_each(|(from, to)| {
            let (wire, side) = self.wire(*from, *to)?;
            wire.cut(side)
        })
    }

    fn wire(&self, from: usize, to: usize) -> Result<(&Wire, Side)> {
        let (ends, side) = match from < to {
            true => ((from, to), Side::A),
            false => ((to, from), Side::B),
        };
        Ok((self.wires.get(&ends).context("a wire")?, side))
    }

    /// How every wire is from now on, both ways.
    pub(crate) fn weather(&self, spec: LinkSpec) -> Result<()> {
        self.wires.values().try_for_each(|wire| wire.set(spec))
    }

    /// Every wire, every clock and every process is as at the start.
    ///
    /// # Errors
    /// A gateway ended by itself, or does not come up.
    pub fn heal(&mut self) -> Result<()> {
        self.weather(LinkSpec::default())?;
        for wire in self.wires.values() {
            wire.heal(Side::A)?;
            wire.heal(Side::B)?;
        }
        for site in &mut self.sites[..SITES] {
            site.set_clock(Skew(0))?;
            site.stop(false)?;
            site.still_runs()?;
            if !site.runs() {
                site.start(&self.user)?;
            }
        }
        Ok(())
    }

    /// Has a new cluster join from the guest machine; its name. One that fails on the way, since
    /// something is broken, is followed by another: names never return.
    pub(crate) fn invite(&mut self) -> Result<String> {
        eventually("a guest joins", SOON, || {
            self.sites[GUEST].kill()?;
            let name = format!("guest-{}", self.guests.len() + 1);
            self.guests.push(name.clone());
            self.add(GUEST, &name, "far")?;
            Ok(name)
        })
    }

    /// Removes all guests from the federation; their machine is free then.
    pub(crate) fn dismiss(&mut self) -> Result<()> {
        eventually("guests are removed", SOON, || {
            let members = self.members()?;
            let present = self
                .guests
                .iter()
                .filter(|guest| members.contains(guest.as_str()));
            let present: Vec<&String> = present.collect();
            for guest in &present {
                // The answer to one that was done may be lost: whether it is gone, the next
                // look tells.
                self.user.weft(["cluster", "remove", guest, "--yes"])?;
            }
            ensure!(present.is_empty(), "{present:?} are still there");
            Ok(())
        })?;
        self.sites[GUEST].kill()
    }

    fn members(&self) -> Result<BTreeSet<String>> {
        let status = self.status(0)?;
        let members = status["clusters"].as_array().context("clusters")?;
        let name = |member: &Value| member["name"].as_str().map(str::to_owned);
        Ok(members.iter().filter_map(name).collect())
    }

    /// How many snapshots a gateway has installed since it started.
    pub(crate) fn snapshots(&self, site: usize) -> u64 {
        let count = self.sites[site].metric("weft_registry_snapshots_installed");
        count.unwrap_or(0)
    }

    /// What every gateway said last.
    pub fn last_words(&self) -> String {
        let said = self.sites.iter();
        said.map(|site| format!("---- {}\n{}\n", site.name, site.last_words()))
            .collect()
    }
}

fn found(user: &User, sites: &mut [Site]) -> Result<Credentials> {
    let first = sites.first_mut().context("a site")?;
    first.configure("s1", "r1")?;
    let config = first.config();
    let config = config.to_str().context("a path in UTF-8")?;
    let domain = ["--domain", "fed.example.org", "--admin", "ana"];
    let init = [&["cluster", "init", "--config", config][..], &domain].concat();
    user.weft(init)?.ok()?;
    first.start(user)?;
    first.await_up()?;
    Credentials::load(&user.scratch().join("config"))
}
