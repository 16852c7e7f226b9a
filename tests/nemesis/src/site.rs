//! A machine with one gateway: a namespace of its own, and a cable to whoever runs the test.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_test_support::{Background, Namespace, SOON, User, command, eventually, run, signal};

/// One gateway and its machine.
pub(crate) struct Site {
    /// The machine's name, and the cluster's of those that stay.
    pub(crate) name: String,
    number: usize,
    pub(crate) namespace: Namespace,
    gateway: Option<Background>,
    stopped: bool,
    runs: usize,
}

/// Where its wall clock stands, seconds beside the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skew(pub(crate) i64);

impl Site {
    /// The machine; nothing runs yet. `number` counts from 1.
    pub(crate) fn new(name: &str, number: usize, scratch: &Path) -> Result<Self> {
        let namespace = Namespace::new(name, scratch)?;
        let site = Self {
            name: name.to_owned(),
            number,
            namespace,
            gateway: None,
            stopped: false,
            runs: 0,
        };
        // Where the library that fakes the clock keeps what it shares, by process ids that are ours.
        site.namespace.sh("mount -t tmpfs tmpfs /dev/shm")?;
        site.cable()?;
        site.set_clock(Skew(0))?;
        Ok(site)
    }

    /// A way to its API that no fault touches, so that what clients are told is the gateway's
    /// own word.
    fn cable(&self) -> Result<()> {
        let (number, pid) = (self.number, self.namespace.pid());
        let address = self.address();
        let near = format!(
            "ip link add c{number} type veth peer name control netns {pid}
             ip address add 10.1.{number}.1/30 dev c{number}
             ip link set dev c{number} up
             ip route add {address} via 10.1.{number}.2"
        );
        run(&mut command(["sh", "-ec", &near]))?.ok()?;
        self.namespace.sh(&format!(
            "ip address add 10.1.{number}.2/30 dev control
             ip link set dev control up"
        ))?;
        Ok(())
    }

    /// Its address on every wire.
    pub(crate) fn address(&self) -> String {
        format!("198.51.100.{}", self.number)
    }

    /// Its gateway's API.
    pub(crate) fn api(&self) -> Result<SocketAddr> {
        Ok(format!("{}:7444", self.address()).parse()?)
    }

    /// An address on the wire to another machine.
    pub(crate) fn peer_with(&self, other: &Self) -> Result<()> {
        let (own, far, device) = (self.address(), other.address(), &other.name);
        self.namespace
            .sh(&format!("ip address add {own} peer {far} dev {device}"))?;
        Ok(())
    }

