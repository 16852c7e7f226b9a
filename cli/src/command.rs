//! The commands, one module each.

pub(crate) mod apply;
pub(crate) mod backup;
pub(crate) mod bug_report;
pub(crate) mod capture;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod dev;
pub(crate) mod dns;
pub(crate) mod edges;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod gateway;
pub(crate) mod get;
pub(crate) mod help;
pub(crate) mod history;
pub(crate) mod identity;
pub(crate) mod man;
pub(crate) mod netcheck;
mod past;
pub(crate) mod ping;
pub(crate) mod proxy;
pub(crate) mod raft;
pub(crate) mod release;
pub(crate) mod revert;
pub(crate) mod route;
pub(crate) mod sample;
pub(crate) mod schema;
pub(crate) mod service;
pub(crate) mod sidecar;
pub(crate) mod status;
pub(crate) mod tap;
pub(crate) mod top;
pub(crate) mod wait;

use std::future::Future;

use clap::CommandFactory;

use crate::args::{Args, Command, EXAMPLES};
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// What a command comes to.
pub(crate) type Outcome = Result<Exit, Problem>;

/// Runs the command that was typed; none prints the commonest.
pub(crate) fn run(args: Args) -> Outcome {
    let global = args.global;
    let Some(command) = args.command else {
        let about = Args::command().get_about().map(ToString::to_string);
        output::data(&format!("{}\n\n{EXAMPLES}", about.unwrap_or_default()));
        return Ok(Exit::Done);
    };
    if global.as_of.is_some() {
        past::admit(&args.path, &command)?;
    }
    match command {
        Command::Dev(command) => command.run(&global),
        Command::Status(command) => block_on(command.run(&global)),
        Command::Top(command) => block_on(command.run(&global)),
        Command::Edges(command) => block_on(command.run(&global)),
        Command::Tap(command) => block_on(command.run(&global)),
        Command::Ping(command) => block_on(command.run(&global)),
        Command::Netcheck(command) => block_on(command.run(&global)),
        Command::Check(command) => block_on(command.run(&global)),
        Command::Get(command) => block_on(command.run(&global)),
        Command::Describe(command) => block_on(command.run(&global)),
        Command::Apply(command) => block_on(command.run(&global)),
        Command::Diff(command) => block_on(command.run(&global)),
        Command::Delete(command) => block_on(command.run(&global)),
        Command::Events(command) => block_on(command.run(&global)),
        Command::History(command) => block_on(command.run(&global)),
        Command::Revert(command) => block_on(command.run(&global)),
        Command::Wait(command) => block_on(command.run(&global)),
        Command::Cluster(command) => block_on(command.run(&global)),
        Command::Raft(command) => command.run(&global),
        Command::Service(command) => block_on(command.run(&global)),
        Command::Release(command) => block_on(command.run(&global)),
        Command::Route(command) => block_on(command.run(&global)),
        Command::Proxy(command) => block_on(command.run(&global)),
        Command::Dns(command) => block_on(command.run(&global)),
        Command::Identity(command) => block_on(command.run(&global)),
        Command::Context(command) => command.run(&global),
        Command::Schema(command) => command.run(),
        Command::Explain(command) => command.run(&global),
        Command::Completion(command) => command.run(),
        Command::Backup(command) => command.run(&global),
        Command::BugReport(command) => block_on(command.run(&global)),
        Command::Man(command) => command.run(),
        Command::Help(command) => command.run(),
        Command::Version => {
            version(global.output);
            Ok(Exit::Done)
        }
        Command::Gateway(command) => command.run(&global),
        Command::Sidecar(command) => command.run(),
        Command::Capture(command) => command.run(&global),
        Command::Sample(command) => command.run(),
    }
}

/// Goes on only with consent to what was shown: `--yes`, or `word` typed on a terminal.
pub(crate) fn consent(what: &str, word: &str, yes: bool) -> Result<(), Problem> {
    if yes {
        return Ok(());
    }
    if output::is_terminal() {
        output::tell(&format!("type {what} to go on:"));
        let mut typed = String::new();
        let read = std::io::stdin().read_line(&mut typed);
        if read.is_ok() && typed.trim() == word {
            return Ok(());
        }
    }
    let mut problem = Problem::new(
        weft_model::code::USAGE,
        "not confirmed; nothing was changed",
    )
    .next("Add --yes.");
    problem.exit = Exit::Refused;
    Err(problem)
}

fn version(format: Format) {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    match format {
        Format::Json | Format::Yaml => {
            output::document(format, &serde_json::json!({ "version": VERSION }));
        }
        Format::Name | Format::Table | Format::Wide => output::data(&format!("weft {VERSION}")),
    }
}

/// Resolves with the name of the signal that asks the process to stop.
pub(crate) async fn stop_signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            // Without a handler the signal ends the process as it always did.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate => "SIGTERM",
        _ = tokio::signal::ctrl_c() => "SIGINT",
    }
}

/// Runs an admin command's future on a runtime of its own.
fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Problem::new(weft_model::code::FILE_UNREADABLE, "cannot start a runtime").detail(error)
        })?
        .block_on(command)
}
