//! Does what a page of the documentation says, and compares what it shows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::dev::READY_WAIT;
use crate::page::{Block, Leeway, Page, Step, Task};
use crate::shape::same_shape;
use crate::shell::Shell;
use crate::{Background, SOON, User, eventually};

/// How long one command of a page may take.
const STEP_WAIT: Duration = Duration::from_secs(90);

/// One reader of pages, at one or more hosts.
#[derive(Debug)]
pub struct Walk<'a> {
    user: &'a User,
    hosts: BTreeMap<String, Shell>,
    dev: Option<Background>,
}

impl<'a> Walk<'a> {
    /// A reader with one shell, in an empty folder, whose prompt names no host.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn new(user: &'a User) -> Result<Self> {
        let mut walk = Self {
            user,
            hosts: BTreeMap::new(),
            dev: None,
        };
        walk.host("", Command::new("bash"))?;
        Ok(walk)
    }

    /// Adds a host: a bash, or what becomes one, behind its own prompt and with
    /// contexts and a folder of its own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn host(&mut self, name: &str, mut bash: Command) -> Result<()> {
        let folder = self.folder(name);
        fs::create_dir_all(folder.join("config"))?;
        // A terminal shows no progress of a download that is printed; a pipe would.
        fs::write(folder.join(".curlrc"), "silent\nshow-error\n")?;
        self.user.surround(&mut bash)?;
        bash.current_dir(&folder).env("HOME", &folder);
        if !name.is_empty() {
            bash.env("WEFT_CONFIG_DIR", folder.join("config"));
        }
        self.hosts.insert(name.to_owned(), Shell::start(&mut bash)?);
        Ok(())
    }

    /// The process of a host's shell.
    ///
    /// # Errors
    /// There is no such host.
    pub fn pid(&mut self, host: &str) -> Result<u32> {
        Ok(self.shell(host)?.pid())
    }

    /// Types a command that no page shows; it has to succeed.
    ///
    /// # Errors
    /// It failed, with what it said.
    pub fn prepare(&mut self, host: &str, command: &str) -> Result<()> {
        let said = self.shell(host)?.run(command, STEP_WAIT)?;
        ensure!(said.code == 0, "{command}: {}", said.text);
        Ok(())
    }

    /// Where a host's shell begins.
    pub fn folder(&self, host: &str) -> PathBuf {
        let name = if host.is_empty() { "here" } else { host };
        self.user.scratch().join(name)
    }

    /// Does all that a page says, in order.
    ///
    /// # Errors
    /// Something is not as shown: where, and what was printed instead.
    pub fn along(&mut self, page: &Page) -> Result<()> {
        for block in &page.blocks {
            let place = || format!("{}:{}", page.path.display(), block.line);
            if let Err(error) = self.block(block) {
                return Err(error.context(place()).context(self.dev_said()));
            }
        }
        Ok(())
    }

    fn block(&mut self, block: &Block) -> Result<()> {
        match &block.task {
            Task::Show | Task::Skip(_) => Ok(()),
            Task::Dev(shown) => self.start_dev(shown),
            Task::File(name, text) => {
                let (host, name) = name.split_once(':').unwrap_or(("", name));
                Ok(fs::write(self.folder(host).join(name), text)?)
            }
            Task::Background(steps) => steps.iter().try_for_each(|step| {
                let log = format!("background-{}.log", step.line);
                self.shell(&step.host)?.spawn(&step.command, &log)
            }),
            Task::Run(steps, leeway) => steps.iter().try_for_each(|step| self.step(step, leeway)),
        }
    }

    /// Starts `weft dev` as a reader does, without any argument, and waits until it says
    /// what the page shows.
    fn start_dev(&mut self, shown: &str) -> Result<()> {
        ensure!(self.dev.is_none(), "weft dev runs");
        let log = self.user.scratch().join("dev.log");
        let mut dev = Background::start(&mut self.user.command(["dev"]), &log)?;
        let outcome = eventually("weft dev says what is shown", READY_WAIT, || {
            match dev.still_runs() {
                // Ended: looking on would change nothing.
                Err(ended) => Ok(Err(ended)),
                Ok(()) => same_shape(shown, &dev.said(), false).map(Ok),
            }
        })
        .and_then(|ended| ended);
        self.dev = Some(dev);
        outcome
    }

    fn step(&mut self, step: &Step, leeway: &Leeway) -> Result<()> {
        let within = if leeway.eventually {
            SOON
        } else {
            Duration::ZERO
        };
        let shell = self.shell(&step.host)?;
        eventually("the output is as shown", within, || {
            attempt(shell, step, leeway)
        })
        .with_context(|| format!("line {}: {}", step.line, step.command))
    }

    fn shell(&mut self, host: &str) -> Result<&mut Shell> {
        let shell = self.hosts.get_mut(host);
        shell.with_context(|| format!("nobody sits at a host `{host}`"))
    }

    fn dev_said(&self) -> String {
        self.dev.as_ref().map_or_else(
            || "weft dev was not started by the page".to_owned(),
            |dev| format!("weft dev said\n{}", dev.said()),
        )
    }
}

/// What is shown is what counts. If nothing is, the command has to succeed.
fn attempt(shell: &mut Shell, step: &Step, leeway: &Leeway) -> Result<()> {
    let said = shell.run(&step.command, STEP_WAIT)?;
    if step.shown.is_empty() {
        if said.code == 0 {
            return Ok(());
        }
        bail!("it ended with {}\n{}", said.code, said.text);
    }
    let shown = leeway
        .varying
        .iter()
        .fold(step.shown.clone(), |shown, word| shown.replace(word, "…"));
    same_shape(&shown, &without_progress(&said.text), leeway.any_order)
        .with_context(|| format!("all that it printed:\n{}", said.text))
}

/// A terminal draws over `... waiting for …, 3 s`; a pipe keeps such lines.
fn without_progress(text: &str) -> String {
    let is_progress = |line: &&str| line.starts_with("... ") && line.ends_with(" s");
    let lines: Vec<&str> = text.lines().filter(|line| !is_progress(line)).collect();
    lines.join("\n")
}

/// The pages below a folder of the project and its own, by name.
///
/// # Errors
/// The folder cannot be read.
pub fn pages(root: &Path, folder: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(folder))? {
        let path = Path::new(folder).join(entry?.file_name());
        if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
