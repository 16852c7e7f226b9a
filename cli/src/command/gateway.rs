//! `weft gateway run`.

use std::path::PathBuf;

use clap::Subcommand;
use weft_gateway::config::GatewayConfigFile;
use weft_gateway::{ClampFileError, Gateway as Process, GatewayError};
use weft_model::code;

use super::Outcome;
use crate::document::read_config;
use crate::membership::{io_code, membership_problem};
use crate::output;
use crate::problem::{Exit, Problem};

/// Run a gateway.
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
}

impl Gateway {
    pub(crate) fn run(self) -> Outcome {
        let Self::Run {
            config,
            check_config,
        } = self;
        let file: GatewayConfigFile = read_config(&config, "GatewayConfig")?;
        if check_config {
            output::narrate(&format!("{} is sound", config.display()));
            return Ok(Exit::Done);
        }
        super::block_on(run(file))
    }
}

async fn run(file: GatewayConfigFile) -> Outcome {
    let gateway = Process::start(file)
        .await
        .map_err(|error| problem(&error))?;
    tracing::info!("the gateway serves");
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
        GatewayError::Zone { .. } => code::WRONG_VALUE,
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

fn disk_code(error: &weft_registry::disk::DiskError) -> weft_model::Code {
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
