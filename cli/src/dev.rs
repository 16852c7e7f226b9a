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

mod options;
mod plan;
mod files;
mod folder;
mod place;
mod contexts;
mod ports;
mod sys;
mod process;
mod admin;
mod http;
mod wide_area;
mod load;
mod federation;
mod start;
mod failures;
mod status;
mod control;
mod screen;
mod up;
mod export;
mod remote;

pub(crate) use export::export;
pub(crate) use options::{Options, WanMode};
pub(crate) use remote::{ask, down, status};
pub(crate) use control::Request;
pub(crate) use up::{Home, up};
