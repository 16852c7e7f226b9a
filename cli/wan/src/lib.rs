//! Link impairment: what a wide-area network does to packets, on a seed.
//!
//! ```text
//! LinkSpec + seed -> Impairment::offer(now, len) -> Verdict      decides; holds no packet
//!                         Link<T>: push / poll / next_deadline   the same with a delay line
//!                         Relay: UDP sockets on tokio            a shell around Links
//!                         Wire: TUN interfaces on tokio          another, for whole packets
//! Wan: region names -> LinkSpec                                  presets
//! ```
//!
//! Everything outside [`relay`] and [`tun`] is pure: no clock, no socket, no ambient
//! randomness. A packet is any `T` and a length in bytes; `now` is an argument.
//! The same seed, spec and calls give the same trace on every machine.
//!
//! It is not a congestion model (flows share a link only through its
//! bottleneck), and not a qdisc: the kernel is never configured.
//!
//! **Invariant:** a packet is never delivered before its time; whatever a timer
//! adds makes it later.

mod moment;

mod chance;
mod spec;

mod bottleneck;
mod loss;

mod counters;
mod impairment;
mod link;

mod wan;

mod alarm;
pub mod relay;
pub mod tun;

pub use chance::Probability;
pub use counters::{Counters, DropReason};
pub use impairment::{Impairment, Verdict};
pub use link::Link;
pub use moment::Moment;
pub use spec::{
    Bottleneck, GilbertElliott, Jitter, LinkSpec, Loss, Overtaking, Rate, Reorder, SpecError,
};
pub use wan::Wan;
