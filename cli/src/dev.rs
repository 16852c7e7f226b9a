//! `weft dev`: a whole federation on this machine.
//!
//! ```text
//! Options -> Plan            pure: who runs where, with which configuration
//! Federation(Plan, Folder)   starts, breaks, heals and stops the processes of a plan
//! up: Event loop             signals, requests of `weft dev …`, ended processes
//! ```
//!
//! Every gateway, sidecar and sample is a child process that runs a subcommand of
//! this very program, and joins and enrols as it would on a host of its own. The
//! one thing that is not deployed like that is the emulated wide-area network,
//! which runs here, on a thread of its own.
//!
//! **Invariant:** no child outlives this process, however it ends.
//! **Invariant:** children are spawned from the main thread only: the kernel ends
//! them when the thread that spawned them ends (see `sys`).

mod admin;
mod contexts;
mod control;
mod export;
mod failures;
mod federation;
mod files;
mod folder;
mod http;
mod load;
mod options;
mod place;
mod plan;
mod ports;
mod process;
mod remote;
mod screen;
mod start;
mod status;
mod sys;
mod up;
mod whole;
mod wide_area;

pub(crate) use control::Request;
pub(crate) use export::export;
pub(crate) use options::{GATEWAYS_MAX, Options, WanMode};
pub(crate) use remote::{ask, down, running, status};
pub(crate) use up::{Home, up};
