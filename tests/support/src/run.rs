//! One program, to its end, within a deadline.

use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The longest that one program may run, unless said otherwise.
const RUN_WAIT: Duration = Duration::from_secs(60);
/// Time between two looks at it.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A program that has ended, and all that it said.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The program and its arguments.
    pub shown: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Its standard output, without the end of the last line.
    ///
    /// # Errors
    /// It did not exit with 0.
    pub fn ok(self) -> Result<String> {
        self.exits(0).map(|ran| ran.stdout.trim_end().to_owned())
    }

    /// Itself, if it exited with `code`.
    ///
    /// # Errors
    /// It exited with another one, or was killed; with all that it said.
    pub fn exits(self, code: i32) -> Result<Self> {
        if self.status.code() == Some(code) {
            return Ok(self);
        }
        bail!(
            "{} ended with {}, not {code}\n{}{}",
            self.shown,
            self.status,
            self.stdout,
            self.stderr
        )
    }

    /// Its standard output as JSON.
    ///
    /// # Errors
    /// It failed, or said something else.
    pub fn json(self) -> Result<serde_json::Value> {
        let text = self.ok()?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Itself, if standard error has `part`.
    ///
    /// # Errors
    /// It has not.
    pub fn says(self, part: &str) -> Result<Self> {
        if self.stderr.contains(part) || self.stdout.contains(part) {
            return Ok(self);
        }
        bail!(
            "{} does not say {part:?}:\n{}{}",
            self.shown,
            self.stdout,
            self.stderr
        )
    }
}

/// A command from words.
pub fn command<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut words = words.into_iter();
    let mut command = match words.next() {
        Some(program) => Command::new(program),
        None => Command::new("true"),
    };
    command.args(words);
    command
}

/// A command from words, under a user and group of that number. Inside
/// [`isolated`](crate::isolated()); where that entered a user namespace, the numbers have to be
/// mapped, which takes Debian's `uidmap`.
pub fn as_user<S: AsRef<OsStr>>(uid: u32, words: impl IntoIterator<Item = S>) -> Command {
    let (user, group) = (format!("--reuid={uid}"), format!("--regid={uid}"));
    let mut command = command(["setpriv", &user, &group, "--clear-groups", "--"]);
    command.args(words);
    command
}

/// Runs a command to its end; a minute at most.
///
/// # Errors
/// It could not be started, or a minute has passed; it is killed then. However it
/// ends by itself is no error: see [`Ran`].
pub fn run(command: &mut Command) -> Result<Ran> {
    run_within(command, RUN_WAIT)
}

/// [`run`] with another deadline.
pub(crate) fn run_within(command: &mut Command, wait: Duration) -> Result<Ran> {
    let shown = shown(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {shown}"))?;
    // Readers of their own, so that a program that says much does not wait for us.
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let status = end(&mut child, wait).with_context(|| shown.clone())?;
    let text = |reader: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
    };
    Ok(Ran {
        shown,
        status,
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _what_came_until_then = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Waits for a child's end.
pub(crate) fn end(child: &mut Child, wait: Duration) -> Result<ExitStatus> {
    let deadline = Instant::now() + wait;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("did not end within {wait:?}, and was killed");
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// `dig @127.1.0.1 …`.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The program under test.
///
/// # Errors
/// `WEFT_BIN` is not set.
pub fn weft_binary() -> Result<PathBuf> {
    let path = std::env::var_os("WEFT_BIN")
        .context("WEFT_BIN does not name the program under test: `cargo xtask test` does")?;
    let path = PathBuf::from(path);
    path.canonicalize()
        .with_context(|| format!("WEFT_BIN is {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_says_much_ends() {
        let ran = run(&mut command([
            "sh",
            "-c",
            "head -c 1000000 /dev/zero; echo no >&2; exit 3",
        ]))
        .unwrap();
        assert_eq!(ran.stdout.len(), 1_000_000);
        assert_eq!(ran.status.code(), Some(3));
        assert!(ran.says("no").unwrap().ok().is_err());
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let hung = run_within(&mut command(["sleep", "600"]), Duration::from_millis(50));
        assert!(format!("{:#}", hung.unwrap_err()).contains("did not end"));
    }
}