    /// A `gateway.yaml` for a new member, with an empty state folder.
    pub(crate) fn configure(&self, cluster: &str, region: &str) -> Result<()> {
        let (number, address) = (self.number, self.address());
        let state = self.namespace.scratch().join(format!("state-{cluster}"));
        let text = format!(
            "apiVersion: weft.dev/v1
kind: GatewayConfig
metadata: {{ name: gw-1 }}
spec:
  cluster: {cluster}
  region: {region}
  stateDir: {}
  tunnel: {{ bind: \"0.0.0.0:7443\", advertise: \"{address}:7443\" }}
  api: {{ bind: \"0.0.0.0:7444\", advertise: \"{address}:7444\" }}
  relay: {{ bind: \"127.0.0.1:7445\" }}
  console: {{ bind: \"0.0.0.0:7480\" }}
  dns: {{ bind: \"127.0.0.1:8653\" }}
  virtualIPs: {{ ipv4: 240.{number}.0.0/16 }}
  standIn: {{ clients: false, inbound: {{ bind: \"127.0.0.1:7446\" }} }}
  drain: 1s
",
            state.display()
        );
        fs::write(self.config(), text)?;
        Ok(())
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.namespace.scratch().join("gateway.yaml")
    }

    /// Starts the gateway; once more, perhaps. It may not answer yet.
    pub(crate) fn start(&mut self, user: &User) -> Result<()> {
        let config = self.config();
        let config = config.to_str().context("a path in UTF-8")?;
        let gateway = user.command(["gateway", "run", "--config", config]);
        // Set for the gateway alone: the library passes on to a program what it set up for the
        // one that started it.
        let mut faked = command(["env"]);
        faked
            .arg(format!("LD_PRELOAD={}", faketime()?.display()))
            .arg(format!(
                "FAKETIME_TIMESTAMP_FILE={}",
                self.clock().display()
            ))
            // Read again each second.
            .arg("FAKETIME_CACHE_DURATION=1")
            .arg("FAKETIME_DONT_FAKE_MONOTONIC=1")
            .arg(gateway.get_program())
            .args(gateway.get_args());
        for (key, value) in gateway.get_envs() {
            match value {
                Some(value) => faked.env(key, value),
                None => faked.env_remove(key),
            };
        }
        let mut inside = self.namespace.enclose(&faked);
        self.runs += 1;
        let log = self.namespace.scratch();
        let log = log.join(format!("gateway-{}.log", self.runs));
        self.gateway = Some(Background::start(&mut inside, &log)?);
        self.stopped = false;
        Ok(())
    }

    /// Kills the gateway, as if the machine had lost power.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.end("KILL")
    }

    /// Ends the gateway by a signal.
    pub(crate) fn end(&mut self, signal: &str) -> Result<()> {
        if let Some(mut gateway) = self.gateway.take() {
            gateway.stop(signal)?;
        }
        Ok(())
    }

    /// Stops the gateway without a word, or lets it go on.
    pub(crate) fn stop(&mut self, stopped: bool) -> Result<()> {
        if let Some(gateway) = &self.gateway {
            signal(gateway.pid(), if stopped { "STOP" } else { "CONT" })?;
            self.stopped = stopped;
        }
        Ok(())
    }

    /// Whether the gateway can answer.
    pub(crate) fn runs(&self) -> bool {
        self.gateway.is_some() && !self.stopped
    }

    /// An error if the gateway ended by itself.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        self.gateway.as_mut().map_or(Ok(()), Background::still_runs)
    }

    /// Sets the gateway's wall clock.
    pub(crate) fn set_clock(&self, Skew(seconds): Skew) -> Result<()> {
        // In one step: the gateway reads it at any time.
        let next = self.namespace.scratch().join("clock.next");
        fs::write(&next, format!("{seconds:+}\n"))?;
        fs::rename(next, self.clock())?;
        Ok(())
    }

    fn clock(&self) -> PathBuf {
        self.namespace.scratch().join("clock")
    }

    /// A number of its console's metrics.
    pub(crate) fn metric(&self, name: &str) -> Result<u64> {
        let url = format!("http://{}:7480/metrics", self.address());
        let mut curl = command(["curl", "-sS", "--max-time", "2", &url]);
        let text = run(&mut curl)?.ok()?;
        let prefix = format!("{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        Ok(line.with_context(|| format!("no {name}"))?.trim().parse()?)
    }

    /// Waits for the gateway's console to answer.
    pub(crate) fn await_up(&mut self) -> Result<()> {
        let name = self.name.clone();
        eventually(&format!("{name} answers"), SOON, || {
            self.still_runs()?;
            self.metric("weft_registry_applied_index").map(|_| ())
        })
    }

    /// The end of what its gateway has said since it last started.
    pub(crate) fn last_words(&self) -> String {
        let said = self.gateway.as_ref().map(Background::said);
        let said = said.unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

const LINES: usize = 12;

/// How long a gateway may take to do what it is asked.
pub(crate) const PROMPT: Duration = Duration::from_secs(2);

/// Debian's library that fakes the time of day.
fn faketime() -> Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib")?.filter_map(Result::ok);
    let mut found = folders
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .filter(|path| path.is_file());
    let found = found.next();
    ensure!(
        found.is_some(),
        "Debian's package faketime is not installed"
    );
    found.context("a library")
}
