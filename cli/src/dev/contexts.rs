//! The context `dev`: made by founding, selected while the federation runs, and
//! taken away with it. The user's other contexts are left as they were.

use weft_model::{FederationDomain, code};

use crate::context::Contexts;
use crate::problem::Problem;

/// The context's name.
pub(super) const NAME: &str = "dev";

/// Makes room for a new context, and says which one was selected.
///
/// # Errors
/// `REFUSED` if the user has a context of that name for a federation of their own.
pub(super) fn prepare(domain: &FederationDomain) -> Result<Option<String>, Problem> {
    let mut contexts = Contexts::load()?;
    let before = contexts.current.take_if(|current| current != NAME);
    let Some(found) = contexts.contexts.get(NAME) else {
        return Ok(before);
    };
    if found.domain != *domain {
        return Err(Problem::new(
            code::REFUSED,
            format!(
                "your context {NAME:?} belongs to the federation {}",
                found.domain
            ),
        )
        .next(format!(
            "Keep it under another name: weft dev needs {NAME:?} for its own."
        )));
    }
    contexts.contexts.remove(NAME);
    contexts.current.clone_from(&before);
    contexts.save()?;
    Ok(before)
}

/// Selects the context.
pub(super) fn select() -> Result<Option<String>, Problem> {
    let mut contexts = Contexts::load()?;
    contexts.pick(Some(NAME))?;
    let before = contexts
        .current
        .replace(NAME.to_owned())
        .filter(|current| current != NAME);
    contexts.save()?;
    Ok(before)
}

/// Selects what was selected before, and forgets the context unless its federation stays.
pub(super) fn restore(
    domain: &FederationDomain,
    before: Option<&str>,
    stays: bool,
) -> Result<(), Problem> {
    let mut contexts = Contexts::load()?;
    let ours = contexts
        .contexts
        .get(NAME)
        .is_some_and(|found| found.domain == *domain);
    if ours && !stays {
        contexts.contexts.remove(NAME);
    }
    if contexts.current.as_deref() == Some(NAME) {
        contexts.current = before
            .filter(|before| contexts.contexts.contains_key(*before))
            .map(str::to_owned);
    }
    contexts.save()
}
