//! Control-plane decisions: DNS answers, liveness verdicts, tunnel path choice. Pure.

pub mod dns;
