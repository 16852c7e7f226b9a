//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use weft_model::WallTime;

/// Now.
pub(crate) fn now() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `2026-03-01T14:02:11Z`, to the second; as programs and logs write it.
pub(crate) fn rfc3339(time: WallTime) -> String {
    let seconds = i64::try_from(time.0 / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        // After the year 9999: no clock says so.
        .unwrap_or_else(|| format!("{} ms", time.0))
}

/// Reads what [`rfc3339`] writes, and other forms of the RFC.
pub(crate) fn parse_rfc3339(text: &str) -> Option<WallTime> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let millis = time.unix_timestamp_nanos() / 1_000_000;
    u64::try_from(millis).ok().map(WallTime)
}

/// `12 s ago`, for people.
pub(crate) fn ago(now: WallTime, time: WallTime) -> String {
    let seconds = now.0.saturating_sub(time.0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_dates_and_as_ages() {
        let time = WallTime(1_772_373_731_512);
        assert_eq!(rfc3339(time), "2026-03-01T14:02:11Z");
        assert_eq!(rfc3339(WallTime(u64::MAX)), "18446744073709551615 ms");
        let check = |seconds: u64, expect: &str| {
            assert_eq!(ago(WallTime(time.0 + seconds * 1000), time), expect);
        };
        check(0, "0 s ago");
        check(61, "1 min ago");
        check(7300, "2 h ago");
        check(200_000, "2 d ago");
        assert_eq!(ago(WallTime(0), time), "0 s ago");
    }
}
