//! A refusal as the client of a request sees it: what, why, next step.

use http::header::{CONTENT_TYPE, HeaderValue, SERVER};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use weft_decide::Reason;

use super::Body;

const REASON: HeaderName = HeaderName::from_static("x-weft-reason");
const RESPONSE_FLAGS: HeaderName = HeaderName::from_static("x-weft-response-flags");

/// Whether a request is gRPC, whose clients read a status in the trailers.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The answer for `reason`; `about` names what the request was for.
pub(crate) fn refuse(reason: Reason, about: &str, grpc: bool) -> Response<Body> {
    let mut response = if grpc {
        grpc_refusal(reason, about)
    } else {
        let text = format!(
            "{}: {}\n  for: {about}\n  next: {}\n",
            reason.code(),
            reason.what(),
            reason.next_step()
        );
        let mut response = Response::new(Body::ours(text));
        *response.status_mut() =
            StatusCode::from_u16(reason.http_status()).expect("every reason has an HTTP status");
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        response
    };
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("weft"));
    headers.insert(REASON, HeaderValue::from_static(reason.label()));
    headers.insert(
        RESPONSE_FLAGS,
        HeaderValue::from_static(reason.response_flag()),
    );
    response
}

/// Trailers-only, as the gRPC-over-HTTP/2 specification writes it.
fn grpc_refusal(reason: Reason, about: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(
        "grpc-status",
        HeaderValue::from(u16::from(reason.grpc_status())),
    );
    let message = format!("{reason} ({about})");
    if let Ok(message) = HeaderValue::try_from(percent(&message)) {
        headers.insert("grpc-message", message);
    }
    response
}

/// gRPC percent-encodes what is not printable ASCII.
fn percent(message: &str) -> String {
    message
        .bytes()
        .map(|byte| match byte {
            b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
