//! The time of an answer, for answers that do not say one (RFC 9110 §6.6.1).

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use httpdate::HttpDate;

thread_local! {
    /// The last second that was asked for, as it is written.
    static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, EPOCH)) };
}

const EPOCH: HeaderValue = HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT");

/// Now, as a field has it.
pub(super) fn date() -> HeaderValue {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    LAST.with_borrow_mut(|(last, date)| {
        if *last != second {
            let written = HttpDate::from(now).to_string();
            *date = HeaderValue::try_from(written).expect("a date is visible ASCII");
            *last = second;
        }
        date.clone()
    })
}
