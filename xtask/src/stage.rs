//! Running other programs as named, timed stages.

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::failure::Failure;

/// The stages of one task, in the order they ran.
pub(crate) struct Stages<'a> {
    root: &'a Path,
    done: Vec<(&'static str, Duration)>,
}

impl<'a> Stages<'a> {
    pub(crate) fn new(root: &'a Path) -> Self {
        Self {
            root,
            done: Vec::new(),
        }
    }

    pub(crate) fn root(&self) -> &'a Path {
        self.root
    }

    /// Does work of our own as a stage.
    pub(crate) fn work<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        eprintln!("xtask: {name}");
        let began = Instant::now();
        let result = work();
        let took = began.elapsed();
        eprintln!("xtask: {name} took {}", seconds(took));
        self.done.push((name, took));
        result
    }

    /// Runs a program in the workspace's folder, its output going where ours goes.
    pub(crate) fn run(&mut self, name: &'static str, command: &mut Command) -> Result<(), Failure> {
        let root = self.root;
        self.work(name, || attempt(root, name, command))
    }

    /// Runs the last stage, after telling the times of those before it, so that what
    /// the program says at its end is what the whole task says at its end.
    pub(crate) fn finish(self, name: &'static str, command: &mut Command) -> Result<(), Failure> {
        let times: Vec<String> = self
            .done
            .iter()
            .map(|(name, took)| format!("{name} {}", seconds(*took)))
            .collect();
        eprintln!("xtask: so far {}", times.join(", "));
        eprintln!("xtask: {name}");
        attempt(self.root, name, command)
    }
}

/// The Cargo that runs us, so that every stage uses the same toolchain.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Whether a program is there and answers; its output is dropped.
pub(crate) fn answers(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A program's standard output.
pub(crate) fn output(root: &Path, command: &mut Command) -> Result<String, Failure> {
    let output = command
        .current_dir(root)
        .output()
        .map_err(|source| Failure::Start {
            program: program(command),
            source,
        })?;
    if !output.status.success() {
        return Err(Failure::Query {
            command: line(command),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it, for messages.
pub(crate) fn line(command: &Command) -> String {
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy());
    let words: Vec<_> = std::iter::once(command.get_program().to_string_lossy())
        .chain(arguments)
        .collect();
    words.join(" ")
}

fn attempt(root: &Path, stage: &'static str, command: &mut Command) -> Result<(), Failure> {
    let status = command
        .current_dir(root)
        .status()
        .map_err(|source| Failure::Start {
            program: program(command),
            source,
        })?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Stage {
        stage,
        code: exit_code(status),
    })
}

/// A program that a signal ended has no exit code of its own: 1 stands for it.
fn exit_code(status: ExitStatus) -> u8 {
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .filter(|code| *code != 0)
        .unwrap_or(1)
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_passes_its_exit_code_on() {
        let root = Path::new("/");
        let mut stages = Stages::new(root);
        let failure = stages
            .run("shell", Command::new("sh").args(["-c", "exit 42"]))
            .unwrap_err();
        assert_eq!(failure.exit_code(), 42);
    }

    #[test]
    fn a_program_ended_by_a_signal_counts_as_failed() {
        let failure = Stages::new(Path::new("/"))
            .finish("shell", Command::new("sh").args(["-c", "kill -9 $$"]))
            .unwrap_err();
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn a_query_that_fails_says_what_was_asked_and_answered() {
        let mut query = Command::new("sh");
        query.args(["-c", "echo no such thing >&2; exit 1"]);
        let failure = output(Path::new("/"), &mut query).unwrap_err().to_string();
        assert!(failure.contains("sh -c"), "{failure}");
        assert!(failure.contains("no such thing"), "{failure}");
    }
}
