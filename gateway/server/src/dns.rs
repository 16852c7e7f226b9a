//! DNS listeners: UDP on a thread of its own, TCP on the control thread.
//!
//! What it is: sockets, batches, connections, forwarding and counting around
//! [`weft_plan::dns`], which knows every answer of our zones.
//! What it is not: it decides no answer. DNS over TLS, HTTPS and QUIC are not here yet.
//!
//! ```text
//! UDP ─recvmmsg─> Query::read ─usual, ours──> Memo ─sendmmsg─> UDP
//!                     │ odd, not ours, not known yet
//!                     v
//! TCP ──────────> Responder ──> answer │ unusual (hickory) │ Forwarder ──> upstreams
//! ```
//!
//! **Invariant:** a packet with QR set gets no answer.

mod forward;
mod memo;
mod metrics;
mod publish;
mod responder;
mod service;
mod sys;
mod tcp;
mod udp;
mod unusual;

pub use metrics::DnsMetrics;
pub use publish::{Published, ZonesSource, publish};
pub use service::{DnsError, DnsService, DnsServiceConfig};
