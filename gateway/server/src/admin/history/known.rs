//! Which times of the past a replica can tell of: those by which it had heard a leader.

use std::time::Duration;

use weft_model::WallTime;

use crate::hub::Hub;
use crate::isolation::seconds;

/// The clocks of who asks, of this gateway and of leaders may differ by so much; a leader is
/// heard more often.
const SLACK: Duration = Duration::from_secs(5);

/// How far this gateway's knowledge goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// When a leader took the last entry applied here, by that leader's clock.
    last: WallTime,
    /// How long ago a leader was last heard.
    silence: Duration,
    /// Now, by the clock here.
    now: WallTime,
}

impl Known {
    /// To be asked before the log is read: that has no less then.
    pub(super) fn of(hub: &Hub) -> Self {
        let registry = hub.registry();
        let silence = registry.applied().age;
        Self {
            last: registry.state().time(),
            silence,
            now: hub.now(),
        }
    }

    /// Refuses a time after which entries may have been taken that count by then.
    pub(super) fn reaches(&self, time: WallTime) -> Result<(), String> {
        let Self { last, silence, now } = *self;
        let ahead = time.since(now);
        if time <= last || time.after(silence) <= now.after(SLACK) {
            return Ok(());
        }
        Err(match ahead > SLACK {
            true => format!(
                "the time asked for is {} ahead of this gateway's clock",
                seconds(ahead)
            ),
            false => format!(
                "the time asked for is {} ago, and this gateway has heard no leader for {}: \
                 what was recorded in between is not known here",
                seconds(now.since(time)),
                seconds(silence)
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time is `asked` seconds before now, the last entry an hour.
    fn told(asked: i64, silence: u64) -> String {
        let (now, hour) = (1_772_373_731_000_u64, 3_600_000);
        let known = Known {
            last: WallTime(now - hour),
            silence: Duration::from_secs(silence),
            now: WallTime(now),
        };
        let time = WallTime(now.saturating_add_signed(-asked * 1_000));
        known.reaches(time).err().unwrap_or_default()
    }

    #[test]
    fn what_came_after_the_last_word_of_a_leader_is_not_known() {
        assert_eq!(told(60, 0), "");
        assert_eq!(told(600, 600), "");
        assert_eq!(told(596, 600), "", "clocks differ");
        let refused = told(60, 600);
        for part in ["is 60 s ago", "no leader for 600 s"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert!(!told(0, 600).is_empty());
    }

    #[test]
    fn the_future_is_not_known() {
        assert_eq!(told(0, 0), "");
        assert_eq!(told(-5, 0), "", "clocks differ");
        for (silence, asked) in [(0, -60), (600, -60), (0, -100_000_000)] {
            let refused = told(asked, silence);
            let ahead = format!("{} s ahead", -asked);
            assert!(refused.contains(&ahead), "{refused}");
        }
    }

    /// However long ago a leader was heard, and whatever the clocks say.
    #[test]
    fn up_to_the_last_entry_all_is_known() {
        assert_eq!(told(3_600, 1_000_000), "");
        assert_eq!(told(100_000, 1_000_000), "");
        assert!(!told(3_599, 1_000_000).is_empty());
        let behind = Known {
            last: WallTime(9_000_000),
            silence: Duration::MAX,
            now: WallTime(1_000),
        };
        assert_eq!(behind.reaches(WallTime(9_000_000)), Ok(()));
        assert!(behind.reaches(WallTime(9_000_001)).is_err());
    }
}
