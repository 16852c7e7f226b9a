//! Whether a request satisfies one match, and if not, why.

use weft_model::{PathMatchType, RouteMatch};

use super::path_of;
use crate::RequestHead;

/// What a request lacks for a match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchRefusal {
    /// Its path is another.
    #[error("the path is not {0}")]
    PathDiffers(String),
    /// Its path does not begin with these segments.
    #[error("the path does not begin with {0}")]
    PrefixDiffers(String),
    /// Its method is another.
    #[error("the method is not {0}")]
    MethodDiffers(String),
    /// None of the lines of this header field has the value.
    #[error("header {0} does not have the value asked for")]
    HeaderDiffers(String),
    /// The query parameter is absent or has another value.
    #[error("query parameter {0} does not have the value asked for")]
    QueryDiffers(String),
}

/// Judges the path alone, which a lookup does by its index.
pub(super) fn judge_path(
    condition: &RouteMatch,
    head: &RequestHead<'_>,
) -> Result<(), MatchRefusal> {
    let path = head.path_only();
    match path_of(condition) {
        (PathMatchType::Exact, exact) if path == exact => Ok(()),
        (PathMatchType::Exact, exact) => Err(MatchRefusal::PathDiffers(exact.into())),
        (PathMatchType::PathPrefix, prefix) => match path.strip_prefix(prefix) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Ok(()),
            _ => Err(MatchRefusal::PrefixDiffers(prefix.into())),
        },
    }
}

/// Judges everything but the path.
pub(super) fn judge(condition: &RouteMatch, head: &RequestHead<'_>) -> Result<(), MatchRefusal> {
    let method = condition.method.as_deref();
    if let Some(method) = method.filter(|method| *method != head.method) {
        return Err(MatchRefusal::MethodDiffers(method.into()));
    }
    let header = condition.headers.iter().find(|header| {
        let mut equal = |value: &[u8]| value == header.value.as_bytes();
        #[cfg(feature = "bugs")]
        if weft_model::planted::Bug::FirstHeaderValue.is_planted() {
            let mut first = None;
            head.headers.any(&header.name, &mut |value| {
                first.get_or_insert(equal(value));
                true
            });
            return first != Some(true);
        }
        !head.headers.any(&header.name, &mut equal)
    });
    if let Some(header) = header {
        return Err(MatchRefusal::HeaderDiffers(header.name.clone()));
    }
    let mut params = condition.query_params.iter();
    match params.find(|param| head.query(&param.name) != Some(&param.value)) {
        Some(param) => Err(MatchRefusal::QueryDiffers(param.name.clone())),
        None => Ok(()),
    }
}
