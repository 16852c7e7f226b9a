//! weft beside its peers, in one run on one machine: `cargo xtask bench registry`.
//!
//! ```text
//! Etcd, Weft (three processes each) ─> Writer × clients ─> Sample ─> Table
//! ```
//!
//! What it is: real processes on loopback, one load generator for all, rounds in turn, medians.
//! What it is not: a judgement of absolute speed. The generator shares the machine with what it
//! measures, so that ratios mean something and figures little; each says how busy the machine was.

#![allow(
    clippy::print_stdout,
    reason = "a benchmark's output is what it is for"
)]

mod cpu;
mod etcd;
mod load;
mod registry;
mod table;
mod weft;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (rounds, length) = match words.as_slice() {
        ["registry"] => (5, Duration::from_secs(5)),
        ["registry", rounds, seconds] => (rounds.parse()?, Duration::from_secs(seconds.parse()?)),
        _ => bail!("usage: weft-bench registry [ROUNDS SECONDS]"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    registry::run(&runtime, rounds, length)
}
