//! `weft dev …`: a whole federation on this machine.

use std::path::PathBuf;

use clap::Subcommand;
use weft_model::ClusterName;

use super::Outcome;
use crate::args::Global;
use crate::dev::{self, Home, Options, Request, WanMode};

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
}

#[derive(Debug, Subcommand)]
enum DevCommand {
    /// Say what runs where.
    Status,
    /// Break something, and see what happens.
    #[command(subcommand)]
    Break(Break),
    /// Mend everything that is broken.
    Heal,
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
        name: ClusterName,
    },
    /// Cut the network between two clusters.
    Link {
        /// One cluster.
        a: ClusterName,
        /// The other.
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
            } = self.up;
            return dev::up(&Home { dir, keep }, Options { wan, dns_port });
        };
        match command {
            DevCommand::Status => dev::status(global.output),
            DevCommand::Break(Break::Cluster { name: cluster }) => {
                dev::ask(&Request::BreakCluster { cluster })
            }
            DevCommand::Break(Break::Link { a, b }) => dev::ask(&Request::BreakLink { a, b }),
            DevCommand::Heal => dev::ask(&Request::Heal),
            DevCommand::Down => dev::down(),
            DevCommand::Export { dir } => dev::export(&dir),
        }
    }
}
