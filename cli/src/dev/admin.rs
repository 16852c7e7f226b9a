//! The admin commands that found a federation and admit its members, run as a user
//! would run them: by this program's own subcommands.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use weft_model::{ClusterName, Code, FederationDomain, RegionName, ServiceKey, code};

use super::{contexts, sys};
use crate::problem::Problem;

/// What the user's own shell says that must not reach our children.
pub(super) const FOREIGN_VARIABLES: &[&str] = &["WEFT_CONTEXT", "WEFT_CLUSTER", "WEFT_JOIN_TOKEN"];
/// How long one command may wait for an answer: a join crosses the emulated network.
const TIMEOUT: &str = "30s";

/// Runs admin commands.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    executable: PathBuf,
}

impl Admin {
    /// With this program's own executable.
    pub(super) fn new(executable: PathBuf) -> Self {
        Self { executable }
    }

    /// Founds the federation with its first gateway, and makes the context.
    pub(super) async fn found(
        &self,
        config: &Path,
        domain: &FederationDomain,
    ) -> Result<(), Problem> {
        let mut command = self.command(["cluster", "init", "--admin", "you"]);
        command.args(["--domain", domain.as_str(), "--save-as", contexts::NAME]);
        run(command.arg("--config").arg(config)).await.map(drop)
    }

    /// Makes a token that admits one gateway of a cluster.
    pub(super) async fn join_token(
        &self,
        cluster: &ClusterName,
        region: &RegionName,
    ) -> Result<String, Problem> {
        let mut command = self.command(["--context", contexts::NAME, "cluster", "token", "create"]);
        run(command.args(["--cluster", cluster.as_str(), "--region", region.as_str()])).await
    }

    /// Makes a gateway a member. The token is not shown in the list of processes.
    pub(super) async fn join(
        &self,
        address: &str,
        token: &str,
        config: &Path,
    ) -> Result<(), Problem> {
        let mut command = self.command(["cluster", "join", address]);
        run(command
            .arg("--config")
            .arg(config)
            .env("WEFT_JOIN_TOKEN", token))
        .await
        .map(drop)
    }

    /// Makes a token that gives a sidecar its first identity.
    pub(super) async fn workload_token(
        &self,
        cluster: &ClusterName,
        workload: &ServiceKey,
    ) -> Result<String, Problem> {
        let mut command =
            self.command(["--context", contexts::NAME, "--cluster", cluster.as_str()]);
        command.args(["identity", "token", "create", "--workload"]);
        run(command.arg(workload.to_string())).await
    }

    /// Applies a file of resources at a cluster.
    pub(super) async fn apply(&self, cluster: &ClusterName, file: &Path) -> Result<(), Problem> {
        let mut command =
            self.command(["--context", contexts::NAME, "--cluster", cluster.as_str()]);
        run(command.args(["apply", "-f"]).arg(file)).await.map(drop)
    }

    fn command<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = std::process::Command::new(&self.executable);
        command
            .args(["--timeout", TIMEOUT])
            .args(args)
            .stdin(Stdio::null());
        for name in FOREIGN_VARIABLES {
            command.env_remove(name);
        }
        sys::die_with_parent(&mut command);
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        command
    }
}

/// Runs a command, and gives what it printed, without the end of the line.
async fn run(command: &mut Command) -> Result<String, Problem> {
    let shown = shown(command);
    let output = command.output().await.map_err(|error| {
        Problem::new(code::FILE_UNREADABLE, format!("cannot run {shown}")).detail(error)
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Problem::new(
        code_in(&said).unwrap_or(code::PROCESS_FAILED),
        format!("{shown} failed"),
    )
    .detail(format!("{}\n{}", output.status, said.trim_end())))
}

/// `weft cluster init …`, as it could be typed.
fn shown(command: &Command) -> String {
    let args = command.as_std().get_args().map(OsStr::to_string_lossy);
    std::iter::once("weft".into())
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The code of the last problem that a program printed.
pub(super) fn code_in(text: &str) -> Option<Code> {
    text.rmatch_indices("WEFT-")
        .find_map(|(at, _)| text.get(at..at + 9).and_then(Code::find))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_printed_problem_is_found() {
        let said = Problem::new(code::PORT_IN_USE, "127.0.0.1:1 is in use").to_string();
        assert_eq!(code_in(&said), Some(code::PORT_IN_USE));
        assert_eq!(code_in("WEFT-"), None);
        assert_eq!(code_in("WEFT-12é34"), None);
    }

    #[tokio::test]
    async fn a_command_that_fails_says_what_it_was_and_said() {
        let admin = Admin::new("/bin/false".into());
        let problem = admin
            .apply(&"us-east-1".parse().unwrap(), Path::new("x.yaml"))
            .await
            .unwrap_err();
        assert!(
            problem
                .what
                .contains("weft --timeout 30s --context dev --cluster us-east-1 apply -f x.yaml")
        );
    }
}
