//! `weft context …`.

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;

use super::Outcome;
use crate::args::Global;
use crate::complete;
use crate::context::Contexts;
use crate::output::{self, Format};
use crate::problem::Exit;

/// Which federation the admin commands talk to.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List the contexts.
    List,
    /// Select one.
    Use {
        /// Its name.
        #[arg(add = ArgValueCandidates::new(complete::contexts))]
        name: String,
    },
    /// Print the name of the selected one.
    Current,
    /// Forget one; its keys are deleted with it.
    Remove {
        /// Its name.
        #[arg(add = ArgValueCandidates::new(complete::contexts))]
        name: String,
    },
}

impl ContextCommand {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let mut contexts = Contexts::load()?;
        match self {
            Self::List => list(&contexts, global.output),
            Self::Use { name } => {
                let chosen = contexts.pick(Some(&name))?.0.to_owned();
                contexts.current = Some(chosen);
                contexts.save()?;
                output::narrate(&format!("context {name} is selected"));
            }
            Self::Current => output::data(contexts.pick(global.context.as_deref())?.0),
            Self::Remove { name } => {
                contexts.pick(Some(&name))?;
                contexts.contexts.remove(&name);
                contexts.current.take_if(|current| *current == name);
                contexts.save()?;
                output::narrate(&format!("context {name} and its keys are forgotten"));
            }
        }
        Ok(Exit::Done)
    }
}

/// Names and places only: keys are never printed.
fn list(contexts: &Contexts, format: Format) {
    let current = contexts.current.as_deref();
    match format {
        Format::Name => contexts.contexts.keys().for_each(|name| output::data(name)),
        Format::Json | Format::Yaml => {
            let items: Vec<_> = contexts
                .contexts
                .iter()
                .map(|(name, context)| {
                    serde_json::json!({
                        "name": name,
                        "current": current == Some(name),
                        "federation": context.domain,
                        "cluster": context.home,
                        "user": context.user,
                    })
                })
                .collect();
            output::value(
                format,
                &serde_json::json!({ "apiVersion": "weft.dev/v1", "items": items }),
            );
        }
        Format::Table | Format::Wide => {
            let rows = contexts.contexts.iter().map(|(name, context)| {
                let mark = if current == Some(name) { "*" } else { "" };
                vec![
                    mark.to_owned(),
                    name.clone(),
                    context.domain.to_string(),
                    context.home.to_string(),
                    context.user.to_string(),
                ]
            });
            output::table(&["", "NAME", "FEDERATION", "CLUSTER", "USER"], rows);
        }
    }
}
