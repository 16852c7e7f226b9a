//! `weft man`: manual pages, from the command line's own definition.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, roman};
use weft_model::code;

use super::Outcome;
use super::help::TOPICS;
use crate::args::Args;
use crate::output;
use crate::problem::{Exit, Problem};

/// Write manual pages, one for each command; without a folder, print that of weft itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// The folder: `man -M` and packages look in one named man1.
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self) -> Outcome {
        let Some(dir) = self.dir else {
            output::data(&String::from_utf8_lossy(&main_page()));
            return Ok(Exit::Done);
        };
        let pages = write(&dir).map_err(|error| {
            Problem::new(
                code::FILE_UNREADABLE,
                format!("cannot write to {}", dir.display()),
            )
            .detail(error)
        })?;
        output::narrate(&format!(
            "{pages} pages in {}; read one: man -l {}",
            dir.display(),
            dir.join("weft.1").display()
        ));
        Ok(Exit::Done)
    }
}

/// Writes all pages, and says how many there are.
fn write(dir: &Path) -> io::Result<usize> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Args::command(), dir)?;
    fs::write(dir.join("weft.1"), main_page())?;
    Ok(count(&Args::command()))
}

fn count(command: &clap::Command) -> usize {
    let visible = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    1 + visible.map(count).sum::<usize>()
}

/// The page of weft itself, with the topics of `weft help` as sections.
fn main_page() -> Vec<u8> {
    let mut page = Vec::new();
    let written = Page::new(Args::command().disable_help_subcommand(true)).render(&mut page);
    written.expect("memory takes every page");
    let mut sections = Roff::new();
    for topic in TOPICS {
        sections.control("SH", [section(topic.name).as_str()]);
        sections.control("nf", []);
        sections.text([roman((topic.text)())]);
        sections.control("fi", []);
    }
    page.extend(sections.to_roff().into_bytes());
    page
}

/// Where manual pages have such things.
fn section(topic: &str) -> String {
    match topic {
        "exit-codes" => "EXIT STATUS".to_owned(),
        other => other.to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn every_command_has_a_page_that_groff_takes() {
        let dir = tempfile::tempdir().expect("a folder");
        let pages = write(dir.path()).expect("pages");
        let files: Vec<PathBuf> = fs::read_dir(dir.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert_eq!(files.len(), pages);
        for command in ["weft.1", "weft-apply.1", "weft-cluster-token-create.1"] {
            assert!(dir.path().join(command).exists(), "{command}");
        }
        let rendered = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-z"])
            .args(&files)
            .output();
        match rendered {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && said.is_empty(), "{said}");
            }
            // Where there is no groff, the pages are at least pages.
            Err(_) => {
                for file in files {
                    let text = fs::read_to_string(&file).expect("a page");
                    assert!(
                        text.contains(".TH weft") && text.contains(".SH SYNOPSIS"),
                        "{text}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_main_page_has_the_topics() {
        let page = String::from_utf8(main_page()).expect("UTF-8");
        for part in [
            ".SH \"EXIT STATUS\"",
            ".SH ENVIRONMENT",
            "WEFT\\_CONFIG\\_DIR",
        ] {
            let plain = part.replace("\\_", "_");
            assert!(
                page.contains(part) || page.contains(&plain),
                "{part}: {page}"
            );
        }
    }
}
