//! HTTP parts that outbound and inbound share.

mod body;
mod exec;
mod headers;
mod limits;
mod refusal;

pub(crate) use body::{Body, BodyEnd, Watch, grpc_status};
pub(crate) use exec::LocalExec;
pub(crate) use headers::{FORWARDED_CLIENT_CERT, REQUEST_ID, sanitize, strip_hop_by_hop};
pub(crate) use limits::{client_h1, client_h2, server_h1, server_h2};
pub(crate) use refusal::{is_grpc, refuse};
