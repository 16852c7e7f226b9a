//! HTTP parts that outbound and inbound share.

mod body;
mod exec;
mod framing;
mod headers;
mod limits;
mod preface;
mod refusal;
mod serve;
mod strict;
mod tunnel;
mod upgrade;

pub(crate) use body::{Body, BodyEnd, grpc_status};
pub(crate) use exec::LocalExec;
pub(crate) use headers::{
    FORWARDED_CLIENT_CERT, REQUEST_ID, sanitize, sanitize_response, strip_hop_by_hop,
};
pub(crate) use limits::{HEAD_TIMEOUT, client_h1, client_h2, server_h1, server_h2};
pub(crate) use preface::{Rewound, Spoken, detect};
pub(crate) use refusal::{is_grpc, refuse};
pub(crate) use serve::{Answer, Handler, serve_h1, serve_h2};
pub(crate) use strict::{Passage, Strict};
pub(crate) use tunnel::Tunnel;
pub(crate) use upgrade::{Form, METHOD, STATUS, Wish};
