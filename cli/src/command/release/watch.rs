//! `weft release status -w`: redrawn in place on a terminal; the lines that changed in a pipe.

mod traffic;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use weft_gateway::admin::view::ReleaseView;
use weft_model::{Code, WallTime, code};

use super::super::top::Window;
use super::super::{Outcome, stop_signal};
use super::show::Of;
use super::{ReleaseName, figures, show};
use crate::args::Global;
use crate::client::Client;
use crate::clock;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};
use traffic::Traffic;

/// How often it looks, and so the most often that a screen is redrawn: faster would flicker.
const EVERY: Duration = Duration::from_millis(500);

/// How often a pipe is told figures: they are in steps of as much.
const FIGURES_EVERY: Duration = Duration::from_secs(15);

pub(super) async fn watch(name: &ReleaseName, window: Window, global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let mut release = name.view_with_traffic(&mut client, window, global).await?;
    let traffic = Traffic::ask(name, window, global, release.traffic.clone());
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
        release.traffic = traffic.newest();
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
    /// When a pipe was last told figures.
    figures: Option<Instant>,
    /// What was last printed for programs, without its ages.
    printed: Option<String>,
}

impl Shown {
    fn new(format: Format) -> Self {
        Self {
            format,
            drawn: 0,
            told: BTreeMap::new(),
            trouble: None,
            figures: None,
            printed: None,
        }
    }

    fn show(&mut self, release: &ReleaseView) {
        self.trouble = None;
        match self.format {
            Format::Json | Format::Yaml => self.document(release),
            _ if output::is_terminal() => {
                self.redraw(&show::screen(release, Of::Now, clock::now()));
            }
            _ => {
                let now = clock::rfc3339(clock::now());
                let mut lines = changed(&mut self.told, release);
                lines.extend(self.due_figures(release));
                for line in lines {
                    output::data(&format!("{now}  {line}"));
                }
            }
        }
    }

    /// Figures, if they are due and there are any.
    fn due_figures(&mut self, release: &ReleaseView) -> Vec<String> {
        let told = self.figures;
        if told.is_some_and(|told| told.elapsed() < FIGURES_EVERY) {
            return Vec::new();
        }
        let lines = figures::lines(release);
        if !lines.is_empty() {
            self.figures = Some(Instant::now());
        }
        lines
    }

    /// One document each time that anything but its age changed.
    fn document(&mut self, release: &ReleaseView) {
        let text = serde_json::to_string(&ageless(release)).unwrap_or_default();
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

/// The same without what changes by waiting.
fn ageless(release: &ReleaseView) -> ReleaseView {
    let mut still = release.clone();
    still.freshness = Default::default();
    for place in &mut still.places {
        place.unseen_ms = place.unseen_ms.map(|_| 0);
    }
    if let Some(traffic) = &mut still.traffic {
        traffic.observed.freshness = Default::default();
        for heard in &mut traffic.observed.heard {
            heard.covered_ms = 0;
            heard.age_ms = heard.age_ms.map(|_| 0);
        }
        let places = &mut traffic.observed.items;
        let sums = places
            .iter_mut()
            .flat_map(|it| [&mut it.canary, &mut it.stable]);
        // A rate is a count by an age.
        sums.for_each(|sum| sum.rps = 0.0);
    }
    still
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
    use super::super::show::fixture::{at_stage, traffic};
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
    fn a_pipe_is_told_figures_now_and_then_and_only_if_there_are_any() {
        let mut shown = Shown::new(Format::Table);
        let mut release = at_stage(1);
        assert!(shown.due_figures(&release).is_empty());
        release.traffic = Some(traffic());
        assert_eq!(
            shown.due_figures(&release),
            [
                "shop/checkout-v2  west-europe / eu-west  v2 / v1 in 60 s: 480 / 9311 requests, \
                 success 99.79% / 100%, p99 212ms / 8.2ms",
                "shop/checkout-v2  world / us-east  v2 / v1 in 60 s: 0 / 31 requests, \
                 success - / 100%, p99 - / 4.0ms",
            ]
        );
        assert!(shown.due_figures(&release).is_empty());
    }

    #[test]
    fn a_program_is_told_what_happened_and_not_that_time_passed() {
        let mut release = at_stage(1);
        release.traffic = Some(traffic());
        let before = ageless(&release);
        let seen = &mut release.traffic.as_mut().unwrap().observed;
        seen.heard[0].age_ms = Some(1_800);
        seen.items[0].stable.rps += 1.0;
        assert_eq!(ageless(&release), before);
        release.traffic.as_mut().unwrap().observed.items[0]
            .stable
            .requests += 1;
        assert_ne!(ageless(&release), before);
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
