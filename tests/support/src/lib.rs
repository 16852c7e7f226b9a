//! The harness of the end-to-end tests: real processes in namespaces of their own.
//!
//! ```text
//! isolated(test)        network, mount and process namespaces; nothing outlives them
//!   Dev::start          `weft dev`, and the admin commands against it
//!   Ran, run            one program, to its end, within a deadline
//!   Background          one program that goes on beside the test
//!   Namespace, Wire     machines of a test's own, and wide-area links between them
//!   Load                clients that go on asking, and who was failed
//!   eventually          waits for a level, never for a time
//!   Cases               many checks of one federation, all of them reported
//!   Page, Walk          a page of the documentation, and doing what it says
//! ```
//!
//! The program under test is the one that `WEFT_BIN` names; `cargo xtask test` builds
//! and names it. It knows nothing of this crate, and this crate only what the
//! documentation says of it.

mod asker;
mod background;
mod cases;
mod database;
mod dev;
mod eventually;
mod footprint;
mod isolated;
mod load;
mod namespace;
mod page;
mod processes;
mod run;
mod shape;
mod shell;
mod walk;
mod wire;

pub use asker::{Answer, RecordType, ask};
pub use background::Background;
pub use cases::Cases;
pub use database::{PostgreSql, redis};
pub use dev::{Dev, Gateway, User, Workload};
pub use eventually::eventually;
pub use footprint::{Footprint, History, Trend};
pub use isolated::{isolated, use_resolver};
pub use load::{Figures, Load, Target};
pub use namespace::Namespace;
pub use page::{Block, Leeway, Page, Step, Task};
pub use processes::{all_processes, kill, signal, wait_until_gone};
pub use run::{Ran, as_user, command, run, weft_binary};
pub use shape::same_shape;
pub use shell::{Said, Shell};
pub use walk::{Walk, pages};
pub use wire::Wire;

use std::time::Duration;

/// How long a test waits for anything that should be soon: generous, since a slow
/// machine is no fault of ours. A level that is reached ends the wait.
pub const SOON: Duration = Duration::from_secs(60);
