//! `weft dev`, and the admin commands against it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::run::{Ran, run, run_within, weft_binary};
use crate::{Background, SOON, eventually};

/// How long a federation may take to come up on a busy machine.
pub(crate) const READY_WAIT: Duration = Duration::from_secs(180);
/// How long one `weft` may take.
const WEFT_WAIT: Duration = Duration::from_secs(90);
/// Lines of each log that are shown when a test fails.
const TAIL: usize = 25;

/// A running federation. Dropping it stops it.
#[derive(Debug)]
pub struct Dev {
    process: Background,
    user: User,
}

/// One user's `weft`: folders of their own, so that it meets no other.
#[derive(Debug)]
pub struct User {
    folder: TempDir,
    binary: PathBuf,
}

/// A gateway, as `weft dev status` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its process; none while it does not run.
    pub pid: Option<u32>,
    /// UDP, `host:port`; so are the others, TCP.
    pub tunnel: String,
    /// gRPC.
    pub api: String,
    /// UDP and TCP.
    pub dns: String,
    /// Console, metrics and health.
    pub console: String,
}

/// A workload, as `weft dev status` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its process; none while it does not run.
    pub pid: Option<u32>,
    /// Where it listens itself.
    pub address: String,
    /// Its sidecar's HTTP proxy.
    pub outbound: String,
    /// Its sidecar's health and metrics.
    pub admin: String,
}

impl Dev {
    /// Starts `weft dev` with further arguments, waits until it is ready, and has a test
    /// use it. If that fails, the ends of all logs are printed.
    ///
    /// # Errors
    /// It did not become ready, or what the test returned.
    pub fn with(args: &[&str], test: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let mut dev = Self::launch(args)?;
        let outcome = dev.until_ready().and_then(|()| test(&mut dev));
        if outcome.is_err() {
            dev.print_logs();
        }
        outcome
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// It ended, or did not become ready; with what it said.
    pub fn until_ready(&mut self) -> Result<()> {
        eventually("weft dev is ready", READY_WAIT, || {
            match self.process.still_runs() {
                // Ended: looking on would change nothing.
                Err(ended) => Ok(Err(ended)),
                Ok(()) => match self.status()?["ready"].as_bool() {
                    Some(true) => Ok(Ok(())),
                    _ => bail!("not ready"),
                },
            }
        })?
    }

    /// Starts it, and waits for nothing.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(args: &[&str]) -> Result<Self> {
        let user = User::new()?;
        let process = user.dev(args)?;
        Ok(Self { process, user })
    }

    /// Who started it.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Starts it again in the same folder, and waits for nothing.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn relaunch(&mut self, args: &[&str]) -> Result<()> {
        self.process = self.user.dev(args)?;
        Ok(())
    }

    /// Its own process.
    pub fn process(&mut self) -> &mut Background {
        &mut self.process
    }

    /// A folder for what the test makes; others may enter, it goes with the federation.
    pub fn scratch(&self) -> &Path {
        self.user.scratch()
    }

    /// Its configuration, state and logs.
    pub fn folder(&self) -> PathBuf {
        self.user.federation()
    }

    /// A `weft` of the same user, not run yet.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.user.command(args)
    }

    /// Runs a `weft` of the same user.
    ///
    /// # Errors
    /// It did not end. However it ends by itself is no error: see [`Ran`].
    pub fn weft<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Ran> {
        self.user.weft(args)
    }

    /// Applies resources at a cluster.
    ///
    /// # Errors
    /// They were refused.
    pub fn apply(&self, cluster: &str, resources: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::with_suffix_in(".yaml", self.scratch())?;
        fs::write(file.path(), resources)?;
        let path = file.path().display().to_string();
        self.weft(["--cluster", cluster, "apply", "-f", &path])?
            .ok()?;
        Ok(())
    }

    /// `weft dev status -o json`; it is not ready, perhaps.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn status(&self) -> Result<Value> {
        let ran = self.weft(["dev", "status", "-o", "json"])?;
        serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))
    }

    /// A gateway, as it is now.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn gateway(&self, cluster: &str, name: &str) -> Result<Gateway> {
        let status = self.status()?;
        let gateway = find(&status, cluster, "gateways", |gateway| {
            gateway["name"] == name
        })?;
        Ok(Gateway {
            pid: pid(gateway),
            tunnel: text(gateway, "tunnel")?,
            api: text(gateway, "api")?,
            dns: text(gateway, "dns")?,
            console: text(gateway, "console")?,
        })
    }

    /// A workload, as it is now: the first of that service.
    ///
    /// # Errors
    /// There is none of that service.
    pub fn workload(&self, cluster: &str, service: &str) -> Result<Workload> {
        let status = self.status()?;
        let workload = find(&status, cluster, "workloads", |workload| {
            workload["service"] == service
        })?;
        Ok(Workload {
            pid: pid(workload),
            address: text(workload, "address")?,
            outbound: text(workload, "outbound")?,
            admin: text(workload, "admin")?,
        })
    }

    /// Its gateways and sidecars that run, by name.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn processes(&self) -> Result<BTreeMap<String, u32>> {
        let status = self.status()?;
        let mut processes = BTreeMap::new();
        for cluster in list(&status["clusters"]) {
            let named = text(cluster, "name")?;
            for gateway in list(&cluster["gateways"]) {
                let name = format!("{named}/{}", text(gateway, "name")?);
                processes.extend(pid(gateway).map(|pid| (name, pid)));
            }
            for workload in list(&cluster["workloads"]) {
                let version = workload["version"].as_str().unwrap_or_default();
                let name = format!("{named}/{} {version}", text(workload, "service")?);
                let sidecar = workload["sidecarPid"].as_u64();
                let sidecar = sidecar.and_then(|pid| u32::try_from(pid).ok());
                processes.extend(sidecar.map(|pid| (name, pid)));
            }
        }
        Ok(processes)
    }

    /// Ids of all its processes that run: its own, gateways and workloads.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn pids(&self) -> Result<Vec<u32>> {
        let status = self.status()?;
        let mut pids = vec![self.process.pid()];
        for cluster in list(&status["clusters"]) {
            for process in list(&cluster["gateways"])
                .iter()
                .chain(list(&cluster["workloads"]))
            {
                pids.extend(pid(process));
                pids.extend(
                    process["sidecarPid"]
                        .as_u64()
                        .and_then(|pid| u32::try_from(pid).ok()),
                );
            }
        }
        Ok(pids)
    }

    /// Changes the spec of a cluster, as an administrator; what belongs to a later format level once
    /// that is in force.
    ///
    /// # Errors
    /// There is no such cluster, or the change is refused.
    pub fn change_cluster(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut clusters = self.weft(["get", "clusters", "-o", "json"])?.json()?;
        let items = clusters["items"].as_array_mut().context("items")?;
        let mut named = items.iter_mut();
        let found = named.find(|item| item["metadata"]["name"] == name);
        let record = found.with_context(|| format!("no cluster {name}"))?;
        if let Some(record) = record.as_object_mut() {
            record.remove("status");
        }
        change(&mut record["spec"]);
        let record = record.to_string();
        eventually("the level of the log is reached", SOON, || {
            self.apply(name, &record)
        })
    }

    /// An HTTP GET by curl through a workload's sidecar; the body.
    ///
    /// # Errors
    /// Another status than 2xx, or none.
    pub fn curl(&self, workload: &Workload, url: &str) -> Result<String> {
        let proxy = format!("http://{}", workload.outbound);
        let args = [
            "--silent",
            "--show-error",
            "--fail-with-body",
            "--max-time",
            "20",
            "--proxy",
        ];
        run(Command::new("curl").args(args).arg(proxy).arg(url))?.ok()
    }
}

