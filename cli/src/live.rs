//! What is looked at again and again: redrawn on a terminal, line after line in a pipe.

mod terminal;

use std::time::Duration;

use crate::command::{Outcome, stop_signal};
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};
use terminal::Terminal;

/// A screen is redrawn at most five times a second: faster flickers, and nobody reads it.
const REDRAW_MIN: Duration = Duration::from_millis(200);
/// How often keys are looked for.
const KEY_INTERVAL: Duration = Duration::from_millis(100);

/// How often something is shown, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Once.
    Once,
    /// Again and again, one below the other.
    Lines,
    /// Again and again in the same place, until q.
    Screen,
}

impl Mode {
    /// On a terminal tables are live; elsewhere, and for programs, only if asked for.
    pub(crate) fn of(watch: bool, format: Format) -> Self {
        let for_people = matches!(format, Format::Table | Format::Wide);
        match (for_people && output::is_terminal(), watch) {
            (true, _) => Self::Screen,
            (false, true) => Self::Lines,
            (false, false) => Self::Once,
        }
    }
}

/// Something that can be looked at again.
pub(crate) trait Look {
    /// What is seen.
    type Seen;

    /// Looks.
    async fn look(&mut self) -> Result<Self::Seen, Problem>;

    /// Prints it, as one of many or alone.
    fn print(&self, seen: &Self::Seen, mode: Mode);

    /// The screen, without its last line.
    fn screen(&self, seen: &Self::Seen) -> String;
}

/// Shows what `look` sees, `every` so often, until it is enough.
pub(crate) async fn run(mut look: impl Look, mode: Mode, every: Duration) -> Outcome {
    match mode {
        Mode::Once => {
            let seen = look.look().await?;
            look.print(&seen, mode);
            Ok(Exit::Done)
        }
        Mode::Lines => lines(look, every).await,
        Mode::Screen => screen(look, every.max(REDRAW_MIN)).await,
    }
}

/// A failure is told and tried again: whoever watches wants to see it pass. The first one ends
/// it, since nothing has worked yet.
async fn lines(mut look: impl Look, every: Duration) -> Outcome {
    let seen = look.look().await?;
    look.print(&seen, Mode::Lines);
    let mut stop = std::pin::pin!(stop_signal());
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = &mut stop => return Ok(Exit::Done),
        }
        match look.look().await {
            Ok(seen) => look.print(&seen, Mode::Lines),
            Err(problem) => output::narrate(&format!("{}; trying again", problem.what)),
        }
    }
}

async fn screen(mut look: impl Look, every: Duration) -> Outcome {
    let mut body = {
        let seen = look.look().await?;
        look.screen(&seen)
    };
    let terminal = Terminal::take();
    let mut stop = std::pin::pin!(stop_signal());
    let mut foot = String::new();
    loop {
        terminal.draw(&body, &foot);
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = quits(&terminal) => return Ok(Exit::Done),
            _ = &mut stop => return Ok(Exit::Done),
        }
        match look.look().await {
            Ok(seen) => {
                body = look.screen(&seen);
                foot.clear();
            }
            Err(problem) => foot = format!("{}; trying again", problem.what),
        }
    }
}

/// Resolves once q was typed.
async fn quits(terminal: &Terminal) {
    while !terminal.typed(b'q') {
        tokio::time::sleep(KEY_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests have no terminal.
    #[test]
    fn in_a_pipe_things_are_shown_once_unless_watched() {
        for format in [Format::Table, Format::Wide, Format::Json, Format::Yaml] {
            assert_eq!(Mode::of(false, format), Mode::Once);
            assert_eq!(Mode::of(true, format), Mode::Lines);
        }
    }
}
