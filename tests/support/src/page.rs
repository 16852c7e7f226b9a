//! A page of the documentation, as a test reads it: its blocks, and what to do with each.
//!
//! Every fenced block that a shell could run is run, unless the page says why not. What
//! else a block needs is said in a comment that readers do not see, on the line before it:
//!
//! ```text
//! <!-- test: skip, WHY -->        it is not run
//! <!-- test: dev -->              starts `weft dev`, which says what the block shows
//! <!-- test: file NAME -->        its text is written to a file
//! <!-- test: background -->       what it starts goes on
//! <!-- test: eventually -->       run again until it says what is shown
//! <!-- test: any order -->        lines may come in another order
//! <!-- test: varies WORD -->      another text may stand for that word
//! ```
//!
//! The last three go together, with semicolons between them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Begins a comment for us, and only that.
const COMMENT: &str = "<!-- test: ";

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Its path, from the project's root.
    pub path: PathBuf,
    /// Its blocks, in order.
    pub blocks: Vec<Block>,
}

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Where its fence is, counted from 1.
    pub line: usize,
    /// What is done with it.
    pub task: Task,
}

/// What is done with a block.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Nothing: there is nothing to run in it.
    Show,
    /// Nothing, for a reason.
    Skip(String),
    /// `weft dev` is started, and says this.
    Dev(String),
    /// A file of that name and text is written.
    File(String, String),
    /// It is started, and nobody waits for its end.
    Background(Vec<Step>),
    /// It is run.
    Run(Vec<Step>, Leeway),
}

/// What may differ from the page besides what the shape allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leeway {
    /// It may take another try.
    pub eventually: bool,
    /// Lines may come in another order.
    pub any_order: bool,
    /// Words that stand for others too.
    pub varying: Vec<String>,
}

/// A command, and what the page says it prints.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it is.
    pub line: usize,
    /// The host whose prompt is before it; empty if the prompt names none.
    pub host: String,
    /// What is typed.
    pub command: String,
    /// What the page shows below; empty if nothing.
    pub shown: String,
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// It cannot be read, or has a comment that means nothing.
    pub fn read(root: &Path, path: &Path) -> Result<Self> {
        let text = fs::read_to_string(root.join(path))
            .with_context(|| format!("cannot read {}", path.display()))?;
        let blocks = blocks(&text).with_context(|| path.display().to_string())?;
        Ok(Self {
            path: path.to_owned(),
            blocks,
        })
    }
}

fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut wish = None;
    let mut lines = (1..).zip(text.lines());
    while let Some((line, text)) = lines.next() {
        if let Some(rest) = text.strip_prefix(COMMENT) {
            let words = rest.strip_suffix(" -->");
            wish = Some(words.with_context(|| format!("line {line}: no end of the comment"))?);
            continue;
        }
        let Some(language) = text.strip_prefix("```") else {
            if let Some(wish) = wish {
                bail!("line {line}: no block follows the comment `{wish}`");
            }
            continue;
        };
        let mut body = Vec::new();
        loop {
            let (line, text) = lines.next().context("a block has no end")?;
            if text == "```" {
                break;
            }
            body.push((line, text));
        }
        let task =
            task(language, wish.take(), &body).with_context(|| format!("the block at {line}"))?;
        blocks.push(Block { line, task });
    }
    Ok(blocks)
}

fn task(language: &str, wish: Option<&str>, body: &[(usize, &str)]) -> Result<Task> {
    let text = || body.iter().map(|(_, line)| format!("{line}\n")).collect();
    let steps = || match language {
        "console" => session(body),
        "sh" => Ok(script(body)),
        _ => bail!("no shell runs a block of `{language}`"),
    };
    let wish = match wish {
        None if !["console", "sh", "bash", "shell"].contains(&language) => return Ok(Task::Show),
        None => return Ok(Task::Run(steps()?, Leeway::default())),
        Some(wish) => wish,
    };
    if let Some(why) = wish.strip_prefix("skip, ") {
        return Ok(Task::Skip(why.to_owned()));
    }
    if let Some(name) = wish.strip_prefix("file ") {
        return Ok(Task::File(name.to_owned(), text()));
    }
    match wish {
        "dev" => return Ok(Task::Dev(text())),
        "background" => return Ok(Task::Background(steps()?)),
        _ => {}
    }
    let mut leeway = Leeway::default();
    for word in wish.split("; ") {
        match word {
            "eventually" => leeway.eventually = true,
            "any order" => leeway.any_order = true,
            _ => match word.strip_prefix("varies ") {
                Some(varying) => leeway.varying.push(varying.to_owned()),
                None => bail!("`{word}` means nothing here"),
            },
        }
    }
    Ok(Task::Run(steps()?, leeway))
}

