//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use weft_model::WallTime;

/// Now.
pub(crate) fn now() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
