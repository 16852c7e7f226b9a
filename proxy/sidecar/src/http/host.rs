//! The host that a request is for.

use http::header::HOST;
use http::uri::{self, PathAndQuery, Scheme};
use http::{Request, Uri};
use weft_decide::Reason;

/// The host a request is for: an absolute target wins over `Host` (RFC 9112
/// §3.2.2); without either, with several, or with a user's name in it (RFC 9110
/// §4.2.4), it is refused.
///
/// # Errors
///
/// `BadRequest`, or `NotSupported` for a scheme other than `http`.
pub(crate) fn authority<B>(request: &Request<B>) -> Result<String, Reason> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Reason::BadRequest);
    }
    if let Some(scheme) = request.uri().scheme()
        && *scheme != Scheme::HTTP
    {
        return Err(Reason::NotSupported);
    }
    let authority = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => host
            .and_then(|host| host.to_str().ok())
            .ok_or(Reason::BadRequest)?,
    };
    if authority.contains('@') {
        return Err(Reason::BadRequest);
    }
    Ok(authority.to_owned())
}

/// The same target in absolute form, at `authority`.
///
/// # Errors
///
/// `BadRequest` if that is no authority, or together they are no URI.
pub(crate) fn absolute(uri: &Uri, authority: &str) -> Result<Uri, Reason> {
    let mut parts = uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.parse().map_err(|_| Reason::BadRequest)?);
    parts.path_and_query = Some(
        uri.path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
    );
    Uri::from_parts(parts).map_err(|_| Reason::BadRequest)
}
