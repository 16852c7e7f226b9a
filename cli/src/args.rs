//! The command line, as the user types it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{
    ArgMatches, Args as ClapArgs, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};
use clap_complete::engine::ArgValueCandidates;
use weft_model::{ClusterName, Namespace, duration};

use crate::as_of::AsOf;
use crate::command;
use crate::complete;
use crate::output::Format;

/// The commonest commands, by task: what `weft` alone prints.
pub(crate) const EXAMPLES: &str = "\
Begin:
  weft dev                                  a three-region federation on this machine
  weft status                               quorum, clusters, tunnels, services
  weft check                                what is wrong, and what to do about it
Look:
  weft service list                         services this federation offers
  weft service endpoints shop/checkout      who serves one, and how well
  weft top                                  who is asked how often, how well, how fast
  weft edges                                who calls whom, and whether it is encrypted
  weft tap shop/checkout --status 5xx       requests as they are answered
  weft ping shop/checkout --from eu-west    which step of a connection takes the time
  weft events -w                            who changes what, as it happens
  weft history route/shop/web               every revision of a record, by whom
  weft status --as-of 15m                   what was recorded then; other reads take it too
Ask why:
  weft route explain GET http://checkout.shop/
  weft dns explain checkout.shop.svc.clusterset.local
  weft explain WEFT-4002                    what an error code means
Change:
  weft diff -f exports.yaml                 what would change (exit 1 if anything)
  weft apply -f exports.yaml
Release:
  weft release plan -f checkout-v2.yaml     who would meet the new version, and when
  weft release status checkout-v2 -w        how it stands in each region
More:
  weft help                                 every command, and topics: resources, exit-codes
  weft completion bash                      names complete with TAB
  weft bug-report                           what to send along with a question";

/// Joins clusters into one federation: discovery, encrypted tunnels, DNS and balancing.
#[derive(Debug, Parser)]
#[command(
    name = "weft",
    version,
    before_help = "",
    after_help = EXAMPLES,
    disable_help_subcommand = true,
    subcommand_required = false,
    arg_required_else_help = false,
    max_term_width = 100
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The command's words: `cluster token list`.
    #[arg(skip)]
    pub(crate) path: String,
}

impl Args {
    /// Reads the command line. `--cluster` is whom to ask, wherever it stands; but after `cluster
    /// token create` it is who joins, and clap takes both for one.
    ///
    /// # Errors
    /// It does not parse, or asks for help or the version.
    pub(crate) fn read(words: &[OsString]) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(words)?;
        let read = Self::from_arg_matches(&matches);
        let mut args = read.map_err(|error| error.format(&mut Self::command()))?;
        args.path = path_of(&matches);
        if let Some(Command::Cluster(cluster)) = &args.command
            && cluster.names_who_joins()
        {
            args.global.cluster = Global::before_command(words)?.cluster;
        }
        Ok(args)
    }
}

fn path_of(matches: &ArgMatches) -> String {
    let mut words = Vec::new();
    let mut at = matches.subcommand();
    while let Some((word, below)) = at {
        words.push(word);
        at = below.subcommand();
    }
    words.join(" ")
}

/// Flags that every command takes.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Global {
    /// The federation to talk to, by the name of its context.
    #[arg(
        long,
        global = true,
        env = "WEFT_CONTEXT",
        help_heading = "Global",
        add = ArgValueCandidates::new(complete::contexts)
    )]
    pub(crate) context: Option<String>,
    /// The cluster to ask; the context's home if left out.
    #[arg(
        long,
        global = true,
        env = "WEFT_CLUSTER",
        help_heading = "Global",
        add = ArgValueCandidates::new(complete::clusters)
    )]
    pub(crate) cluster: Option<ClusterName>,
    /// The namespace of names given without one.
    #[arg(
        short,
        long,
        global = true,
        help_heading = "Global",
        add = ArgValueCandidates::new(complete::namespaces)
    )]
    pub(crate) namespace: Option<Namespace>,
    /// Read the registry as it was: after a log position (4182), at a time
    /// (2026-03-01T14:02:11Z), or so long ago (15m). What the log does not record has no past: that
    /// is refused, with what to ask instead (WEFT-6031).
    #[arg(
        long,
        global = true,
        value_name = "INDEX|TIME",
        value_parser = crate::as_of::parse,
        help_heading = "Global"
    )]
    pub(crate) as_of: Option<AsOf>,
    /// How to print data.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        help_heading = "Global"
    )]
    pub(crate) output: Format,
    /// How long to wait for an answer.
    #[arg(long, global = true, value_parser = parse_duration, default_value = "10s", help_heading = "Global")]
    pub(crate) timeout: Duration,
    /// Say nothing but data and failures.
    #[arg(short, long, global = true, help_heading = "Global")]
    pub(crate) quiet: bool,
    /// Say more; twice for even more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global")]
    pub(crate) verbose: u8,
    /// How to write logs: text on a terminal and json elsewhere if left out.
    #[arg(
        long,
        global = true,
        value_enum,
        env = "WEFT_LOG_FORMAT",
        help_heading = "Global"
    )]
    pub(crate) log_format: Option<LogFormat>,
    /// No colour; NO_COLOR does the same.
    #[arg(long, global = true, help_heading = "Global")]
    pub(crate) no_color: bool,
}

