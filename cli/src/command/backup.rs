//! `weft backup …`: the registry in a file.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use weft_gateway::config::GatewayConfigFile;
use weft_gateway::membership::Membership;
use weft_model::code;
use weft_registry::Backup as File;

use super::raft::{folder, recover_problem};
use super::{Outcome, consent};
use crate::args::Global;
use crate::client::Client;
use crate::document::read_config;
use crate::membership::{io_code, membership_problem};
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// Keep the registry in a file.
#[derive(Debug, Subcommand)]
pub(crate) enum Backup {
    /// Write all that is committed now to a file. It holds no private key.
    Create {
        /// The file, which must not exist.
        file: PathBuf,
    },
    /// Say what a file holds, and whether it is sound.
    Inspect {
        /// The file.
        file: PathBuf,
    },
    /// Found the registry anew from a file, on this host's gateway.
    ///
    /// For when no gateway's registry is left; while one is, `weft raft recover` loses less. The gateway
    /// must have its identity still (member.pb and keys in its stateDir), and no registry beside it. It
    /// votes alone then. What was committed after the backup is lost.
    Restore {
        /// The file.
        file: PathBuf,
        /// The gateway's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Go on without asking.
        #[arg(long)]
        yes: bool,
    },
}

impl Backup {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Create { file } => super::block_on(create(global, &file)),
            Self::Inspect { file } => {
                inspect(&read(&file)?, global.output);
                Ok(Exit::Done)
            }
            Self::Restore { file, config, yes } => restore(&file, &config, yes),
        }
    }
}

async fn create(global: &Global, path: &Path) -> Outcome {
    let mut client = Client::connect(global).await?;
    let bytes = client.backup().await?;
    // What arrived is judged before it counts as kept.
    let backup = decode(path, &bytes)?;
    write(path, &bytes)?;
    output::narrate(&format!(
        "{} holds the registry up to index {} ({} bytes). Private keys are not in it: keep a copy of each\n\
         gateway's member.pb and keys as well, in a safe place",
        path.display(),
        backup.image.index,
        bytes.len()
    ));
    Ok(Exit::Done)
}

/// Whole and on the disk, or not there.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let mut open = OpenOptions::new();
    let opened = open.write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| {
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if written.is_err() {
            // Half a backup is none.
            let _ = std::fs::remove_file(path);
        }
        written
    });
    written.map_err(|error| {
        let what = format!("{} cannot be written", path.display());
        Problem::new(io_code(&error), what).detail(error)
    })
}

fn inspect(backup: &File, format: Format) {
    let state = &backup.image.state;
    let time = crate::clock::rfc3339(backup.time);
    let counts = [
        ("clusters", state.clusters().count()),
        ("gateways", state.nodes().count()),
        ("exports", state.exports().count()),
        ("releases", state.releases().count()),
    ];
    match format {
        Format::Json | Format::Yaml => {
            let mut document = json!({
                "domain": backup.domain, "index": backup.image.index, "time": time,
            });
            for (what, count) in counts {
                document[what] = count.into();
            }
            output::document(format, &document);
        }
        Format::Name => output::data(backup.domain.as_str()),
        Format::Table | Format::Wide => output::table(
            &[
                "FEDERATION",
                "INDEX",
                "TAKEN",
                "CLUSTERS",
                "GATEWAYS",
                "EXPORTS",
                "RELEASES",
            ],
            [[
                backup.domain.to_string(),
                backup.image.index.to_string(),
                time,
            ]
            .into_iter()
            .chain(counts.map(|(_, count)| count.to_string()))
            .collect()],
        ),
    }
}

fn restore(file: &Path, config: &Path, yes: bool) -> Outcome {
    let backup = read(file)?;
    let folder = folder(config)?;
    let config: GatewayConfigFile = read_config(config, "GatewayConfig")?;
    let membership = Membership::open(&config).map_err(|error| membership_problem(&error))?;
    if membership.domain != backup.domain {
        let what = format!(
            "the backup is of {}, this gateway is of {}",
            backup.domain, membership.domain
        );
        return Err(Problem::new(code::FOREIGN_STATE, what));
    }
    let name = format!("{}/{}", membership.cluster, membership.gateway);
    output::tell(&format!(
        "{name} gets the registry as it was at index {}, taken at {}, and votes alone",
        backup.image.index,
        crate::clock::rfc3339(backup.time)
    ));
    output::tell("what was committed after that is lost");
    consent("the federation's domain", backup.domain.as_str(), yes)?;
    let at = backup
        .restore(&folder, membership.node)
        .map_err(|error| recover_problem(&error))?;
    output::narrate(&format!("the registry is founded anew at index {at}"));
    output::narrate(
        "next: start this gateway, then the others; `weft raft members` shows who votes",
    );
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<File, Problem> {
    let bytes = std::fs::read(path).map_err(|error| {
        let what = format!("{} cannot be read", path.display());
        Problem::new(code::FILE_UNREADABLE, what).detail(error)
    })?;
    decode(path, &bytes)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<File, Problem> {
    File::decode(bytes).map_err(|error| {
        let what = format!("{} is no sound backup", path.display());
        Problem::new(code::NOT_A_BACKUP, what).detail(error)
    })
}