/// Commands behind prompts, and what they print.
fn session(body: &[(usize, &str)]) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for (line, text) in body {
        if let Some((host, command)) = prompt(text) {
            steps.push(Step {
                line: *line,
                host: host.to_owned(),
                command: command.to_owned(),
                shown: String::new(),
            });
            continue;
        }
        let Some(step) = steps.last_mut() else {
            bail!("line {line}: output before any command");
        };
        let (part, end) = if step.shown.is_empty() && step.command.ends_with('\\') {
            (&mut step.command, "")
        } else {
            (&mut step.shown, "\n")
        };
        if end.is_empty() {
            part.push('\n');
        }
        part.push_str(text);
        part.push_str(end);
    }
    Ok(steps)
}

/// `$ command` or `host-a$ command`.
fn prompt(line: &str) -> Option<(&str, &str)> {
    let (host, command) = line.split_once("$ ")?;
    let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    host.chars().all(named).then_some((host, command))
}

/// A whole block for one shell, without output.
fn script(body: &[(usize, &str)]) -> Vec<Step> {
    let lines: Vec<&str> = body.iter().map(|(_, line)| *line).collect();
    let step = body.first().map(|(line, _)| Step {
        line: *line,
        host: String::new(),
        command: lines.join("\n"),
        shown: String::new(),
    });
    step.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(text: &str) -> Vec<Task> {
        let blocks = blocks(text).unwrap();
        blocks.into_iter().map(|block| block.task).collect()
    }

    fn step(line: usize, host: &str, command: &str, shown: &str) -> Step {
        Step {
            line,
            host: host.to_owned(),
            command: command.to_owned(),
            shown: shown.to_owned(),
        }
    }

    #[test]
    fn a_session_is_commands_and_what_they_print() {
        let text = "```console\n$ one \\\n  more\na\nb\nhost-a$ two\n$ three\nc\n```\n";
        let steps = vec![
            step(2, "", "one \\\n  more", "a\nb\n"),
            step(6, "host-a", "two", ""),
            step(7, "", "three", "c\n"),
        ];
        assert_eq!(tasks(text), [Task::Run(steps, Leeway::default())]);
    }

    #[test]
    fn what_a_shell_could_run_is_run_unless_the_page_says_why_not() {
        let text =
            "```sh\na\nb\n```\n```text\nx\n```\n<!-- test: skip, no room -->\n```sh\nc\n```\n";
        let expected = [
            Task::Run(vec![step(2, "", "a\nb", "")], Leeway::default()),
            Task::Show,
            Task::Skip("no room".to_owned()),
        ];
        assert_eq!(tasks(text), expected);
    }

    #[test]
    fn comments_say_what_else_a_block_needs() {
        let text = "<!-- test: dev -->\n```text\nx\n```\n<!-- test: file a.yaml -->\n```yaml\ny\n```\n\
                    <!-- test: any order; eventually; varies z -->\n```console\n$ z\n```\n";
        let leeway = Leeway {
            eventually: true,
            any_order: true,
            varying: vec!["z".to_owned()],
        };
        let expected = [
            Task::Dev("x\n".to_owned()),
            Task::File("a.yaml".to_owned(), "y\n".to_owned()),
            Task::Run(vec![step(11, "", "z", "")], leeway),
        ];
        assert_eq!(tasks(text), expected);
    }

    #[test]
    fn a_comment_that_would_be_lost_is_an_error() {
        for text in [
            "<!-- test: skip, why -->\nwords\n```sh\na\n```\n",
            "<!-- test: sometimes -->\n```sh\na\n```\n",
            "<!-- test: eventually -->\n```yaml\na\n```\n",
            "```console\noutput\n```\n",
            "```sh\nno end\n",
        ] {
            assert!(blocks(text).is_err(), "{text}");
        }
    }
}
