//! A host with one gateway, at a loopback address of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use weft_test_support::{Background, Ran, SOON, User, eventually, run, weft_binary};

/// One gateway and its folder.
pub struct Host {
    number: u8,
    cluster: &'static str,
    name: &'static str,
    folder: PathBuf,
    /// The build of `weft` that it runs.
    program: PathBuf,
    gateway: Option<Background>,
    runs: usize,
}

impl Host {
    /// Host `number` with the gateway `cluster/name`; nothing runs yet.
    pub fn new(user: &User, number: u8, cluster: &'static str, name: &'static str) -> Result<Self> {
        let folder = user.scratch().join(format!("host-{number}"));
        fs::create_dir(&folder)?;
        let (address, state) = (format!("127.9.{number}.1"), folder.join("state"));
        let text = format!(
            "apiVersion: weft.dev/v1
kind: GatewayConfig
metadata: {{ name: {name} }}
spec:
  cluster: {cluster}
  region: {cluster}-r
  stateDir: {}
  tunnel: {{ bind: \"{address}:7443\", advertise: \"{address}:7443\" }}
  api: {{ bind: \"{address}:7444\", advertise: \"{address}:7444\" }}
  relay: {{ bind: \"{address}:7445\" }}
  console: {{ bind: \"{address}:7480\" }}
  dns: {{ bind: \"{address}:8653\" }}
  virtualIPs: {{ ipv4: 240.{number}.0.0/16 }}
  standIn: {{ clients: false, inbound: {{ bind: \"{address}:7446\" }} }}
  drain: 1s
",
            state.display()
        );
        fs::write(folder.join("gateway.yaml"), text)?;
        Ok(Self {
            number,
            cluster,
            name,
            folder,
            program: weft_binary()?,
            gateway: None,
            runs: 0,
        })
    }

    /// Has it run another build from its next start on.
    pub fn install(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Its cluster.
    pub fn cluster(&self) -> &'static str {
        self.cluster
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.9.{}.1", self.number)
    }

    /// `cluster/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.cluster, self.name)
    }

    pub fn config(&self) -> String {
        self.folder.join("gateway.yaml").display().to_string()
    }

    /// Changes `from` to `to` in its gateway's configuration.
    pub fn configure(&self, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(self.config())?;
        ensure!(text.contains(from), "{text}");
        Ok(fs::write(self.config(), text.replace(from, to))?)
    }

    /// Where its gateway keeps what it is and knows.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Founds the federation here.
    pub fn found(&self, user: &User) -> Result<()> {
        let init = ["cluster", "init", "--domain", "fed.example.org", "--config"];
        let config = self.config();
        let words = init.iter().copied().chain([config.as_str()]);
        run(&mut user.command_of(&self.program, words))?.ok()?;
        Ok(())
    }

    /// Joins through `founder`, and waits until its vote is settled.
    pub fn join(&self, user: &User, founder: &Host) -> Result<()> {
        self.join_as(user, founder, "voter")
    }

    /// The same in a role.
    pub fn join_as(&self, user: &User, founder: &Host, role: &str) -> Result<()> {
        let region = format!("{}-r", self.cluster);
        let create = [
            "cluster",
            "token",
            "create",
            "--cluster",
            self.cluster,
            "--region",
            &region,
            "--role",
            role,
        ];
        let token = eventually("a token", SOON, || user.weft(create)?.ok())?;
        let address = format!("{}:7444", founder.address());
        let config = self.config();
        let join = [
            "cluster",
            "join",
            &address,
            "--config",
            &config,
            "--token",
            token.trim(),
        ];
        run(&mut user.command_of(&self.program, join))?.ok()?;
        Ok(())
    }

    /// Starts the gateway; it may not answer yet.
    pub fn start(&mut self, user: &User) -> Result<()> {
        self.runs += 1;
        let log = self.folder.join(format!("gateway-{}.log", self.runs));
        let config = self.config();
        let words = ["gateway", "run", "--config", &config];
        let mut run = user.command_of(&self.program, words);
        self.gateway = Some(Background::start(&mut run, &log)?);
        Ok(())
    }

    /// Starts it to see it end by itself, with this exit code and these words.
    pub fn refuses_to_start(&mut self, user: &User, code: i32, words: &str) -> Result<()> {
        let config = self.config();
        user.weft(["gateway", "run", "--config", &config])?
            .exits(code)?
            .says(words)?;
        Ok(())
    }

    /// Ends it by a signal.
    pub fn stop(&mut self, signal: &str) -> Result<()> {
        let mut gateway = self.gateway.take().context("it does not run")?;
        gateway.stop(signal)?;
        Ok(())
    }

    /// A command about this host's folder.
    pub fn weft(&self, user: &User, args: &[&str]) -> Result<Ran> {
        let config = self.config();
        user.weft(args.iter().copied().chain(["--config", config.as_str()]))
    }

    /// Asks this host's gateway how it stands.
    pub fn status(&self, user: &User) -> Result<serde_json::Value> {
        // Unhealthy is an answer too.
        let ran = user.weft(["--cluster", self.cluster, "status", "-o", "json"])?;
        ensure!(!ran.stdout.is_empty(), "{}", ran.stderr);
        Ok(serde_json::from_str(&ran.stdout)?)
    }

    /// What its gateway has said since it started.
    pub fn said(&self) -> String {
        let gateway = self.gateway.as_ref();
        gateway.map_or(String::new(), Background::said)
    }
}
