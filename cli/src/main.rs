//! `weft`: the one binary. Gateway, sidecar, `dev`, and the admin commands.
//!
//! What it is: arguments, files, wiring and output. What it is not: no decision
//! about routes, releases, DNS or membership is taken here.

mod args;
mod client;
mod clock;
mod command;
mod complete;
mod context;
mod dev;
mod document;
mod membership;
mod nft;
mod output;
mod problem;
mod sample;
mod startup;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    complete::answer_shell();
    let args = args::Args::parse();
    telemetry::start(&args.global);
    let format = args.global.output;
    match command::run(args) {
        Ok(exit) => exit.into(),
        Err(problem) => {
            output::narrate(&match format {
                output::Format::Json => problem.to_json(),
                _ => problem.to_string(),
            });
            problem.exit.into()
        }
    }
}
