//! The `nft` program: rules go in by its standard input, as one transaction.

use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};

use weft_model::code;

use crate::problem::Problem;

/// Where it is; the second is not in every user's PATH.
const PROGRAMS: [&str; 2] = ["nft", "/usr/sbin/nft"];

/// Loads a script: all of it, or nothing.
pub(crate) fn load(script: &str) -> Result<(), Problem> {
    let ran = run(&["-f", "-"], script)?;
    if ran.status.success() {
        Ok(())
    } else {
        Err(refused(&ran))
    }
}

/// A table of family `inet` as the kernel has it; none if it has none.
pub(crate) fn table(name: &str) -> Result<Option<String>, Problem> {
    // Priorities by number, no counters: the same text for the same rules.
    let ran = run(&["-y", "-s", "list", "table", "inet", name], "")?;
    if ran.status.success() {
        return Ok(Some(String::from_utf8_lossy(&ran.stdout).into_owned()));
    }
    if said(&ran).contains("No such file or directory") {
        return Ok(None);
    }
    Err(refused(&ran))
}

fn run(args: &[&str], input: &str) -> Result<Output, Problem> {
    for program in PROGRAMS {
        let mut command = Command::new(program);
        command.args(args).env("LC_ALL", "C");
        match fed(&mut command, input) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Problem::new(code::NFT_MISSING, "cannot run nft").detail(error));
            }
            Ok(ran) => return Ok(ran),
        }
    }
    Err(Problem::new(code::NFT_MISSING, "nft is not installed"))
}

fn fed(command: &mut Command, input: &str) -> std::io::Result<Output> {
    let pipe = Stdio::piped;
    let mut child = command
        .stdin(pipe())
        .stdout(pipe())
        .stderr(pipe())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read everything says why itself.
        let _ended = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

fn refused(ran: &Output) -> Problem {
    let said = said(ran);
    if said.contains("Operation not permitted") {
        return Problem::new(
            code::NOT_PRIVILEGED,
            "the kernel lets this user see no rules",
        )
        .detail(said);
    }
    Problem::new(code::NFT_REFUSED, "nft refused the rules; none was changed").detail(said)
}

fn said(ran: &Output) -> String {
    String::from_utf8_lossy(&ran.stderr).into_owned()
}