impl Global {
    /// Those that stand before the command, and in the environment.
    fn before_command(words: &[OsString]) -> Result<Self, clap::Error> {
        let flags = Self::augment_args(clap::Command::new("weft"));
        let flags = flags.allow_external_subcommands(true);
        Self::from_arg_matches(&flags.try_get_matches_from(words)?)
    }
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole federation on this machine.
    Dev(command::dev::Dev),
    /// One screen: quorum, clusters, tunnels, services.
    ///
    /// Exits 1 if anything is unhealthy; a warning is not, unless --fail-on warn is set: 4. With `--as-of`
    /// it shows what the log had recorded by then, says what is not recorded, and exits 0.
    Status(command::status::Status),
    /// Traffic by service, region or tunnel; live on a terminal.
    Top(command::top::Top),
    /// Who calls whom, and whether it is encrypted all the way.
    Edges(command::edges::Edges),
    /// Single requests as they are answered, from every caller.
    Tap(command::tap::Tap),
    /// One connection to a service, step by step: which one takes the time.
    Ping(command::ping::Ping),
    /// The network between gateways: paths, round trips, loss, packet sizes, clocks.
    Netcheck(command::netcheck::Netcheck),
    /// Look for what is wrong, and say what to do about it.
    Check(command::check::Check),
    /// Print resources.
    Get(command::get::Get),
    /// Print everything known of one resource.
    Describe(command::get::Describe),
    /// Create or change resources from files.
    Apply(command::apply::Apply),
    /// Show what apply would change; exits 1 if anything.
    ///
    /// With `--as-of` the files are compared with what was recorded then.
    Diff(command::apply::Diff),
    /// Delete resources.
    Delete(command::apply::Delete),
    /// What the log says of late: who did what, to which record, and when.
    ///
    /// Refused entries are shown too. Without `--since` the newest 10,000 log positions are looked at; a
    /// gateway keeps 100,000 of them on its disk and says where they begin. `-w` goes on with what comes,
    /// over restarts of the gateway that is asked, and misses nothing that is kept there; where it
    /// missed entries that are not kept any more, it says so (WEFT-6006), and where the registry was
    /// founded anew without what it had shown. With `--as-of` the log ends there, and `--since` counts
    /// back from there.
    Events(command::events::Events),
    /// Every revision of a record; or whether the audit trail holds.
    ///
    /// It is read from the asked gateway's own disk, without waiting for anybody. Each keeps a bounded
    /// history (100,000 entries, 128 MiB); the answer says where it begins. `--verify` judges all of it
    /// again: each signature against the key that the log records for its author, each outcome, each
    /// state kept on the way. It cannot vouch for what stood before, nor for the time of an entry,
    /// which is the leader's word. With `--as-of` the revisions end there.
    History(command::history::History),
    /// Undo one change, by a new one.
    Revert(command::revert::Revert),
    /// Wait until a resource exists, is gone, or has ready endpoints.
    Wait(command::wait::Wait),
    /// Found, join, leave and administer clusters.
    #[command(subcommand)]
    Cluster(command::cluster::Cluster),
    /// The registry's consensus.
    #[command(subcommand)]
    Raft(command::raft::Raft),
    /// Services and their endpoints.
    #[command(subcommand, visible_alias = "svc")]
    Service(command::service::Service),
    /// Move a service's traffic from one version to another, by hand.
    #[command(subcommand, visible_alias = "rel")]
    Release(command::release::Release),
    /// How a request would travel.
    #[command(subcommand)]
    Route(command::route::Route),
    /// The state of sidecars.
    #[command(subcommand)]
    Proxy(command::proxy::Proxy),
    /// Names and answers.
    #[command(subcommand)]
    Dns(command::dns::Dns),
    /// Identities and enrolment.
    #[command(subcommand)]
    Identity(command::identity::Identity),
    /// Which federation the admin commands talk to.
    #[command(subcommand)]
    Context(command::context::ContextCommand),
    /// Print the JSON schema of resources and configurations.
    Schema(command::schema::Schema),
    /// Explain an error code.
    Explain(command::explain::Explain),
    /// Print a completion script for a shell.
    Completion(command::completion::Completion),
    /// Keep the registry in a file, look into one, or found the registry anew from one.
    #[command(subcommand)]
    Backup(command::backup::Backup),
    /// Collect what helps to find a fault, without what is secret.
    BugReport(command::bug_report::BugReport),
    /// Write manual pages.
    Man(command::man::Man),
    /// Print the version.
    Version,
    /// Help of a command, or on a topic: exit-codes, environment, output, resources.
    Help(command::help::Help),
    /// Run a gateway, or remove one.
    #[command(subcommand)]
    Gateway(command::gateway::Gateway),
    /// Run a sidecar.
    #[command(subcommand)]
    Sidecar(command::sidecar::Sidecar),
    /// Redirect connections to virtual IPs to a sidecar or gateway; always reversible.
    #[command(subcommand, long_about = command::capture::LONG)]
    Capture(command::capture::Capture),
    /// Run one of dev's sample services.
    #[command(hide = true)]
    Sample(command::sample::Sample),
}

