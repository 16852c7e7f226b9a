//! `Max-Forwards` (RFC 9110 §7.6.2): how many intermediaries TRACE and OPTIONS may pass.

use http::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderValue, MAX_FORWARDS, PROXY_AUTHORIZATION,
};
use http::{Method, Request, Response};
use weft_decide::Reason;

use super::Body;

/// Counts us. The answer, if the request was to get no further than here.
pub(crate) fn count_hop<B>(request: &mut Request<B>) -> Result<Option<Response<Body>>, Reason> {
    if !matches!(*request.method(), Method::TRACE | Method::OPTIONS) {
        return Ok(None);
    }
    let Some(left) = request.headers().get(MAX_FORWARDS) else {
        return Ok(None);
    };
    let digits = left.to_str().map_err(|_| Reason::BadRequest)?;
    let left: u64 = digits.parse().map_err(|_| Reason::BadRequest)?;
    if let Some(left) = left.checked_sub(1) {
        let left = HeaderValue::from(left);
        request.headers_mut().insert(MAX_FORWARDS, left);
        return Ok(None);
    }
    Ok(Some(match *request.method() {
        Method::TRACE => reflect(request),
        _ => options(),
    }))
}

/// The request as it came, without what may be secret (RFC 9110 §9.3.8).
fn reflect<B>(request: &Request<B>) -> Response<Body> {
    let mut text = format!("TRACE {} {:?}\r\n", request.uri(), request.version()).into_bytes();
    for (name, value) in request.headers() {
        if ![AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name) {
            text.extend(name.as_str().as_bytes());
            text.extend(b": ");
            text.extend(value.as_bytes());
            text.extend(b"\r\n");
        }
    }
    let mut response = Response::new(Body::ours(text));
    let kind = HeaderValue::from_static("message/http");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn options() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let methods =
        HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT");
    response.headers_mut().insert(ALLOW, methods);
    response
}
