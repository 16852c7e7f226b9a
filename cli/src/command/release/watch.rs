//! `weft release status -w`: redrawn in place on a terminal; the lines that changed in a pipe.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use weft_gateway::admin::view::ReleaseView;
use weft_model::{Code, WallTime, code};

use super::super::{Outcome, stop_signal};
use super::{ReleaseName, show};
use crate::args::Global;
use crate::client::Client;
use crate::clock;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// How often it looks, and so the most often that a screen is redrawn: faster would flicker.
const EVERY: Duration = Duration::from_millis(500);

pub(super) async fn watch(name: &ReleaseName, global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let mut release = name.view(&mut client, global).await?;
    let mut shown = Shown::new(global.output);
    let mut stop = std::pin::pin!(stop_signal());
    loop {
        shown.show(&release);
        if !release.under_way {
            return Ok(end(&release));
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = &mut stop => return Ok(Exit::Done),
        }
        release = loop {
            match look(&mut client, name, global).await {
                Ok(release) => break release,
                Err(problem) if is_over(problem.code) => return Err(problem),
                Err(problem) => shown.trouble(&problem),
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = &mut stop => return Ok(Exit::Done),
            }
        };
    }
}

/// By the connection that is there, or else by a new one.
async fn look(
    client: &mut Client,
    name: &ReleaseName,
    global: &Global,
) -> Result<ReleaseView, Problem> {
    match name.view(client, global).await {
        Err(problem) if !is_over(problem.code) => {
            *client = Client::connect(global).await?;
            name.view(client, global).await
        }
        answered => answered,
    }
}

/// Whether asking again would be answered the same.
fn is_over(code: Code) -> bool {
    code == code::RELEASE_UNKNOWN || code == code::NOT_AUTHORISED
}

fn end(release: &ReleaseView) -> Exit {
    match release.phase.as_str() {
        "Completed" => Exit::Done,
        _ => Exit::Failed,
    }
}

/// What was shown last, and how.
struct Shown {
    format: Format,
    /// Lines of the screen that stand on the terminal.
    drawn: usize,
    /// What a pipe was told, by what it is about.
    told: BTreeMap<String, String>,
    /// The last trouble that was told.
    trouble: Option<String>,
    /// The generation and freshness of what was last printed for programs.
    printed: Option<String>,
}

impl Shown {
    fn new(format: Format) -> Self {
        Self {
            format,
            drawn: 0,
            told: BTreeMap::new(),
            trouble: None,
            printed: None,
        }
    }

    fn show(&mut self, release: &ReleaseView) {
        self.trouble = None;
        match self.format {
            Format::Json | Format::Yaml => self.document(release),
            _ if output::is_terminal() => self.redraw(&show::screen(release, clock::now())),
            _ => {
                let now = clock::rfc3339(clock::now());
                for line in changed(&mut self.told, release) {
                    output::data(&format!("{now}  {line}"));
                }
            }
        }
    }

    /// One document each time that anything but its age changed.
    fn document(&mut self, release: &ReleaseView) {
        let mut still = release.clone();
        still.freshness = Default::default();
        still
            .places
            .iter_mut()
            .for_each(|place| place.unseen_ms = place.unseen_ms.map(|_| 0));
        let text = serde_json::to_string(&still).unwrap_or_default();
        if self.printed.as_ref() == Some(&text) {
            return;
        }
        self.printed = Some(text);
        output::one_of_many(self.format, release);
    }

    /// Draws over what was drawn before; what is left at the end stays to be read.
    fn redraw(&mut self, screen: &str) {
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}F", self.drawn));
        }
        for line in screen.lines() {
            text.push_str("\x1b[2K");
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("\x1b[J");
        self.drawn = screen.lines().count();
        let mut out = std::io::stdout().lock();
        // A terminal that is gone shows nothing: no reason to fail.
        let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Says once that nothing is seen, and that it looks on.
    fn trouble(&mut self, problem: &Problem) {
        if self.trouble.as_ref() != Some(&problem.what) {
            output::narrate(&format!("{}; looking on", problem.what));
            // What was drawn is above that now.
            self.drawn = 0;
            self.trouble = Some(problem.what.clone());
        }
    }
}

/// What is new since `told`: a line for each place, clamp and change of the log.
fn changed(told: &mut BTreeMap<String, String>, release: &ReleaseView) -> Vec<String> {
    let mut lines = Vec::new();
    let mut tell = |about: String, line: String, shown: String| {
        if told.get(&about) != Some(&line) {
            told.insert(about, line);
            lines.push(shown);
        }
    };
    for change in &release.history {
        let about = format!("index {}", change.index);
        let line = format!(
            "{}  index {}  {}, by {}",
            release.name, change.index, change.what, change.by
        );
        tell(about, line.clone(), line);
    }
    for clamp in &release.clamps {
        let line = format!(
            "{}  {}",
            release.name,
            show::clamp(clamp, WallTime(clamp.made_ms))
        );
        tell(clamp.id.clone(), line.clone(), line);
    }
    for place in &release.places {
        let at = format!(
            "{} / {}",
            place.wave.as_deref().unwrap_or("-"),
            place.region
        );
        let weight = show::percent(place.percent);
        let line = format!(
            "{}  {at}  {weight}  {}",
            release.name,
            show::verdict(release, place)
        );
        // How long it was not visible changes each time: that it is not, once.
        let level = match place.unseen_ms {
            Some(_) => format!("{at} {weight} unseen"),
            None => line.clone(),
        };
        tell(at, level, line);
    }
    let line = format!("{}  {}", release.name, release.phase);
    tell("phase".into(), line.clone(), line);
    lines
}

#[cfg(test)]
mod tests {
    use super::super::show::fixture::at_stage;
    use super::*;

    #[test]
    fn a_pipe_is_told_what_changed_and_nothing_twice() {
        let mut told = BTreeMap::new();
        let first = changed(&mut told, &at_stage(1));
        assert_eq!(first.len(), 5, "{first:?}");
        assert!(changed(&mut told, &at_stage(1)).is_empty());
        let second = changed(&mut told, &at_stage(2));
        assert_eq!(
            second,
            ["shop/checkout-v2  west-europe / eu-west  50 %  holds until promoted"]
        );
        let mut dark = at_stage(2);
        dark.places[1].unseen_ms = Some(31_000);
        assert_eq!(changed(&mut told, &dark).len(), 1);
        dark.places[1].unseen_ms = Some(32_000);
        assert!(changed(&mut told, &dark).is_empty());
        let mut over = at_stage(2);
        over.phase = "Aborted".into();
        let lines = changed(&mut told, &over);
        assert_eq!(
            lines.last().map(String::as_str),
            Some("shop/checkout-v2  Aborted")
        );
    }

    #[test]
    fn how_it_ended_is_the_exit_status() {
        let mut release = at_stage(3);
        for (phase, exit) in [
            ("Completed", Exit::Done),
            ("Aborted", Exit::Failed),
            ("RolledBack", Exit::Failed),
        ] {
            release.phase = phase.into();
            assert_eq!(end(&release), exit);
        }
    }
}
