//! `weft sidecar run`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use weft_model::code;
use weft_proxy::enrolment::EnrolmentError;
use weft_proxy::{Config, Process, ProcessError, SidecarConfig, StartError};

use super::Outcome;
use crate::client::{dial_problem, problem as refusal};
use crate::document::read_config;
use crate::output;
use crate::problem::{Exit, Problem};

/// How long a stopping sidecar waits for running requests.
const DRAIN: Duration = Duration::from_secs(10);

/// Run a sidecar.
#[derive(Debug, Subcommand)]
pub(crate) enum Sidecar {
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

impl Sidecar {
    pub(crate) fn run(self) -> Outcome {
        let Self::Run {
            config: path,
            check_config,
        } = self;
        let file: SidecarConfig = read_config(&path, "SidecarConfig")?;
        let config = Config::try_from(file).map_err(|error| {
            Problem::new(code::WRONG_VALUE, format!("{}: {error}", path.display()))
        })?;
        if check_config {
            output::narrate(&format!("{} is sound", path.display()));
            return Ok(Exit::Done);
        }
        super::block_on(run(config))
    }
}

async fn run(config: Config) -> Outcome {
    let process = tokio::select! {
        started = Process::start(&config) => started.map_err(|error| problem(&error))?,
        // Nothing runs yet that would have to finish.
        _ = super::stop_signal() => return Ok(Exit::Done),
    };
    tracing::info!("the sidecar serves");
    tokio::spawn(crate::startup::release_pages());
    let signal = super::stop_signal().await;
    tracing::info!(signal, "draining");
    process.shutdown(DRAIN).await;
    Ok(Exit::Done)
}

fn problem(error: &ProcessError) -> Problem {
    let code = match error {
        ProcessError::Enrolment(EnrolmentError::Refused(status)) => return refusal(status),
        ProcessError::Enrolment(EnrolmentError::Dial(error)) => return dial_problem(error),
        ProcessError::Enrolment(EnrolmentError::Token(_)) => code::TOKEN_MALFORMED,
        ProcessError::Enrolment(EnrolmentError::OtherWorkload { .. }) => code::TOKEN_UNKNOWN,
        ProcessError::Enrolment(EnrolmentError::NoToken(_)) => code::NOT_MEMBER,
        ProcessError::Enrolment(
            EnrolmentError::TokenFile { .. } | EnrolmentError::State { .. },
        ) => code::FILE_UNREADABLE,
        ProcessError::Enrolment(EnrolmentError::KeyStore(_)) => code::KEY_UNREADABLE,
        ProcessError::Enrolment(_) => code::NOT_AN_SVID,
        ProcessError::Start(StartError::WrongUser { .. }) => code::WRONG_VALUE,
        ProcessError::Start(_) => code::PORT_IN_USE,
        ProcessError::Random(_) | ProcessError::Metrics(_) => code::FILE_UNREADABLE,
    };
    let problem = Problem::new(code, error.to_string());
    match std::error::Error::source(error) {
        Some(source) => problem.detail(source),
        None => problem,
    }
}
