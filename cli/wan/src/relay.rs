//! A UDP relay that puts [`Link`](crate::Link)s between processes on one machine.
//!
//! ```text
//!            link us→eu                            link us→eu
//!  us ──────────────────> front of eu ~ flow ──────────────────────> eu
//!  127.1.0.1    dials     127.2.0.1:17443   from 127.1.0.1:any       127.2.0.1:7443
//!     <──────────────────                  <──────────────────────
//!            link eu→us                            link eu→us
//! ```
//!
//! A **site** is a process with a UDP socket. A **front** is an address that
//! stands for a site: whoever dials it reaches the site through a link. For each
//! client a front keeps a **flow**, as a NAT would: a socket of its own towards
//! the site, bound to the client site's IP address. So either side sees one
//! stable address per connection, and it carries the peer's own IP.
//!
//! Which link a client's packets take is fixed per front ([`Origin::Site`], one
//! front per ordered pair), or told by the client's IP address
//! ([`Origin::ByAddress`], one front per site: the form in which a site can
//! advertise a single address to everybody).
//!
//! There is one link per ordered pair of sites. Replies, and connections dialled
//! the other way, share it and its bottleneck. A link counts IP packets: the
//! UDP payload and its headers.
//!
//! Timers have tokio's resolution: packets arrive up to some 1 ms late, never
//! early. Nothing ticks: with no packet under way and no flow to expire, the
//! relay sleeps. It is one future and spawns no task; dropping it closes every
//! socket.
//!
//! It is no NAT traversal and no security boundary, and relays no ICMP.

mod config;
mod driver;
mod flows;
mod handle;
mod links;
mod ports;
mod socket;

pub use config::{ConfigError, Front, Origin, Pair, RelayConfig, Site, SiteId};
pub use driver::{BindError, Relay, RunError};
pub use handle::{ControlError, RelayHandle, RelayStats};
