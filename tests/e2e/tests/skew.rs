//! Gateways are restarted one after the other, each on another build if there is one, while
//! clients write, read and ask for names: none is failed.
//!
//! `cargo xtask skew` builds an earlier commit and begins with that; continuous integration
//! restarts this build.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weft_e2e::Host;
use weft_test_support::{SOON, User, command, eventually, isolated, run, weft_binary};

/// The build to begin with; this one if it is not set.
const PREVIOUS: &str = "WEFT_PREVIOUS_BIN";
/// How long two builds go on together.
const MINUTES: &str = "WEFT_SKEW_MINUTES";

const RECORD: &str = "apiVersion: weft.dev/v1
kind: RoleBinding
metadata: { name: NAME }
spec: { role: viewer, users: [USER] }
";

/// Of each kind that has more in it than a role binding.
const SET: &str = "apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: NAME }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: Route
metadata: { namespace: shop, name: NAME }
spec:
  parentRefs: [{ name: NAME }]
  rules: [{ backendRefs: [{ name: NAME }], timeouts: { request: TURNms } }]
---
apiVersion: weft.dev/v1
kind: Release
metadata: { namespace: shop, name: NAME-v2 }
spec:
  service: NAME
  stable: v1
  canary: v2
  waves: [{ name: world, regions: ['*'], steps: [{ setWeight: 5 }, { pause: {} }, { setWeight: 100 }] }]
";

/// One write in so many is a set, and so many sets there are.
const SET_EVERY: u64 = 10;
const SETS: u64 = 50;

/// How many records there are; a federation holds 1024.
const RECORDS: u64 = 500;

/// Whom each record names, as far as that was acknowledged last.
type Written = BTreeMap<String, String>;

const SERVICE: &str = "apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: web }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: web-1 }
spec: { service: web, address: 127.2.9.9, ports: { http: 80 } }
---
apiVersion: weft.dev/v1
kind: Route
metadata: { namespace: shop, name: web }
spec:
  parentRefs: [{ name: web }]
  rules: [{ backendRefs: [{ name: web }], timeouts: { request: 3s } }]
";

/// What clients did, and how often they were failed.
#[derive(Debug, Default)]
struct Seen {
    writes: AtomicU64,
    sets: AtomicU64,
    reads: AtomicU64,
    names: AtomicU64,
}

/// Clients, and the one gateway that they leave alone because it restarts.
struct Clients<'a> {
    user: &'a User,
    hosts: Vec<(&'static str, String)>,
    restarts: AtomicUsize,
    over: AtomicBool,
    seen: Seen,
}

/// Nobody restarts.
const NONE: usize = usize::MAX;

