//! Three clusters of one gateway each on loopback: the smallest federation whose registry outlives
//! a gateway.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::runtime::Runtime;
use weft_test_support::{Background, SOON, User, command, eventually, run};

use crate::operator::{Credentials, Operator};

/// How long a connection and an answer about the group may take.
const DIAL: Duration = Duration::from_secs(2);
/// How long a killed process may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// The gateways by number, 1 to 3; all of them vote.
pub const GATEWAYS: std::ops::RangeInclusive<usize> = 1..=3;

/// Their processes, and who may write.
pub struct Trio {
    user: User,
    gateways: Vec<Option<Background>>,
    credentials: Arc<Credentials>,
}

impl Trio {
    /// Founds the federation, and waits until all three vote.
    ///
    /// # Errors
    /// Anything went wrong.
    pub fn start(runtime: &Runtime) -> Result<Self> {
        let user = User::new()?;
        let config = configure(&user, 1)?;
        let domain = ["--domain", "fed.example.org", "--admin", "ana"];
        let init = [&["cluster", "init", "--config", &config][..], &domain].concat();
        user.weft(init)?.ok()?;
        let gateways = GATEWAYS.map(|_| None).collect();
        let first = launch(&user, 1, &[])?;
        let credentials = Credentials::load(&user.scratch().join("config"))?;
        let mut trio = Self {
            user,
            gateways,
            credentials: Arc::new(credentials),
        };
        trio.gateways[0] = Some(first);
        for number in GATEWAYS.skip(1) {
            trio.join(number)?;
        }
        let status = eventually("three vote", SOON, || {
            let status = runtime.block_on(trio.access().status(1))?;
            let members = status["raft"]["members"].as_array().context("members")?;
            let voting = members.iter().filter(|member| member["role"] != "learner");
            ensure!(voting.count() == trio.gateways.len(), "{members:?}");
            Ok(status)
        })?;
        let credentials = Arc::get_mut(&mut trio.credentials).context("nobody else has it")?;
        credentials.learn(&status)?;
        Ok(trio)
    }

    fn join(&mut self, number: usize) -> Result<()> {
        let (name, region) = (cluster(number), format!("r{number}"));
        let create = ["cluster", "token", "create", "--cluster", &name];
        let create = [&create[..], &["--region", &region]].concat();
        let token = eventually("a token", SOON, || self.user.weft(create.clone())?.ok())?;
        let token = token.lines().next().context("a token")?.trim();
        let (founder, config) = (api(1)?.to_string(), configure(&self.user, number)?);
        let join = ["cluster", "join", &founder, "--config", &config];
        let join = [&join[..], &["--token", token]].concat();
        self.user.weft(join)?.ok()?;
        self.gateways[number - 1] = Some(launch(&self.user, number, &[])?);
        Ok(())
    }

    /// The processes that run.
    pub fn pids(&self) -> Vec<u32> {
        let running = self.gateways.iter().flatten();
        running.map(Background::pid).collect()
    }

    /// A gateway's process.
    ///
    /// # Errors
    /// It does not run.
    pub fn gateway(&mut self, number: usize) -> Result<&mut Background> {
        let gateway = self.gateways.get_mut(number - 1);
        gateway.and_then(Option::as_mut).context("it runs")
    }

    /// Kills these at the same time, and waits until they are gone.
    ///
    /// # Errors
    /// One does not run.
    pub fn kill(&mut self, numbers: &[usize]) -> Result<()> {
        let mut kill = command(["sh", "-c", "kill -s KILL \"$@\"", "sh"]);
        for number in numbers {
            kill.arg(self.gateway(*number)?.pid().to_string());
        }
        run(&mut kill)?.ok()?;
        for number in numbers {
            self.gateway(*number)?.wait_within(GONE)?;
            self.gateways[number - 1] = None;
        }
        Ok(())
    }

    /// Starts a gateway that does not run in its old folder, as an argument of `under`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn revive(&mut self, number: usize, under: &[&str]) -> Result<()> {
        self.gateways[number - 1] = None;
        self.gateways[number - 1] = Some(launch(&self.user, number, under)?);
        Ok(())
    }

    /// Who may connect to them.
    pub fn access(&self) -> Access {
        Access(Arc::clone(&self.credentials))
    }

    /// What every gateway that runs has said since it started.
    pub fn last_words(&self) -> String {
        let running = self.gateways.iter().flatten();
        running
            .map(Background::said)
            .collect::<Vec<_>>()
            .join("----\n")
    }
}

/// An operator of the federation, whichever of its gateways run.
#[derive(Debug, Clone)]
pub struct Access(Arc<Credentials>);

impl Access {
    /// Connects to a gateway.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn connect(&self, number: usize) -> Result<Operator> {
        let cluster = cluster(number);
        self.0.connect(&cluster, api(number)?, DIAL).await
    }

    async fn status(&self, number: usize) -> Result<Value> {
        self.connect(number).await?.within(DIAL).status().await
    }

    /// The number of the gateway that leads, as another one has it.
    ///
    /// # Errors
    /// It does not answer, or knows of none.
    pub async fn leader(&self, asked: usize) -> Result<usize> {
        let status = self.status(asked).await?;
        let raft = &status["raft"];
        let members = raft["members"].as_array().context("members")?;
        let leads = |member: &&Value| member["node"] == raft["leader"];
        let name = members.iter().find(leads).map(|member| &member["cluster"]);
        let name = name.and_then(Value::as_str).context("a leader")?;
        let number = GATEWAYS.clone().find(|number| cluster(*number) == name);
        number.context("one of the three")
    }
}

/// The name of a gateway's cluster.
pub fn cluster(number: usize) -> String {
    format!("w{number}")
}

fn address(number: usize) -> String {
    format!("127.82.0.{number}")
}

fn api(number: usize) -> Result<SocketAddr> {
    Ok(format!("{}:7444", address(number)).parse()?)
}

fn folder(user: &User, number: usize) -> PathBuf {
    user.scratch().join(cluster(number))
}

/// Writes its `gateway.yaml`; the path.
fn configure(user: &User, number: usize) -> Result<String> {
    let (folder, address) = (folder(user, number), address(number));
    fs::create_dir_all(&folder)?;
    let config = folder.join("gateway.yaml");
    let state = folder.join("state");
    let text = format!(
        "apiVersion: weft.dev/v1
kind: GatewayConfig
metadata: {{ name: gw-1 }}
spec:
  cluster: w{number}
  region: r{number}
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
    fs::write(&config, text)?;
    Ok(config.to_str().context("a path in UTF-8")?.to_owned())
}

fn launch(user: &User, number: usize, under: &[&str]) -> Result<Background> {
    let folder = folder(user, number);
    let config = folder.join("gateway.yaml");
    let config = config.to_str().context("a path in UTF-8")?;
    let own = user.command(["gateway", "run", "--config", config]);
    let words = under.iter().map(AsRef::as_ref);
    let words = words.chain([own.get_program()]).chain(own.get_args());
    let mut gateway = command(words);
    for (key, value) in own.get_envs() {
        match value {
            Some(value) => gateway.env(key, value),
            None => gateway.env_remove(key),
        };
    }
    Background::start(&mut gateway, &folder.join("gateway.log"))
}
