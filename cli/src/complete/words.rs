//! What stands on the line already, as far as candidates depend on it.

use clap::Parser;
use weft_model::Namespace;

use crate::args::Global;

/// The words after the program's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words(Vec<String>);

/// Read on its own: flags of commands among the words are passed over.
#[derive(Debug, Parser)]
struct Alone {
    #[command(flatten)]
    global: Global,
}

/// Which word is being typed, where the shell says it; the last one otherwise.
const INDEX: &str = "_CLAP_COMPLETE_INDEX";

/// Global flags that take a value.
const FLAGS: [(&str, &str); 3] = [
    ("--context", "--context"),
    ("--cluster", "--cluster"),
    ("--namespace", "-n"),
];

impl Words {
    /// Those that the shell handed over, `weft -- weft get routes`, up to the one being typed: half
    /// a cluster's name is nobody to ask.
    pub(super) fn of_shell() -> Self {
        let words = std::env::args().skip_while(|word| word != "--").skip(1);
        let words: Vec<String> = words.collect();
        let typed = std::env::var(INDEX)
            .ok()
            .and_then(|index| index.parse().ok());
        Self::before(&words, typed.unwrap_or(words.len().saturating_sub(1)))
    }

    /// The words between the program's name and the one at `typed`.
    fn before(words: &[String], typed: usize) -> Self {
        Self(
            words
                .get(1..typed.min(words.len()))
                .unwrap_or_default()
                .to_vec(),
        )
    }

    /// The global flags that were given, for whoever asks a gateway.
    pub(super) fn global(&self) -> Global {
        let mut flags = vec!["weft".to_owned()];
        for (long, short) in FLAGS {
            if let Some(value) = self.value(long, short) {
                flags.push(format!("{long}={value}"));
            }
        }
        let given = Alone::try_parse_from(flags).or_else(|_| Alone::try_parse_from(["weft"]));
        given.expect("no flag is required").global
    }

    pub(super) fn namespace(&self) -> Option<Namespace> {
        self.value("--namespace", "-n")?.parse().ok()
    }

    /// The word after a command: the kind in `get routes NAME`.
    pub(super) fn after(&self, commands: &[&str]) -> Option<&str> {
        let at = self
            .0
            .iter()
            .position(|word| commands.contains(&word.as_str()))?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn value(&self, long: &str, short: &str) -> Option<&str> {
        let at = self.0.iter().position(|word| word == long || word == short);
        let joined = self
            .0
            .iter()
            .find_map(|word| word.strip_prefix(long)?.strip_prefix('='));
        let next = at.and_then(|at| self.0.get(at + 1)).map(String::as_str);
        joined.or(next).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Words {
        let words: Vec<String> = format!("weft {line}")
            .split(' ')
            .map(str::to_owned)
            .collect();
        Words::before(&words, words.len() - 1)
    }

    #[test]
    fn flags_that_decide_whom_to_ask_are_found() {
        let given = words("-n shop get --cluster=eu-west-1 routes ");
        let global = given.global();
        assert_eq!(given.namespace(), "shop".parse().ok());
        assert_eq!(global.cluster, "eu-west-1".parse().ok());
        assert_eq!(
            given.after(&["get", "describe"]),
            Some("--cluster=eu-west-1")
        );
        assert_eq!(words("get routes c").after(&["get"]), Some("routes"));
    }

    #[test]
    fn the_word_being_typed_decides_nothing() {
        assert_eq!(words("get --cluster eu-west-1").global().cluster, None);
        assert_eq!(Words::before(&[], 3), Words(Vec::new()));
    }

    #[test]
    fn what_does_not_parse_is_passed_over() {
        assert_eq!(words("--cluster NOT_A_NAME get ").global().cluster, None);
    }
}