impl Dev {
    #[expect(
        clippy::print_stdout,
        reason = "the test program captures and shows it"
    )]
    fn print_logs(&self) {
        println!("---- weft dev\n{}", self.process.said());
        let Ok(entries) = fs::read_dir(self.folder().join("logs")) else {
            return;
        };
        let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        logs.sort();
        for log in logs {
            let text = fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(TAIL);
            println!("---- {}\n{}", log.display(), lines[from..].join("\n"));
        }
    }
}

impl User {
    /// A user who has not used it before.
    ///
    /// # Errors
    /// `WEFT_BIN` is not set, or there is no room for temporary folders.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("weft-e2e-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()?;
        for name in ["run", "config"] {
            fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self {
            folder,
            binary: weft_binary()?,
        })
    }

    fn federation(&self) -> PathBuf {
        self.folder.path().join("dev")
    }

    fn dev(&self, args: &[&str]) -> Result<Background> {
        let mut command = self.command(["dev", "--dir"]);
        command.arg(self.federation()).args(args);
        Background::start(&mut command, &self.scratch().join("dev.log"))
    }

    /// A folder for what the test makes.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Runs their `weft`.
    ///
    /// # Errors
    /// It did not end. However it ends by itself is no error: see [`Ran`].
    pub fn weft<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Ran> {
        run_within(&mut self.command(args), WEFT_WAIT)
    }

    /// Their `weft`, not run yet.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.command_of(&self.binary, args)
    }

    /// The same of another build of it.
    pub fn command_of<S: AsRef<OsStr>>(
        &self,
        binary: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(binary);
        command.args(args).current_dir(self.folder.path());
        self.settle(&mut command);
        command
    }

    /// Has a command, be it a shell, find their `weft` on its `PATH`.
    ///
    /// # Errors
    /// The binary is not called `weft`.
    pub fn surround(&self, command: &mut Command) -> Result<()> {
        let bin = match (self.binary.file_name(), self.binary.parent()) {
            (Some(name), Some(folder)) if name == "weft" => folder,
            _ => bail!("{} is not called weft", self.binary.display()),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders)?);
        self.settle(command);
        Ok(())
    }

    fn settle(&self, command: &mut Command) {
        command
            .env("XDG_RUNTIME_DIR", self.folder.path().join("run"))
            .env("WEFT_CONFIG_DIR", self.folder.path().join("config"))
            .env_remove("WEFT_CONTEXT")
            .env_remove("WEFT_CLUSTER");
    }
}

fn find<'a>(
    status: &'a Value,
    cluster: &str,
    kind: &str,
    is_it: impl Fn(&Value) -> bool,
) -> Result<&'a Value> {
    let clusters = list(&status["clusters"]);
    let cluster = clusters
        .iter()
        .find(|found| found["name"] == cluster)
        .context("no such cluster")?;
    list(&cluster[kind])
        .iter()
        .find(|found| is_it(found))
        .with_context(|| format!("none such: {cluster}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> Result<String> {
    value[key]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("no {key} in {value}"))
}

fn pid(value: &Value) -> Option<u32> {
    value["pid"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok())
}
