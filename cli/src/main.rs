//! `weft`: the one binary. Gateway, sidecar, `dev`, and the admin commands.
//!
//! What it is: arguments, files, wiring and output. What it is not: no decision
//! about routes, releases, DNS or membership is taken here.

mod args;
mod as_of;
mod client;
mod clock;
mod command;
mod complete;
mod context;
mod dev;
mod document;
mod live;
mod membership;
mod nft;
mod output;
mod problem;
mod progress;
mod sample;
mod startup;
mod telemetry;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    complete::answer_shell();
    let words: Vec<OsString> = std::env::args_os().collect();
    let args = match args::Args::read(&words) {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    if args.global.quiet {
        output::quieten();
    }
    telemetry::start(&args.global);
    let format = args.global.output;
    match command::run(args) {
        Ok(exit) => exit.into(),
        Err(problem) => {
            problem.tell(format);
            problem.exit.into()
        }
    }
}

/// Help and the version are no failures; what does not parse is told as clap tells it, or to a
/// program as a document.
fn usage(error: &clap::Error) -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let format = args::format_among(&words);
    if !error.use_stderr() || format == output::Format::Table {
        error.exit();
    }
    let said = error.render().to_string();
    let said = said.trim_start_matches("error: ").trim_end();
    let (what, detail) = said.split_once('\n').unwrap_or((said, ""));
    let problem = problem::Problem::new(weft_model::code::USAGE, what);
    problem.detail(detail.trim()).tell(format);
    problem::Exit::Usage.into()
}