/// Files of resources.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Files {
    /// Files of resources; `-` is standard input.
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// The format that words ask for which do not parse otherwise; a table if they are not clear.
pub(crate) fn format_among(words: &[String]) -> Format {
    let next = words.iter().skip(1).map(String::as_str).chain([""]);
    let asked = words.iter().zip(next).find_map(|(word, next)| {
        let joined = word
            .strip_prefix("--output=")
            .or_else(|| word.strip_prefix("-o"));
        match word.as_str() {
            "-o" | "--output" => Some(next),
            _ => joined.map(|value| value.trim_start_matches('=')),
        }
    });
    asked
        .and_then(|value| Format::from_str(value, true).ok())
        .unwrap_or_default()
}

/// Parses `1m30s` for an argument.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text)
}

/// Parses how long something lives: not for no time.
pub(crate) fn parse_lifetime(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("it would never be valid".to_owned()),
        lifetime => Ok(lifetime),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_format_is_known_before_the_rest_parses() {
        use crate::output::Format;
        let check = |line: &str, expect: Format| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(super::format_among(&words), expect, "{line}");
        };
        check("weft -o json stats", Format::Json);
        check("weft stats --output=yaml", Format::Yaml);
        check("weft stats -ojson", Format::Json);
        check("weft stats -o", Format::Table);
        check("weft stats -o nonsense", Format::Table);
    }

    #[test]
    fn every_command_that_is_advertised_parses() {
        use clap::Parser;
        let lines = super::EXAMPLES.lines();
        for line in lines.filter_map(|line| line.strip_prefix("  weft ")) {
            let typed = line.split("  ").next().unwrap_or_default();
            let words = std::iter::once("weft").chain(typed.split(' '));
            let parsed = super::Args::try_parse_from(words);
            assert!(parsed.is_ok(), "{typed}: {parsed:?}");
        }
    }

    #[test]
    fn whom_to_ask_for_a_token_is_not_who_joins() {
        let check = |line: &str, asked: Option<&str>| {
            let words: Vec<_> = line.split(' ').map(std::ffi::OsString::from).collect();
            let args = super::Args::read(&words).unwrap();
            let cluster = args.global.cluster.as_ref().map(ToString::to_string);
            assert_eq!(cluster.as_deref(), asked, "{line}");
            let Some(super::Command::Cluster(cluster)) = args.command else {
                panic!("{line}");
            };
            cluster
        };
        use crate::command::cluster::{Cluster, Token};
        let create = "cluster token create --cluster new --region r -q";
        for (flags, asked) in [("", None), ("--cluster eu -o json ", Some("eu"))] {
            let cluster = check(&format!("weft {flags}{create}"), asked);
            let Cluster::Token(Token::Create { cluster, .. }) = cluster else {
                panic!("{cluster:?}");
            };
            assert_eq!(cluster.as_str(), "new");
        }
        // Of all others it is whom to ask, wherever it stands.
        check("weft cluster token list --cluster eu", Some("eu"));
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        super::Args::command().debug_assert();
    }
}
