//! The processes of a plan, and what is known about them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use weft_model::{ClusterName, code};

use super::admin::{self, Admin};
use super::folder::Folder;
use super::http;
use super::load::Load;
use super::options::Options;
use super::plan::{GatewayPlan, Plan, WorkloadPlan};
use super::process::{Process, Program, Stop};
use super::wide_area::WideArea;
use crate::problem::Problem;

/// How long a process may take to become ready; generous, since machines are busy.
const READY_WAIT: Duration = Duration::from_secs(60);
/// How long processes may take to end when they are asked politely.
const END_WAIT: Duration = Duration::from_secs(5);
/// Bytes at the end of a log that are shown when its process fails.
const LOG_TAIL: usize = 2000;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Ready { after: Duration },
    Stopping,
}

/// What is broken on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) clusters: BTreeSet<ClusterName>,
    /// Each as (lesser name, greater name).
    pub(super) links: BTreeSet<(ClusterName, ClusterName)>,
}

/// A running federation.
#[derive(Debug)]
pub(super) struct Federation {
    pub(super) plan: Plan,
    pub(super) options: Options,
    pub(super) folder: Folder,
    pub(super) admin: Admin,
    pub(super) load: Rc<Load>,
    pub(super) wide_area: Option<WideArea>,
    pub(super) phase: Cell<Phase>,
    pub(super) broken: RefCell<Broken>,
    pub(super) begun: Instant,
    executable: PathBuf,
    processes: RefCell<BTreeMap<String, Process>>,
}

impl Federation {
    /// With nothing running but the network between its regions.
    pub(super) async fn new(
        executable: PathBuf,
        options: Options,
        folder: Folder,
        begun: Instant,
    ) -> Result<Self, Problem> {
        let plan = Plan::new(&options);
        Ok(Self {
            admin: Admin::new(executable.clone()),
            load: Rc::new(Load::new(&plan)),
            wide_area: WideArea::start(&plan).await?,
            phase: Cell::new(Phase::Starting),
            broken: RefCell::default(),
            processes: RefCell::default(),
            plan,
            options,
            folder,
            begun,
            executable,
        })
    }

    /// Starts a gateway that is a member already.
    pub(super) fn start_gateway(&self, gateway: &GatewayPlan) -> Result<(), Problem> {
        let folder = self.folder.gateway(gateway);
        let config = folder.join("gateway.yaml").into();
        self.start(
            gateway.id(),
            &folder,
            ["gateway".into(), "run".into(), "--config".into(), config],
        )
    }

    /// Starts a sidecar.
    pub(super) fn start_sidecar(&self, workload: &WorkloadPlan) -> Result<(), Problem> {
        let folder = self.folder.workload(workload);
        let config = folder.join("sidecar.yaml").into();
        let args = ["sidecar".into(), "run".into(), "--config".into(), config];
        self.start(sidecar_of(workload), &folder, args)
    }

    /// Starts a sample service.
    pub(super) fn start_app(&self, workload: &WorkloadPlan) -> Result<(), Problem> {
        let cluster = self.plan.cluster(&workload.cluster);
        let region = cluster
            .map(|cluster| cluster.region.to_string())
            .unwrap_or_default();
        let flags = [
            ("--name", workload.service.name.to_string()),
            ("--version", workload.version.to_string()),
            ("--region", region),
            ("--listen", workload.app.to_string()),
            ("--proxy", workload.outbound.to_string()),
        ];
        let upstreams = workload
            .upstreams
            .iter()
            .map(|upstream| ("--upstream", (*upstream).to_owned()));
        let args = flags
            .into_iter()
            .chain(upstreams)
            .flat_map(|(flag, value)| [OsString::from(flag), OsString::from(value)]);
        let args: Vec<OsString> = std::iter::once("sample".into()).chain(args).collect();
        self.start(app_of(workload), &self.folder.workload(workload), args)
    }

