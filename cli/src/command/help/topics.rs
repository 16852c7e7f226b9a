//! The topics of `weft help`, made from the tables that the program itself uses.

use std::fmt::Write;

use clap::ValueEnum;
use weft_model::KindName;

use crate::command::get::KINDS;
use crate::output::Format;
use crate::problem::Exit;

/// A topic.
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) text: fn() -> String,
}

/// All of them.
pub(crate) const TOPICS: &[Topic] = &[
    Topic {
        name: "exit-codes",
        about: "what the exit status says",
        text: exit_codes,
    },
    Topic {
        name: "environment",
        about: "variables that are read",
        text: environment,
    },
    Topic {
        name: "output",
        about: "formats, and what goes where",
        text: output,
    },
    Topic {
        name: "resources",
        about: "kinds, and who may change them",
        text: resources,
    },
];

fn exit_codes() -> String {
    let mut text = String::from("The exit status says what a script should do next.\n\n");
    for exit in Exit::ALL {
        line(&mut text, &(exit as u8).to_string(), 4, exit.meaning());
    }
    text.push_str(
        "\n`diff` uses 2 and above for errors, so that 1 says nothing but \"differs\". A program that a\n\
         signal ends has the shell's status for it: 130 after Ctrl-C.\n",
    );
    text
}

/// Every variable that the program reads, and what it does.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    (
        "WEFT_CONTEXT",
        "the context of the admin commands; --context",
    ),
    ("WEFT_CLUSTER", "the cluster that they ask; --cluster"),
    (
        "WEFT_CONFIG_DIR",
        "the folder of contexts (config.yaml, which holds keys)",
    ),
    (
        "WEFT_CONFIG",
        "the configuration of a gateway, a sidecar or `capture`; --config",
    ),
    (
        "WEFT_JOIN_TOKEN",
        "the token of `cluster join`; --token, which others can see in `ps`",
    ),
    ("WEFT_LOG_FORMAT", "text or json; --log-format"),
    (
        "WEFT_COMPLETE",
        "set by the shell's completion function alone",
    ),
    ("RUST_LOG", "which logs are written: weft=debug,warn"),
    ("NO_COLOR", "no colour, whatever its value; --no-color"),
    (
        "XDG_CONFIG_HOME",
        "where contexts are without WEFT_CONFIG_DIR: in weft/",
    ),
    ("HOME", "where contexts are without both: in .config/weft/"),
    (
        "XDG_RUNTIME_DIR",
        "where the socket of `weft dev` is; in /tmp without it",
    ),
];

fn environment() -> String {
    let mut text = String::from("Flags win over variables, variables over files.\n\n");
    for (name, what) in VARIABLES {
        line(&mut text, name, 18, what);
    }
    text
}

fn output() -> String {
    let mut text = String::from(
        "Data goes to standard output; what is said about it, and progress, to standard error (-q\n\
         silences it, failures apart). -o chooses the form of data:\n\n",
    );
    for format in Format::value_variants() {
        let value = format.to_possible_value().expect("no format is hidden");
        let help = value
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        line(&mut text, value.get_name(), 8, &help);
    }
    text.push_str(
        "\nDocuments carry apiVersion; fields are only ever added. A watch (-w) with -o json prints one\n\
         document a line. With -o json and -o yaml a failure is a document too, on standard error:\n\
         apiVersion, and in `error` code, what, detail, why, next and exit.\n\
         A table shows ages on a terminal and dates (RFC 3339) in a pipe; documents have dates.\n",
    );
    text
}

fn resources() -> String {
    let mut text = String::from(
        "A resource has apiVersion: weft.dev/v1, kind, metadata and spec; `weft schema KIND` has its\n\
         fields. `weft get` takes the words below.\n\n",
    );
    for (kind, words) in KINDS {
        line(&mut text, &kind.to_string(), 16, &words[1..].join(", "));
    }
    text.push_str(
        "\nServiceExport and WorkloadEntry belong to one cluster: `weft apply --cluster NAME` has a gateway\n\
         of it sign them. The others belong to the federation and are signed with your own key.\n",
    );
    let later: Vec<&str> = KindName::all()
        .filter(|name| matches!(KindName::parse(name), KindName::NotYet(_)))
        .collect();
    if !later.is_empty() {
        let _infallible = writeln!(
            text,
            "\nRefused with WEFT-1005, since nothing enforces them yet:\n{}.",
            later.join(", ")
        );
    }
    text
}

/// `  name   what`, the second column at the same place.
fn line(text: &mut String, name: &str, width: usize, what: &str) {
    let _infallible = writeln!(text, "  {name:width$} {what}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Names in quotes that look like a variable, in the program's own sources.
    fn names_in(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                names_in(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let program = text.split("#[cfg(test)]").next().unwrap_or_default();
            let quoted = program.split('"').skip(1).step_by(2);
            found.extend(quoted.filter(|name| is_variable(name)).map(str::to_owned));
        }
    }

    fn is_variable(name: &str) -> bool {
        let known = ["WEFT_", "XDG_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        let word = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        (known && word && !name.ends_with('_')) || ["HOME", "NO_COLOR", "RUST_LOG"].contains(&name)
    }

    #[test]
    fn every_variable_that_is_read_is_listed_and_no_other() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("a workspace");
        let mut read = BTreeSet::new();
        for folder in ["cli/src", "gateway/server/src", "proxy/sidecar/src"] {
            names_in(&root.join(folder), &mut read);
        }
        // The filter's own default names it.
        read.insert("RUST_LOG".to_owned());
        let listed: BTreeSet<String> = VARIABLES
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        assert_eq!(read, listed);
    }

    #[test]
    fn every_kind_that_is_enforced_has_words() {
        let enforced = KindName::all().filter_map(|name| match KindName::parse(name) {
            KindName::Enforced(kind) => Some(kind),
            _ => None,
        });
        let listed: Vec<_> = KINDS.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(enforced.collect::<Vec<_>>(), listed);
    }

    #[test]
    fn no_topic_is_wider_than_a_terminal() {
        for topic in TOPICS {
            for line in (topic.text)().lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", topic.name);
            }
        }
    }
}
