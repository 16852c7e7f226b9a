//! DNS: what this gateway answers for the federation's names, and why.
//!
//! What it is: [`Zones`], built off the query path from the state and from
//! liveness; [`answer()`], a function of them and a question; [`explain`], the same
//! function with its steps kept; [`wire`], bytes to questions and answers to bytes.
//! What it is not: it has no socket, and forwards nothing.
//!
//! ```text
//! Federation ─┐                      question ─┐
//! Liveness ───┼─> Zones::build ─> Zones ───────┼─> answer ─> Answer ─> wire::Compiled ─> bytes
//! LocalVips ──┘                   ClientView ──┘      └─> explain ─> Vec<Step>
//! ```
//!
//! Two zones: `clusterset.local` as the Multi-Cluster Services API specifies it
//! (KEP-1645, DNS specification 1.0.0), and our own, `weft.internal` unless
//! configured, which can name one cluster or one region.
//!
//! **Invariant:** nothing is denied that is merely not known: that is
//! [`Verdict::CannotKnow`].

mod answer;
mod build;
mod entry;
mod input;
mod local_vips;
mod name;
mod question;
mod record;
mod resolve;
mod soa;
mod step;
mod target;
mod walk;
mod wanted;
pub mod wire;
mod zones;

pub use answer::{Answer, Audience, ExtendedError, Unknown, Verdict};
pub use input::{
    AddressFamilies, ClusterLiveness, HeadlessEndpoint, Input, Liveness, LocalService, Standing,
};
pub use local_vips::{LocalVips, Offset};
pub use name::{Name, NameError};
pub use question::{ClientView, Question};
pub use record::{RData, Record, RecordType, Srv};
pub use resolve::{Explanation, answer, explain};
pub use soa::Soa;
pub use step::Step;
pub use target::{Scope, Target};
pub use zones::{Generation, Zones};