    fn start(
        &self,
        id: String,
        folder: &Path,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<(), Problem> {
        self.folder.make(folder)?;
        let program = Program {
            executable: self.executable.clone(),
            args: args.into_iter().collect(),
            // Files that people read.
            variables: vec![("WEFT_LOG_FORMAT", "text")],
            folder: folder.to_owned(),
            log: self.folder.log(&id),
        };
        let process = Process::start(&program).map_err(|error| {
            Problem::new(code::FILE_UNREADABLE, format!("cannot start {id}")).detail(error)
        })?;
        self.processes.borrow_mut().insert(id, process);
        Ok(())
    }

    /// Waits until a process says at `/readyz` that it is ready.
    ///
    /// # Errors
    /// It ended, or a minute has passed: with the end of its log.
    pub(super) async fn until_ready(&self, id: &str, address: SocketAddr) -> Result<(), Problem> {
        self.until(id, READY_WAIT, http::until_success(address, "/readyz"))
            .await
    }

    /// Waits for `ready` while a process runs.
    async fn until(
        &self,
        id: &str,
        wait: Duration,
        ready: impl Future<Output = ()>,
    ) -> Result<(), Problem> {
        let Some(end) = self.processes.borrow().get(id).map(Process::end) else {
            return Err(self.not_ready(id, "was not started"));
        };
        tokio::select! {
            () = ready => Ok(()),
            () = end => Err(self.not_ready(id, &self.how_it_ended(id))),
            () = tokio::time::sleep(wait) => {
                Err(self.not_ready(id, &format!("did not become ready in {} s", wait.as_secs())))
            }
        }
    }

    fn not_ready(&self, id: &str, why: &str) -> Problem {
        let tail = tail(&self.folder.log(id));
        Problem::new(
            admin::code_in(&tail).unwrap_or(code::PROCESS_FAILED),
            format!("{id} {why}"),
        )
        .detail(tail)
        .next(format!("Its whole log: {}", self.folder.log(id).display()))
    }

    /// `ended: exit status 1`.
    pub(super) fn how_it_ended(&self, id: &str) -> String {
        let outcome = self.processes.borrow().get(id).and_then(Process::outcome);
        outcome.map_or_else(|| "ended".to_owned(), |status| format!("ended: {status}"))
    }

    /// The id of a process that runs.
    pub(super) fn pid(&self, id: &str) -> Option<u32> {
        let processes = self.processes.borrow();
        processes
            .get(id)
            .filter(|process| process.outcome().is_none())
            .map(Process::pid)
    }

    /// Processes that have ended, by id.
    pub(super) fn ended(&self) -> Vec<String> {
        let processes = self.processes.borrow();
        let ended = processes
            .iter()
            .filter(|(_, process)| process.outcome().is_some());
        ended.map(|(id, _)| id.clone()).collect()
    }

    /// Kills every process of a cluster, and waits until none is left.
    pub(super) async fn kill_cluster(&self, cluster: &ClusterName) {
        let prefix = format!("{cluster}/");
        let ends: Vec<_> = {
            let processes = self.processes.borrow();
            let of_it = processes.iter().filter(|(id, _)| id.starts_with(&prefix));
            of_it
                .map(|(_, process)| stop(process, Stop::AtOnce))
                .collect()
        };
        futures_util::future::join_all(ends).await;
    }

    /// Ends every process: politely, and after a while by force. Waits until none is left.
    pub(super) async fn stop_processes(&self) {
        let politely = self.stop_all(Stop::Politely);
        if tokio::time::timeout(END_WAIT, politely).await.is_err() {
            self.stop_all(Stop::AtOnce).await;
        }
        self.processes.borrow_mut().clear();
    }

    fn stop_all(&self, how: Stop) -> impl Future<Output = ()> + use<> {
        let ends: Vec<_> = self
            .processes
            .borrow()
            .values()
            .map(|process| stop(process, how))
            .collect();
        async move {
            futures_util::future::join_all(ends).await;
        }
    }
}

fn stop(process: &Process, how: Stop) -> impl Future<Output = ()> + use<> {
    process.stop(how);
    process.end()
}

/// The process id of a workload's sidecar.
pub(super) fn sidecar_of(workload: &WorkloadPlan) -> String {
    workload.id() + "/sidecar"
}

/// The process id of a workload itself.
pub(super) fn app_of(workload: &WorkloadPlan) -> String {
    workload.id() + "/app"
}

/// The end of a log, from the beginning of a line.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let from = text.len().saturating_sub(LOG_TAIL);
    let text = String::from_utf8_lossy(&text[from..]).into_owned();
    match text.split_once('\n') {
        Some((_, rest)) if from > 0 => rest.to_owned(),
        _ => text,
    }
}
