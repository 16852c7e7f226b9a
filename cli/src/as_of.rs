//! `--as-of`: a moment of the registry's past.

use serde_json::{Value, json};
use weft_model::{WallTime, duration};

use crate::clock;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AsOf {
    /// Right after a log position.
    Index(u64),
    /// After the last entry that was taken by then.
    Time(WallTime),
}

/// Parses `4182`, `2026-03-01T14:02:11Z` or `15m`, which is how long ago.
pub(crate) fn parse(text: &str) -> Result<AsOf, String> {
    if let Ok(index) = text.parse() {
        return match index {
            0 => Err("positions count from 1".to_owned()),
            index => Ok(AsOf::Index(index)),
        };
    }
    if let Some(time) = clock::parse_rfc3339(text) {
        return of_time(time);
    }
    let ago = duration::parse(text).map_err(|_| {
        "give a log position (4182), a time (2026-03-01T14:02:11Z) or how long ago (15m)".to_owned()
    })?;
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    of_time(WallTime(clock::now().0.saturating_sub(ago)))
}

/// Times count from 1970, and a gateway takes 0 for none.
fn of_time(time: WallTime) -> Result<AsOf, String> {
    match time {
        WallTime(0) => Err(
            "there was no registry in 1970: give a later time, or a log position (4182)".to_owned(),
        ),
        time => Ok(AsOf::Time(time)),
    }
}

impl AsOf {
    /// As a question's argument says it.
    pub(crate) fn argument(self) -> Value {
        match self {
            Self::Index(index) => json!({ "index": index }),
            Self::Time(time) => json!({ "timeMs": time.0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_position_a_time_or_an_age() {
        assert_eq!(parse("4182"), Ok(AsOf::Index(4182)));
        let time = AsOf::Time(WallTime(1_772_373_731_000));
        assert_eq!(parse("2026-03-01T14:02:11Z"), Ok(time));
        let Ok(AsOf::Time(ago)) = parse("15m") else {
            panic!("an age")
        };
        assert!(clock::now().0 - ago.0 >= 900_000);
        for wrong in ["0", "yesterday", "-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        // What a gateway would take for now.
        for ancient in ["1970-01-01T00:00:00Z", &"99999h".repeat(6)] {
            let told = parse(ancient).unwrap_err();
            assert!(told.contains("no registry in 1970"), "{told}");
        }
    }
}
