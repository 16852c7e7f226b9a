//! `weft dev …`: a whole federation on this machine.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use weft_model::ClusterName;

use super::Outcome;
use crate::args::{Global, parse_duration, parse_lifetime};
use crate::complete;
use crate::dev::{self, GATEWAYS_MAX, Home, Options, Request, WanMode};

/// Run a whole federation on this machine: three regions, gateways, sidecars, a sample
/// shop, and customers. Ctrl-C stops all of it.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Dev {
    #[command(flatten)]
    up: Up,
    #[command(subcommand)]
    command: Option<DevCommand>,
}

#[derive(Debug, clap::Args)]
struct Up {
    /// The folder for configuration, state and logs; it stays, and a later run goes on
    /// with what is in it. A temporary one if left out.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Leave the temporary folder.
    #[arg(long)]
    keep: bool,
    /// Whether packets between regions take as long as across the real world.
    #[arg(long, value_enum, default_value_t)]
    wan: WanMode,
    /// The port on which gateways answer DNS.
    #[arg(long, default_value_t = Options::default().dns_port, value_parser = clap::value_parser!(u16).range(1..))]
    dns_port: u16,
    /// Gateways of each cluster; if left out, two in the first and one in the others.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(GATEWAYS_MAX)))]
    gateways: Option<u8>,
    /// How long certificates live; 24h if left out. Seconds show them rotate.
    #[arg(long, value_name = "DURATION", value_parser = parse_lifetime)]
    leaf_lifetime: Option<Duration>,
}

#[derive(Debug, Subcommand)]
enum DevCommand {
    /// Say what runs where.
    Status,
    /// Break something, and see what happens.
    #[command(subcommand)]
    Break(Break),
    /// Mend everything that is broken; returns when gateways and endpoints are back.
    Heal {
        /// How long to wait for them; exits 5 if they are not back by then.
        #[arg(long, value_parser = parse_duration, default_value = "60s")]
        wait: Duration,
    },
    /// Stop it, and wait until nothing of it runs.
    Down,
    /// Write the same federation as configuration files.
    Export {
        /// An empty folder.
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Break {
    /// Pull a cluster's plug: kill every process of it.
    Cluster {
        /// The cluster.
        #[arg(add = ArgValueCandidates::new(complete::clusters))]
        name: ClusterName,
    },
    /// Cut the network between two clusters.
    Link {
        /// One cluster.
        #[arg(add = ArgValueCandidates::new(complete::clusters))]
        a: ClusterName,
        /// The other.
        #[arg(add = ArgValueCandidates::new(complete::clusters))]
        b: ClusterName,
    },
}

impl Dev {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let Some(command) = self.command else {
            let Up {
                dir,
                keep,
                wan,
                dns_port,
                gateways,
                leaf_lifetime,
            } = self.up;
            let options = Options {
                wan,
                dns_port,
                gateways,
                leaf_lifetime,
            };
            return dev::up(&Home { dir, keep }, options);
        };
        match command {
            DevCommand::Status => dev::status(global.output),
            DevCommand::Break(Break::Cluster { name: cluster }) => {
                dev::ask(&Request::BreakCluster { cluster })
            }
            DevCommand::Break(Break::Link { a, b }) => dev::ask(&Request::BreakLink { a, b }),
            DevCommand::Heal { wait } => dev::ask(&Request::Heal {
                wait: wait.as_secs(),
            }),
            DevCommand::Down => dev::down(),
            DevCommand::Export { dir } => dev::export(&dir),
        }
    }
}
