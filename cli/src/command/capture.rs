//! `weft capture`: the kernel's redirection to a sidecar, or to a gateway's stand-in.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use weft_gateway::config::GatewayConfigFile;
use weft_model::code;
use weft_proxy::capture::{Rules, Table};
use weft_proxy::{Config, SidecarConfig};

use super::Outcome;
use crate::args::Global;
use crate::document::read_config;
use crate::nft;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// How long `on` looks for somebody who listens. It is this machine's loopback.
const LOOK: Duration = Duration::from_secs(1);

/// What `weft capture --help` says at length.
pub(crate) const LONG: &str = "\
Have the kernel redirect connections to virtual IPs, by an nftables table of our own.

Programs on a captured machine need no configuration: TCP to the federation's virtual IPs goes to
the sidecar, and DNS to the gateways if the configuration says so. Everything else is left alone,
and so is whatever the sidecar's own user sends. With --gateway the table is another one: TCP that
reaches this machine for its cluster's virtual IPs goes to the gateway, which needs one listener
for all of them then.

The rules live in the kernel until `weft capture off` or a reboot, whether the sidecar runs or
not: while it does not, captured connections are refused, and nothing else is.";

/// Redirect connections to virtual IPs to a sidecar or gateway; always reversible.
#[derive(Debug, Subcommand)]
pub(crate) enum Capture {
    /// Install the rules in one transaction; again if they are there already.
    On {
        /// The sidecar's configuration; with --gateway, the gateway's.
        #[arg(long, value_name = "FILE", env = "WEFT_CONFIG")]
        config: PathBuf,
        #[command(flatten)]
        scope: Scope,
        /// Print what nft would be given, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove our table, and nothing but it.
    Off {
        #[command(flatten)]
        scope: Scope,
        /// Print what nft would be given, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the rules that are live; exits 1 if there are none, or others than `on` would install.
    Show {
        /// Compare them with what this configuration asks for.
        #[arg(long, value_name = "FILE", env = "WEFT_CONFIG")]
        config: Option<PathBuf>,
        #[command(flatten)]
        scope: Scope,
    },
}

/// Which table.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Scope {
    /// The table of a gateway that answers clients without a sidecar.
    #[arg(long)]
    gateway: bool,
}

/// `show -o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    table: &'static str,
    installed: bool,
    /// None without a configuration to compare with.
    as_configured: Option<bool>,
    rules: Option<String>,
}

impl Capture {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        match self {
            Self::On {
                config,
                scope,
                dry_run,
            } => on(&scope.rules(&config)?, &config, dry_run),
            Self::Off { scope, dry_run } => off(scope.table(), dry_run),
            Self::Show { config, scope } => {
                let wanted = config.as_deref().map(|path| scope.rules(path));
                show(scope.table(), wanted.transpose()?.as_ref(), global.output)
            }
        }
    }
}

impl Scope {
    fn table(self) -> Table {
        if self.gateway {
            Table::Gateway
        } else {
            Table::Sidecar
        }
    }

    fn rules(self, path: &Path) -> Result<Rules, Problem> {
        match self.table() {
            Table::Sidecar => sidecar_rules(path),
            Table::Gateway => gateway_rules(path),
        }
    }
}

fn sidecar_rules(path: &Path) -> Result<Rules, Problem> {
    let wrong =
        |what: String| Problem::new(code::WRONG_VALUE, format!("{}: {what}", path.display()));
    let file: SidecarConfig = read_config(path, "SidecarConfig")?;
    let config = Config::try_from(file).map_err(|error| wrong(error.to_string()))?;
    let capture = config.capture.as_ref().map(Rules::from);
    capture.ok_or_else(|| {
        wrong("spec.capture is missing".into())
            .next("Say there as which user the sidecar runs: `capture: { uid: 998 }`.")
    })
}

fn gateway_rules(path: &Path) -> Result<Rules, Problem> {
    let file: GatewayConfigFile = read_config(path, "GatewayConfig")?;
    file.spec.capture_rules().ok_or_else(|| {
        let what = format!("{}: spec.standIn.capture is missing", path.display());
        Problem::new(code::WRONG_VALUE, what)
            .next("Say there where the gateway listens: `standIn: { capture: { port: 15003 } }`.")
    })
}

fn on(rules: &Rules, path: &Path, dry_run: bool) -> Outcome {
    if dry_run {
        output::data(&rules.script());
        return Ok(Exit::Done);
    }
    let live = nft::table(rules.table.name())?;
    if live.is_some_and(|live| rules.equal(&live)) {
        output::narrate("capture is on already, as it should be");
    } else {
        nft::load(&rules.script())?;
        output::narrate(&summary(rules));
    }
    if !listens(rules) {
        output::narrate(&format!(
            "warning: nobody listens on port {} yet; until {} runs with {}, captured connections are refused",
            rules.port,
            owner(rules.table),
            path.display()
        ));
    }
    Ok(Exit::Done)
}

fn summary(rules: &Rules) -> String {
    let ranges: Vec<String> = rules.ranges.iter().map(ToString::to_string).collect();
    let dns = match rules.dns {
        Some(port) => format!(", DNS to port {port}"),
        None => String::new(),
    };
    let off = match rules.table {
        Table::Sidecar => "weft capture off",
        Table::Gateway => "weft capture off --gateway",
    };
    format!(
        "capture is on: TCP to {} goes to port {}{dns}\ntake it back: {off}",
        ranges.join(", "),
        rules.port
    )
}

fn owner(table: Table) -> &'static str {
    match table {
        Table::Sidecar => "a sidecar",
        Table::Gateway => "a gateway",
    }
}

/// Whether somebody takes what is redirected. A connection that was not redirected
/// is refused by its owner, so that the question does no harm.
fn listens(rules: &Rules) -> bool {
    let at = SocketAddr::from(([127, 0, 0, 1], rules.port.get()));
    TcpStream::connect_timeout(&at, LOOK).is_ok()
}

fn off(table: Table, dry_run: bool) -> Outcome {
    if dry_run {
        output::data(&table.removal());
        return Ok(Exit::Done);
    }
    if nft::table(table.name())?.is_none() {
        output::narrate("capture is off already");
        return Ok(Exit::Done);
    }
    nft::load(&table.removal())?;
    output::narrate("capture is off; connections that were captured go on until they end");
    Ok(Exit::Done)
}

fn show(table: Table, wanted: Option<&Rules>, format: Format) -> Outcome {
    let live = nft::table(table.name())?;
    let same = wanted.map(|rules| live.as_deref().is_some_and(|live| rules.equal(live)));
    let fine = same.unwrap_or(live.is_some());
    let (installed, name) = (live.is_some(), table.name());
    match format {
        Format::Json | Format::Yaml => output::value(
            format,
            &Shown {
                table: name,
                installed,
                as_configured: same,
                rules: live,
            },
        ),
        Format::Name if installed => output::data(name),
        Format::Name => {}
        Format::Table | Format::Wide => {
            if let Some(live) = &live {
                output::data(live);
            }
            output::narrate(match (installed, same) {
                (false, _) => "capture is off",
                (true, None) => "capture is on; --config FILE compares it with what it should be",
                (true, Some(true)) => "capture is on, as configured",
                (true, Some(false)) => {
                    "capture is on, but not as configured: `weft capture on --dry-run` prints what it would be, `weft capture on` makes it so"
                }
            });
        }
    }
    Ok(if fine { Exit::Done } else { Exit::Failed })
}
