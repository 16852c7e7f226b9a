//! `weft gateway …`: the process, and its end in the federation.

use std::path::PathBuf;

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use weft_gateway::config::GatewayConfigFile;
use weft_gateway::{ClampFileError, Gateway as Process, GatewayError};
use weft_model::{Command, NodeId, code};

use super::{Outcome, consent};
use crate::args::Global;
use crate::client::Client;
use crate::complete;
use crate::document::read_config;
use crate::membership::{io_code, membership_problem};
use crate::output;
use crate::problem::{Exit, Problem};

/// Run a gateway, or remove one.
#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    /// Run until told to stop; SIGTERM and Ctrl-C drain first.
    Run {
        /// Its configuration.
        #[arg(long, value_name = "FILE", env = "WEFT_CONFIG")]
        config: PathBuf,
        /// Check the configuration and exit.
        #[arg(long)]
        check_config: bool,
    },
    /// Remove one whose host is gone, or that is to be replaced: its vote and its id never return.
    Remove {
        /// The gateway: `cluster/gateway`, or its node id.
        #[arg(add = ArgValueCandidates::new(complete::gateways))]
        gateway: String,
        /// Go on without asking.
        #[arg(long)]
        yes: bool,
    },
}

impl Gateway {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Run {
                config,
                check_config,
            } => Self::serve(config, check_config),
            Self::Remove { gateway, yes } => super::block_on(remove(global, &gateway, yes)),
        }
    }

    fn serve(config: PathBuf, check_config: bool) -> Outcome {
        let file: GatewayConfigFile = read_config(&config, "GatewayConfig")?;
        if check_config {
            output::narrate(&format!("{} is sound", config.display()));
            return Ok(Exit::Done);
        }
        super::block_on(run(file))
    }
}

async fn remove(global: &Global, name: &str, yes: bool) -> Outcome {
    let mut client = Client::connect(global).await?;
    let status = client.status(false).await?;
    let target = super::raft::find(&status, name)?;
    let full = super::raft::full_name(target);
    let votes = match target.role.as_str() {
        "learner" | "follower" => "it has no vote",
        _ => "its vote goes to another gateway, if one can take it",
    };
    output::tell(&format!("{full} is node {}: {votes}", target.node));
    let workloads = match target.reachable {
        true => "its sidecars go to the other gateways of its cluster; end it once it is removed",
        false => "it is not reached from here; if it runs still, it will find that it was removed",
    };
    output::tell(workloads);
    consent("its name", &full, yes)?;
    let node = NodeId(target.node);
    let index = client
        .submit(Command::RemoveGateway(node), None, false)
        .await?;
    output::narrate(&format!("{full} removed at index {index}"));
    Ok(Exit::Done)
}

async fn run(file: GatewayConfigFile) -> Outcome {
    let begun = std::time::Instant::now();
    let gateway = Process::start(file)
        .await
        .map_err(|error| problem(&error))?;
    let applied = gateway.hub().registry().applied();
    tracing::info!(
        after_ms = begun.elapsed().as_millis(),
        index = %applied.index,
        age_ms = applied.age.as_millis(),
        "the gateway serves"
    );
    tokio::spawn(crate::startup::release_pages());
    tokio::select! {
        signal = super::stop_signal() => {
            tracing::info!(signal, "draining");
            gateway.shutdown().await;
            Ok(Exit::Done)
        }
        error = gateway.failed() => Err(problem(&error)),
    }
}

fn problem(error: &GatewayError) -> Problem {
    let source = std::error::Error::source(error).map(ToString::to_string);
    let code = match error {
        GatewayError::Membership(error) => return membership_problem(error),
        GatewayError::Registry(weft_registry::StartError::Disk(error)) => disk_code(error),
        GatewayError::Registry(_) | GatewayError::Founding(_) => code::CORRUPT_STATE,
        GatewayError::Clamps(ClampFileError::Read { source, .. }) => io_code(source),
        GatewayError::Clamps(ClampFileError::Damaged { .. }) => code::CLAMPS_DAMAGED,
        GatewayError::Disk(_) => code::DISK,
        GatewayError::Io { source, .. } => io_code(source),
        GatewayError::Zone { .. } | GatewayError::LeaveOnStop => code::WRONG_VALUE,
        GatewayError::Metrics(_) => code::FILE_UNREADABLE,
        GatewayError::Tunnels(_)
        | GatewayError::Api(_)
        | GatewayError::Relay(_)
        | GatewayError::Dns(_)
        | GatewayError::StandIn(_)
        | GatewayError::Console { .. } => code::PORT_IN_USE,
    };
    let problem = Problem::new(code, error.to_string());
    match source {
        Some(source) => problem.detail(source),
        None => problem,
    }
}

pub(crate) fn disk_code(error: &weft_registry::disk::DiskError) -> weft_model::Code {
    use weft_registry::disk::DiskError;
    match error {
        DiskError::Foreign { .. } => code::FOREIGN_STATE,
        DiskError::Open { .. } => code::FILE_UNREADABLE,
        DiskError::Full { .. } => code::NO_SPACE,
        DiskError::InUse { .. } => code::STATE_IN_USE,
        DiskError::Write(_) => code::DISK,
        DiskError::Empty { .. }
        | DiskError::Occupied { .. }
        | DiskError::Format { .. }
        | DiskError::Damaged { .. } => code::CORRUPT_STATE,
    }
}
