//! Transparent capture: programs connect to virtual IPs, and arrive here.
//!
//! What it is: the kernel's rules as text ([`Rules`]), the destination that a
//! redirected connection had ([`original_destination`]), and a forwarder for
//! captured DNS. `weft capture` loads the rules; the data plane serves what arrives.
//! What it is not: it neither runs nft nor needs a privilege, and decides nothing of
//! services: [`crate::Outbound`] does.
//!
//! ```text
//! app ─TCP─> virtual IP ~~nft redirect~~> 127.0.0.1:15002 ─> original destination ─> Outbound
//! app ─DNS─> resolver   ~~nft redirect~~> 127.0.0.1:15053 ─> a gateway's DNS
//! ```
//!
//! **Invariant:** what the sidecar itself sends is never captured: the rules leave
//! its user out, and it refuses to run as another one.

mod destination;
mod dns;
mod rules;

pub use destination::original_destination;
pub(crate) use destination::{Destination, destination, stream_destination};
pub(crate) use dns::Forwarder;
pub use rules::{Rules, Table};

use std::os::unix::fs::MetadataExt;

use crate::config::Capture;
use crate::data_plane::StartError;

/// Refuses to run as a user whose packets the rules would capture: what is passed on
/// would come back for ever.
///
/// # Errors
/// [`StartError::WrongUser`]; [`StartError::User`] without `/proc`.
pub(crate) fn check_user(capture: &Capture) -> Result<(), StartError> {
    let own = std::fs::metadata("/proc/self").map_err(StartError::User)?;
    let (running, configured) = (own.uid(), capture.uid);
    if running == configured {
        return Ok(());
    }
    Err(StartError::WrongUser {
        configured,
        running,
    })
}
