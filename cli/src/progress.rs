//! What takes longer than a second says how far it is, on standard error: one line that is drawn
//! anew on a terminal, a line now and then elsewhere, nothing with `-q`.

use std::io::{IsTerminal, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::output;

/// What ends sooner needs no words.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two drawings: more often only flickers.
const REDRAW: Duration = Duration::from_millis(200);
/// Between two lines where lines stay.
const LINES: Duration = Duration::from_secs(5);

/// Where the words go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// One line, drawn over.
    Live,
    /// A line each.
    Lines,
    /// Nowhere.
    Silent,
}

/// How far something is.
#[derive(Debug)]
pub(crate) struct Progress {
    style: Style,
    begun: Instant,
    /// When something was last said; none if nothing was yet.
    said: Option<Instant>,
}

impl Progress {
    /// Of what begins now.
    pub(crate) fn begin() -> Self {
        let style = match (output::is_quiet(), std::io::stderr().is_terminal()) {
            (true, _) => Style::Silent,
            (false, true) => Style::Live,
            (false, false) => Style::Lines,
        };
        Self {
            style,
            begun: Instant::now(),
            said: None,
        }
    }

    /// Says how far it is, if it is time to: `what` is asked for then alone.
    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        let now = Instant::now();
        if !is_due(
            self.style,
            now - self.begun,
            self.said.map(|said| now - said),
        ) {
            return;
        }
        self.said = Some(now);
        let passed = (now - self.begun).as_secs();
        let line = format!("... {}, {passed} s", what());
        match self.style {
            Style::Live => draw(&format!("\r\x1b[2K{line}")),
            Style::Lines => output::narrate(&line),
            Style::Silent => {}
        }
    }
}

impl Drop for Progress {
    /// What is said next begins on an empty line.
    fn drop(&mut self) {
        if self.style == Style::Live && self.said.is_some() {
            draw("\r\x1b[2K");
        }
    }
}

fn is_due(style: Style, passed: Duration, since_said: Option<Duration>) -> bool {
    let pause = match style {
        Style::Live => REDRAW,
        Style::Lines => LINES,
        Style::Silent => return false,
    };
    passed >= PATIENCE && since_said.is_none_or(|since| since >= pause)
}

fn draw(text: &str) {
    let mut err = std::io::stderr().lock();
    // Nobody to see it is no failure.
    let _unseen = write!(err, "{text}").and_then(|()| err.flush());
}

/// Does something that says nothing itself, with `what` and the time that has passed beside it.
pub(crate) fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (done, until) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut progress = Progress::begin();
            while until.recv_timeout(REDRAW) == Err(mpsc::RecvTimeoutError::Timeout) {
                progress.say(|| what.to_owned());
            }
        });
        let result = work();
        drop(done);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quick_says_nothing_and_what_is_not_says_it_now_and_then() {
        let seconds = Duration::from_secs_f32;
        let check = |style, passed, said: Option<f32>, expect| {
            let due = is_due(style, seconds(passed), said.map(seconds));
            assert_eq!(due, expect, "{style:?} {passed} {said:?}");
        };
        for style in [Style::Live, Style::Lines] {
            check(style, 0.9, None, false);
            check(style, 1.0, None, true);
        }
        check(Style::Live, 3.0, Some(0.1), false);
        check(Style::Live, 3.0, Some(0.2), true);
        check(Style::Lines, 3.0, Some(1.0), false);
        check(Style::Lines, 9.0, Some(5.0), true);
        check(Style::Silent, 9.0, None, false);
    }

    #[test]
    fn the_work_is_done_once_and_its_result_comes_back() {
        assert_eq!(during("counting", || 6 * 7), 42);
    }
}
