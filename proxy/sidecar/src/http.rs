//! HTTP parts that outbound and inbound share.

mod activity;
mod body;
mod date;
mod forwarded;
mod frames;
mod framing;
mod guard;
mod headers;
mod hops;
mod host;
mod http2;
mod incoming;
mod interim;
mod limits;
mod pace;
mod preface;
mod refusal;
mod serve;
mod strict;
mod timeouts;
mod trace;
mod tunnel;
mod upgrade;

pub(crate) use activity::{Activity, Exchange};
pub(crate) use body::{Body, BodyEnd, grpc_status};
pub(crate) use forwarded::{add_via, introduce, introduced, tell};
pub(crate) use headers::{
    FORWARDED_CLIENT_CERT, Fields, REQUEST_ID, sanitize, sanitize_response, strip_hop_by_hop,
};
pub(crate) use hops::count_hop;
pub(crate) use host::{absolute, authority, is_plain};
pub(crate) use http2::{Cause, Opened, SendError, SendRequest};
pub(crate) use incoming::Incoming;
pub(crate) use interim::{Interim, InterimError};
pub(crate) use limits::{HEAD_TIMEOUT, client_h1, fits, server_h1};
pub(crate) use pace::{Pace, Silent};
pub(crate) use preface::{Rewound, Spoken, detect};
pub(crate) use refusal::{is_grpc, refuse};
pub(crate) use serve::{Answer, Caller, Handler, patience_over, serve_h1, serve_h2};
pub(crate) use strict::{Passage, Strict};
pub use timeouts::Timeouts;
pub(crate) use trace::continue_trace;
pub(crate) use tunnel::Tunnel;
pub(crate) use upgrade::{Form, METHOD, STATUS, Wish};