impl Clients<'_> {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// The gateways that are not being restarted, in turn.
    fn next(&self, turn: u64) -> &(&'static str, String) {
        let count = self.hosts.len();
        let at = usize::try_from(turn).unwrap_or(0) % count;
        let taken = at == self.restarts.load(Ordering::SeqCst);
        &self.hosts[(at + usize::from(taken)) % count]
    }

    /// An operation that began while its gateway was about to be restarted counts for nothing.
    fn judged(&self, asked: &str, result: Result<()>) -> Result<bool> {
        let restarting = self.restarts.load(Ordering::SeqCst);
        let excused = restarting != NONE && self.hosts[restarting].0 == asked;
        match result {
            Ok(()) => Ok(true),
            Err(_) if excused => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&self) -> Result<Written> {
        let (mut turn, mut written) = (0, Written::new());
        let file = self.user.scratch().join("record.yaml");
        while self.goes_on() {
            turn += 1;
            let (cluster, _) = self.next(turn);
            let name = format!("record-{}", turn % RECORDS);
            let user = format!("viewer-{turn}");
            fs::write(&file, RECORD.replace("NAME", &name).replace("USER", &user))?;
            let path = file.to_str().context("a path in UTF-8")?;
            if turn % SET_EVERY == 0 {
                self.write_set(turn)?;
            }
            let ran = self
                .user
                .weft(["--cluster", cluster, "apply", "-f", path])?;
            if self.judged(cluster, ran.ok().map(|_| ()))? {
                self.seen.writes.fetch_add(1, Ordering::Relaxed);
                written.insert(name, user);
            } else {
                // It may have been written all the same.
                written.remove(&name);
            }
        }
        Ok(written)
    }

    /// A service, its route and its release, on one cluster after the other.
    fn write_set(&self, turn: u64) -> Result<()> {
        let (cluster, _) = self.next(turn / SET_EVERY);
        let name = format!("set-{}", turn / SET_EVERY % SETS);
        let file = self.user.scratch().join("set.yaml");
        let set = SET.replace("NAME", &name);
        fs::write(&file, set.replace("TURN", &(1000 + turn).to_string()))?;
        let path = file.to_str().context("a path in UTF-8")?;
        let apply = ["--cluster", cluster, "apply", "-f", path];
        let ran = self.user.weft(apply)?;
        if self.judged(cluster, ran.ok().map(|_| ()))? {
            self.seen.sets.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn read(&self) -> Result<()> {
        let mut turn = 0;
        while self.goes_on() {
            turn += 1;
            let (cluster, _) = self.next(turn);
            let get = [
                "--cluster",
                cluster,
                "get",
                "route",
                "-n",
                "shop",
                "--consistent",
                "-o",
                "name",
            ];
            let said = self.user.weft(get)?.ok();
            let held = said.and_then(|said| {
                ensure!(said.contains("web"), "{cluster} says {said:?}");
                Ok(())
            });
            if self.judged(cluster, held)? {
                self.seen.reads.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<()> {
        let mut turn = 0;
        while self.goes_on() {
            turn += 1;
            let (cluster, address) = self.next(turn);
            if self.judged(cluster, resolves(address))? {
                self.seen.names.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

fn resolves(address: &str) -> Result<()> {
    let server = format!("@{address}");
    let dig = [
        "dig",
        &server,
        "-p",
        "8653",
        "+time=5",
        "+tries=1",
        "+short",
        "web.shop.svc.clusterset.local",
    ];
    let said = run(&mut command(dig))?.ok()?;
    ensure!(said.starts_with("240."), "{address} says {said:?}");
    Ok(())
}

#[test]
fn gateways_are_replaced_one_by_one_and_nobody_is_failed() -> Result<()> {
    isolated(
        "gateways_are_replaced_one_by_one_and_nobody_is_failed",
        || {
            let new = weft_binary()?;
            let old = std::env::var_os(PREVIOUS).map_or(new.clone(), PathBuf::from);
            let minutes: u64 = std::env::var(MINUTES).map_or(Ok(0), |text| text.parse())?;
            let user = User::new()?;
            let mut hosts = vec![
                Host::new(&user, 1, "eu", "gw-1")?,
                Host::new(&user, 2, "us", "gw-1")?,
                Host::new(&user, 3, "ap", "gw-1")?,
            ];
            for host in &mut hosts {
                host.install(&old);
            }
            let (first, others) = hosts.split_first_mut().context("hosts")?;
            first.found(&user)?;
            first.start(&user)?;
            for host in others {
                host.join(&user, first)?;
                host.start(&user)?;
            }
            eventually("three vote", SOON, || vote(&user))?;
            let file = user.scratch().join("service.yaml");
            fs::write(&file, SERVICE)?;
            let path = file.to_str().context("a path in UTF-8")?;
            eventually("a service", SOON, || user.weft(["apply", "-f", path])?.ok())?;
            for host in &hosts {
                eventually("its name", SOON, || resolves(&host.address()))?;
                // So that the user knows each gateway before one of them is away.
                user.weft(["--cluster", host.cluster(), "status"])?;
            }
            let clients = Clients {
                user: &user,
                hosts: hosts
                    .iter()
                    .map(|it| (it.cluster(), it.address()))
                    .collect(),
                restarts: AtomicUsize::new(NONE),
                over: AtomicBool::new(false),
                seen: Seen::default(),
            };
            let written = scope(|scope| {
                let write = scope.spawn(|| clients.write());
                let read = scope.spawn(|| clients.read());
                let names = scope.spawn(|| clients.names());
                let replaced = (|| {
                    // Up, down again and up: while not all are new, none may write what the old cannot read.
                    for (at, program) in [(1, &new), (1, &old), (1, &new), (2, &new)] {
                        replace(&clients, &mut hosts, at, program)?;
                    }
                    together(Duration::from_secs(60 * minutes), || {
                        write.is_finished() || read.is_finished() || names.is_finished()
                    });
                    replace(&clients, &mut hosts, 0, &new)
                })();
                clients.over.store(true, Ordering::Relaxed);
                let failed = |what: &str| format!("a {what} was failed");
                let panicked = |_| anyhow::anyhow!("a client panicked");
                let written = write.join().map_err(panicked)?.context(failed("write"))?;
                read.join().map_err(panicked)?.context(failed("read"))?;
                names
                    .join()
                    .map_err(panicked)?
                    .context(failed("question"))?;
                replaced.map(|()| written)
            })?;
            for host in &hosts {
                eventually("it has all that was written", SOON, || {
                    has(&user, host.cluster(), &written)
                })?;
                let status = host.status(&user)?.to_string();
                for fault in ["WEFT-6035", "WEFT-6036", "WEFT-6004"] {
                    ensure!(!status.contains(fault), "{status}");
                }
            }
            let first = sets(&user, hosts[0].cluster())?;
            ensure!(first.iter().all(|of| of.contains("set-1")), "{first:?}");
            for host in &hosts {
                eventually("it has every set", SOON, || {
                    let here = sets(&user, host.cluster())?;
                    ensure!(here == first, "{here:?} and {first:?}");
                    Ok(())
                })?;
            }
            println!("{:?}", clients.seen);
            let seen = &clients.seen;
            for count in [&seen.writes, &seen.reads, &seen.names] {
                ensure!(count.load(Ordering::Relaxed) > 10, "{seen:?}");
            }
            ensure!(seen.sets.load(Ordering::Relaxed) > 1, "{seen:?}");
            Ok(())
        },
    )
}

/// Whether a cluster's gateway says of each record what was written last.
fn has(user: &User, cluster: &str, written: &Written) -> Result<()> {
    let get = [
        "--cluster",
        cluster,
        "get",
        "rolebinding",
        "--consistent",
        "-o",
        "json",
    ];
    let said = user.weft(get)?.json()?;
    let items = said["items"].as_array().context("items")?;
    let users = items.iter().map(|item| {
        let name = item["metadata"]["name"].as_str().unwrap_or_default();
        (name, &item["spec"]["users"])
    });
    let users: BTreeMap<_, _> = users.collect();
    for (name, user) in written {
        let held = users.get(name.as_str());
        ensure!(
            held.is_some_and(|held| held[0] == *user),
            "{name} is of {user}; {cluster} says {held:?}"
        );
    }
    Ok(())
}

/// What a cluster's gateway has of each part of the sets, by name.
fn sets(user: &User, cluster: &str) -> Result<[String; 3]> {
    let said = |words: &[&str]| user.weft([&["--cluster", cluster], words].concat())?.ok();
    Ok([
        said(&["service", "list", "-o", "name"])?,
        said(&["get", "route", "-n", "shop", "--consistent", "-o", "name"])?,
        said(&["get", "release", "-n", "shop", "--consistent", "-o", "name"])?,
    ])
}

fn vote(user: &User) -> Result<()> {
    let raft = user.weft(["raft", "members", "-o", "json"])?.json()?;
    let members = raft["members"].as_array().map_or(&[][..], Vec::as_slice);
    let votes = members.iter().filter(|it| it["role"] != "learner").count();
    let reached = members.iter().filter(|it| it["reachable"] == true).count();
    ensure!((votes, reached) == (3, 3), "{raft}");
    Ok(())
}

/// Restarts one on a build, and waits until it is a voter as before, seen from itself.
fn replace(
    clients: &Clients<'_>,
    hosts: &mut [Host],
    at: usize,
    program: &std::path::Path,
) -> Result<()> {
    let user = clients.user;
    clients.restarts.store(at, Ordering::SeqCst);
    let host = hosts.get_mut(at).context("a host")?;
    host.stop("TERM")?;
    host.install(program);
    host.start(user)?;
    eventually("it is back", SOON, || {
        let get = [
            "--cluster",
            host.cluster(),
            "get",
            "route",
            "-n",
            "shop",
            "--consistent",
        ];
        user.weft(get)?.ok()?;
        resolves(&host.address())
    })
    .with_context(|| host.said())?;
    // Before the next one goes, all three count again.
    eventually("three vote again", SOON, || vote(user))?;
    clients.restarts.store(NONE, Ordering::SeqCst);
    Ok(())
}

/// Lets them go on, unless a client has given up.
fn together(time: Duration, failed: impl Fn() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < time && !failed() {
        sleep(Duration::from_millis(200));
    }
}
