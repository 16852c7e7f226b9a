//! A shell that somebody types into: what one command sets, the next one sees.

use std::io::{BufRead, BufReader, PipeReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Ends what a command prints. No program prints it by accident.
const END: &str = "-- end of a step, with";

/// A running bash. Dropping it kills it.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

/// What one command printed, standard error included, as on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its exit status.
    pub code: i32,
    /// Its output.
    pub text: String,
}

impl Shell {
    /// Starts one; `command` is bash in its surroundings, without arguments.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()
            .context("cannot start a shell")?;
        // Our own ends of the pipe, which would keep the reader waiting for ever.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let stdin = child.stdin.take().context("it was piped")?;
        Ok(Self {
            child,
            stdin,
            lines: follow(reader),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types a command, and waits for its end. It reads nothing.
    ///
    /// # Errors
    /// It did not end in time, or ended the shell.
    pub fn run(&mut self, command: &str, within: Duration) -> Result<Said> {
        // In quotes, so that a command that is half a one ends where it ends.
        let quoted = command.replace('\'', r"'\''");
        writeln!(
            self.stdin,
            "eval '{quoted}' </dev/null; printf '\\n{END} %s\\n' $?"
        )?;
        let deadline = Instant::now() + within;
        let mut text = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                bail!(
                    "no end of `{command}` within {within:?}; it said\n{}",
                    text.join("\n")
                );
            };
            let Some(code) = line.strip_prefix(END) else {
                text.push(line);
                continue;
            };
            // The line that sets the end apart from output without one.
            if text.last().is_some_and(String::is_empty) {
                text.pop();
            }
            return Ok(Said {
                code: code.trim().parse().context("an exit status")?,
                text: text.join("\n"),
            });
        }
    }

    /// Types a command, and does not wait. What it prints goes to a file.
    ///
    /// # Errors
    /// The shell has ended.
    pub fn spawn(&mut self, command: &str, log: &str) -> Result<()> {
        let quoted = command.replace('\'', r"'\''");
        writeln!(self.stdin, "eval '{quoted}' </dev/null >{log} 2>&1 &")?;
        Ok(())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _no_zombie = self.child.wait();
    }
}

fn follow(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Shell {
        Shell::start(&mut Command::new("bash")).unwrap()
    }

    fn said(code: i32, text: &str) -> Said {
        Said {
            code,
            text: text.to_owned(),
        }
    }

    const SOON: Duration = Duration::from_secs(60);

    #[test]
    fn the_next_command_sees_what_the_last_one_set() {
        let mut shell = shell();
        assert_eq!(shell.run("cd /; name=weft", SOON).unwrap(), said(0, ""));
        let next = shell.run("echo \"$PWD $name\" it\\'s >&2", SOON).unwrap();
        assert_eq!(next, said(0, "/ weft it's"));
    }

    #[test]
    fn output_is_whole_with_or_without_a_last_newline() {
        let mut shell = shell();
        let mut check = |command: &str, text: &str| {
            assert_eq!(shell.run(command, SOON).unwrap().text, text);
        };
        check("printf a", "a");
        check("printf 'a\\n'", "a");
        check("printf 'a\\n\\nb\\n'", "a\n\nb");
    }

    #[test]
    fn a_command_that_fails_or_is_none_ends_nothing() {
        let mut shell = shell();
        assert_eq!(shell.run("(exit 4)", SOON).unwrap(), said(4, ""));
        assert_ne!(shell.run("if", SOON).unwrap().code, 0);
        assert_eq!(
            shell.run("read line; echo $line", SOON).unwrap(),
            said(0, "")
        );
        assert_eq!(
            shell.run("echo still here", SOON).unwrap(),
            said(0, "still here")
        );
    }

    #[test]
    fn a_command_that_hangs_is_told() {
        let hung = shell().run("echo so far; exec sleep 600", Duration::from_millis(200));
        assert!(hung.unwrap_err().to_string().contains("so far"));
    }
}
