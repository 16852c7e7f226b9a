//! `weft help [COMMAND|TOPIC]`.

mod topics;

use clap::CommandFactory;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use weft_model::code;

use super::Outcome;
use crate::args::Args;
use crate::document::nearest;
use crate::output;
use crate::problem::{Exit, Problem};

pub(crate) use topics::TOPICS;

/// Print help of a command or a topic: exit-codes, environment, output, resources.
#[derive(Debug, clap::Args)]
pub(crate) struct Help {
    /// A command (`cluster token`) or a topic.
    #[arg(add = ArgValueCandidates::new(candidates))]
    words: Vec<String>,
}

impl Help {
    pub(crate) fn run(self) -> Outcome {
        let text = match &self.words[..] {
            [word] if let Some(topic) = TOPICS.iter().find(|topic| topic.name == *word) => {
                (topic.text)()
            }
            words => of_command(words)?,
        };
        output::data(&text);
        Ok(Exit::Done)
    }
}

/// What `weft COMMAND --help` prints.
fn of_command(words: &[String]) -> Result<String, Problem> {
    let mut root = Args::command();
    root.build();
    let mut command = &mut root;
    for word in words {
        let known: Vec<String> = command
            .get_subcommands()
            .map(|known| known.get_name().to_owned())
            .collect();
        command = match command.find_subcommand_mut(word) {
            Some(found) => found,
            None => return Err(unknown(word, &known)),
        };
    }
    Ok(command.render_long_help().to_string())
}

fn unknown(word: &str, commands: &[String]) -> Problem {
    let topics = TOPICS.iter().map(|topic| topic.name);
    let known: Vec<&str> = commands.iter().map(String::as_str).chain(topics).collect();
    let what = format!("there is no command or topic {word:?}");
    Problem::new(code::USAGE, what).next(match nearest(word, &known) {
        Some(near) => format!("Did you mean {near:?}? `weft help` lists all commands."),
        None => "`weft help` lists all commands and topics.".to_owned(),
    })
}

fn candidates() -> Vec<CompletionCandidate> {
    let topics = TOPICS
        .iter()
        .map(|topic| (topic.name.to_owned(), topic.about.to_owned()));
    let commands = Args::command();
    let commands = commands
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| {
            let about = command.get_about().map(ToString::to_string);
            (command.get_name().to_owned(), about.unwrap_or_default())
        });
    commands
        .chain(topics)
        .map(|(name, about)| CompletionCandidate::new(name).help(Some(about.into())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_found_by_its_words() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let text = of_command(&words("cluster token create")).expect("a command");
        assert!(text.contains("--ttl"), "{text}");
        let wrong = of_command(&words("cluster tokens")).expect_err("no command");
        assert_eq!(wrong.exit, Exit::Usage);
        assert!(wrong.to_string().contains("\"token\""), "{wrong}");
    }
}
