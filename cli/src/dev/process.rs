//! One child process: started, watched until it ends, told to stop.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use super::admin::FOREIGN_VARIABLES;
use super::sys;

/// What to start.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) executable: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) variables: Vec<(&'static str, &'static str)>,
    /// Where it works.
    pub(super) folder: PathBuf,
    /// Where its output goes, added to what is there.
    pub(super) log: PathBuf,
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// SIGTERM: it may finish what it does.
    Politely,
    /// SIGKILL: as if somebody pulled the plug.
    AtOnce,
}

/// A running child, or one that has ended. Dropping it kills.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    stops: mpsc::UnboundedSender<Stop>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts a program on the current thread, which must be the main one.
    pub(super) fn start(program: &Program) -> io::Result<Self> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&program.log)?;
        let mut command = std::process::Command::new(&program.executable);
        command
            .args(&program.args)
            .current_dir(&program.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .envs(program.variables.iter().copied())
            // A group of its own: Ctrl-C is for us, and we tell the children in order.
            .process_group(0);
        for name in FOREIGN_VARIABLES {
            command.env_remove(name);
        }
        sys::die_with_parent(&mut command);
        let child = Command::from(command).kill_on_drop(true).spawn()?;
        let pid = child
            .id()
            .expect("a child that was not waited for has an id");
        let (stops, stops_in) = mpsc::unbounded_channel();
        let (ended_out, ended) = watch::channel(None);
        tokio::spawn(watch_over(child, stops_in, ended_out));
        Ok(Self { pid, stops, ended })
    }

    /// Its id; of another process, perhaps, once it has ended.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub(super) fn outcome(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Asks it to stop; one that has ended does not mind.
    pub(super) fn stop(&self, how: Stop) {
        let _ended_before = self.stops.send(how);
    }

    /// Tells when it has ended.
    pub(super) fn end(&self) -> impl Future<Output = ()> + use<> {
        let mut ended = self.ended.clone();
        async move {
            // An error means that its watcher is gone, and the child with it.
            let _gone = ended.wait_for(Option::is_some).await;
        }
    }
}

/// The one owner of the child: signals are sent only while it has not been waited
/// for, so that they can never reach a stranger who got its id.
async fn watch_over(
    mut child: Child,
    mut stops: mpsc::UnboundedReceiver<Stop>,
    ended: watch::Sender<Option<ExitStatus>>,
) {
    loop {
        let stop = tokio::select! {
            status = child.wait() => {
                if let Ok(status) = status {
                    ended.send_replace(Some(status));
                }
                return;
            }
            stop = stops.recv() => stop,
        };
        let signal = match stop {
            Some(Stop::Politely) => libc::SIGTERM,
            // Its `Process` was dropped.
            Some(Stop::AtOnce) | None => libc::SIGKILL,
        };
        if let Some(pid) = child.id() {
            let _ending = sys::send_signal(pid, signal);
        }
        if stop.is_none() {
            let _reaped = child.wait().await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn shell(script: &str, folder: &Path) -> Program {
        Program {
            executable: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            variables: Vec::new(),
            folder: folder.into(),
            log: folder.join("log"),
        }
    }

    #[tokio::test]
    async fn a_process_that_ends_says_how_and_leaves_its_output() {
        let folder = tempfile::tempdir().unwrap();
        let process =
            Process::start(&shell("echo out; echo err >&2; exit 3", folder.path())).unwrap();
        process.end().await;
        assert_eq!(process.outcome().and_then(|status| status.code()), Some(3));
        assert_eq!(
            std::fs::read_to_string(folder.path().join("log")).unwrap(),
            "out\nerr\n"
        );
    }

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap '' TERM; echo up; while :; do sleep 1; done";
        let process = Process::start(&shell(script, folder.path())).unwrap();
        process.stop(Stop::Politely);
        process.stop(Stop::AtOnce);
        process.end().await;
        assert!(process.outcome().is_some_and(|status| !status.success()));
    }
}
