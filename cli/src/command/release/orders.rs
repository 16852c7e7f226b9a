//! What an operator orders: said before, done, and said again with the index.

use serde_json::json;
use weft_gateway::admin::view::{ClampView, ReleaseView};
use weft_model::{Advance, ClampId, Command, Index, RegionName, ReleaseEnd, Stage, WaveName, code};

use super::super::Outcome;
use super::{ReleaseName, Scope, key_of, show};
use crate::args::Global;
use crate::client::Client;
use crate::clock;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// How far a promotion goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// To the next stage.
    Next,
    /// To the next stage, which is this wave's.
    Wave(WaveName),
    /// Past the last one.
    Full,
}

impl How {
    pub(super) fn of(wave: Option<WaveName>, full: bool) -> Self {
        match wave {
            Some(wave) => Self::Wave(wave),
            None if full => Self::Full,
            None => Self::Next,
        }
    }
}

pub(super) async fn promote(name: &ReleaseName, how: How, global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let release = name.view(&mut client, global).await?;
    let to = target(&release, &how)?;
    // What is not under way is refused, and raises nothing.
    if release.under_way {
        let last = release.stages.len();
        let stage = release.stage;
        output::narrate(&format!(
            "release {} from stage {stage} of {last}:",
            release.name
        ));
        let lines = raises(&release, to);
        lines.iter().for_each(|line| output::narrate(line));
    }
    let advance = Advance {
        run: Index(release.run),
        from: Stage(release.stage),
        to: Stage(to),
    };
    let command = Command::AdvanceRelease(key_of(&release)?, advance);
    let index = client.submit(command, None, false).await?;
    let what = match usize::from(to) > release.stages.len() {
        true => "completed".to_owned(),
        false => format!("promoted to stage {to}"),
    };
    Ok(done(global, &release, &what, index))
}

/// The stage to take; one past the last completes it.
fn target(release: &ReleaseView, how: &How) -> Result<u16, Problem> {
    let past = u16::try_from(release.stages.len())
        .unwrap_or(u16::MAX)
        .saturating_add(1);
    let next = release.next.unwrap_or(past);
    match how {
        How::Next => Ok(next),
        How::Full => Ok(past),
        How::Wave(wave) => match show::upcoming(release) {
            Some(stage) if stage.wave == wave.as_str() => Ok(next),
            Some(stage) => {
                let what = format!(
                    "the next stage is {}'s, not {wave}'s: nothing was promoted",
                    stage.wave
                );
                Err(Problem::new(code::RELEASE_PLACE, what).next(format!(
                    "`weft release status {}` shows the waves in their order.",
                    show::named(release)
                )))
            }
            None => {
                let what =
                    format!("no stage is left, of {wave} or another wave: nothing was promoted");
                Err(Problem::new(code::RELEASE_PLACE, what).next(format!(
                    "Complete it: weft release promote {}",
                    show::named(release)
                )))
            }
        },
    }
}

/// Each wave that going to stage `to` moves: from what, to what, for whom.
fn raises(release: &ReleaseView, to: u16) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let taken = |stage: &&weft_gateway::admin::view::StageView| {
        !stage.cut && stage.stage > release.stage && stage.stage <= to
    };
    let moved: Vec<_> = release.stages.iter().filter(taken).collect();
    for (at, stage) in moved.iter().enumerate() {
        // Of several stages of a wave the last one is what its callers get.
        if moved
            .get(at + 1)
            .is_some_and(|next| next.wave == stage.wave)
        {
            continue;
        }
        let mut taken = release.stages.iter().rev();
        let before = taken.find(|it| it.wave == stage.wave && it.stage <= release.stage);
        let before = before.map_or(0, |it| it.percent);
        lines.push(format!(
            "  wave {}: {before} % → {} % of the audience, {}",
            stage.wave,
            stage.percent,
            show::whom(stage)
        ));
    }
    for clamp in &release.clamps {
        lines.push(format!("  {}", show::clamp(clamp, clock::now())));
    }
    if lines.is_empty() {
        lines.push("  completes it; nobody's share changes".to_owned());
    }
    lines
}

pub(super) async fn pause(name: &ReleaseName, global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let release = name.view(&mut client, global).await?;
    let index = client
        .submit(Command::PauseRelease(key_of(&release)?), None, false)
        .await?;
    Ok(done(global, &release, "paused; its weights hold", index))
}

pub(super) async fn resume(name: &ReleaseName, global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let release = name.view(&mut client, global).await?;
    for clamp in &release.clamps {
        output::narrate(&format!("lifts {}", show::clamp(clamp, clock::now())));
    }
    let lifts = release
        .clamps
        .iter()
        .map(clamp_id)
        .collect::<Result<Vec<_>, _>>()?;
    let count = lifts.len();
    let command = Command::ResumeRelease(key_of(&release)?, lifts);
    let index = client.submit(command, None, false).await?;
    let what = match count {
        0 => "resumed".to_owned(),
        count => format!("resumed, {count} clamp(s) lifted"),
    };
    Ok(done(global, &release, &what, index))
}

fn clamp_id(clamp: &ClampView) -> Result<ClampId, Problem> {
    let digits = clamp.id.as_bytes().chunks_exact(2);
    let bytes = digits.map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes
        .and_then(|bytes| ClampId::from_slice(&bytes))
        .ok_or_else(|| {
            Problem::new(
                code::UNREACHABLE,
                format!("the gateway names a clamp {:?}", clamp.id),
            )
        })
}

pub(super) async fn abort(
    name: &ReleaseName,
    scope: Scope,
    wave: Option<WaveName>,
    global: &Global,
) -> Outcome {
    let mut client = Client::connect(global).await?;
    let release = name.view(&mut client, global).await?;
    let wave = match (wave, scope) {
        (Some(wave), _) => Some(wave),
        (None, Scope::Release) => None,
        (None, Scope::Wave) => Some(last_moved(&release)?),
    };
    lowers(&release, wave.as_ref());
    let (end, what) = match wave {
        Some(wave) => {
            let what = format!("wave {wave} aborted; the release is paused");
            (ReleaseEnd::AbortWave(wave), what)
        }
        None => (
            ReleaseEnd::Abort,
            format!("aborted; nobody meets {} any more", release.canary),
        ),
    };
    let command = Command::EndRelease(key_of(&release)?, end);
    let index = client.submit(command, None, false).await;
    let index = index.map_err(|problem| or_locally(problem, &release))?;
    Ok(done(global, &release, &what, index))
}

pub(super) async fn roll_back(name: &ReleaseName, global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let release = name.view(&mut client, global).await?;
    lowers(&release, None);
    let command = Command::EndRelease(key_of(&release)?, ReleaseEnd::RollBack);
    let index = client.submit(command, None, false).await;
    let index = index.map_err(|problem| or_locally(problem, &release))?;
    let what = format!("rolled back; nobody meets {} any more", release.canary);
    Ok(done(global, &release, &what, index))
}

fn last_moved(release: &ReleaseView) -> Result<WaveName, Problem> {
    let stage = release
        .stages
        .iter()
        .find(|stage| stage.stage == release.stage);
    let wave = stage.and_then(|stage| stage.wave.parse().ok());
    wave.ok_or_else(|| Problem::new(code::RELEASE_PLACE, "no wave has moved yet; give --wave"))
}

/// Who loses the canary.
fn lowers(release: &ReleaseView, wave: Option<&WaveName>) {
    let of_wave =
        |name: &Option<String>| wave.is_none_or(|wave| name.as_deref() == Some(wave.as_str()));
    let places = release
        .places
        .iter()
        .filter(|place| place.percent > 0.0 && of_wave(&place.wave));
    let mut any = false;
    for place in places {
        any = true;
        output::narrate(&format!(
            "callers in {} ({}): {} → 0 %; connections to {} there are closed",
            place.region,
            place.clusters.join(", "),
            show::percent(place.percent),
            release.canary,
        ));
    }
    if !any {
        output::narrate("nobody meets the canary as it is");
    }
}

/// Without a leader there is another way for each region.
pub(super) fn or_locally(problem: Problem, release: &ReleaseView) -> Problem {
    match problem.exit {
        Exit::Unreachable | Exit::TimedOut => problem.next(format!(
            "Lower it region by region, which needs no leader: weft release abort {} --region REGION --local",
            show::named(release)
        )),
        _ => problem,
    }
}

/// Has one gateway of the region lower the release there.
pub(super) async fn clamp(name: &ReleaseName, region: &RegionName, global: &Global) -> Outcome {
    let mut client = Client::connect_in(global, region).await?;
    let release = name.view(&mut client, global).await?;
    let in_region = release
        .places
        .iter()
        .filter(|place| place.region == region.as_str());
    for place in in_region {
        output::narrate(&format!(
            "callers in {region} ({}): {} → 0 %, until a resume lifts it",
            place.clusters.join(", "),
            show::percent(place.percent),
        ));
    }
    let mut asked = name.arguments(global);
    asked["from"] = json!(region);
    let made: ClampView = client.ask("release-clamp", asked).await?;
    match global.output {
        Format::Json | Format::Yaml => output::value(global.output, &made),
        Format::Name => output::data(&made.id),
        Format::Table | Format::Wide => output::narrate(&format!(
            "clamp {} is on the disk of {}/{}, which tells the other gateways; lift it: weft release resume {}",
            show::short(&made.id),
            made.cluster,
            made.gateway,
            show::named(&release),
        )),
    }
    Ok(Exit::Done)
}

/// Says what happened, and where in the log.
pub(super) fn done(global: &Global, release: &ReleaseView, what: &str, index: u64) -> Exit {
    match global.output {
        Format::Json | Format::Yaml => output::value(
            global.output,
            &json!({ "apiVersion": "weft.dev/v1", "release": release.name, "what": what, "index": index }),
        ),
        Format::Name => output::data(&release.name),
        Format::Table | Format::Wide => output::narrate(&format!(
            "release {} {what}, at index {index}",
            release.name
        )),
    }
    Exit::Done
}

#[cfg(test)]
mod tests {
    use super::super::show::fixture::at_stage;
    use super::*;

    #[test]
    fn a_promotion_takes_the_next_stage_of_the_wave_that_is_named() {
        let release = at_stage(1);
        assert_eq!(target(&release, &How::Next).unwrap(), 2);
        assert_eq!(target(&release, &How::Full).unwrap(), 4);
        let wave = |name: &str| How::Wave(name.parse().unwrap());
        assert_eq!(target(&release, &wave("west-europe")).unwrap(), 2);
        let refused = target(&release, &wave("world")).unwrap_err();
        assert_eq!(refused.code, code::RELEASE_PLACE);
        assert_eq!(refused.exit, Exit::Refused);
        let last = at_stage(3);
        assert_eq!(target(&last, &How::Next).unwrap(), 4);
        assert_eq!(
            target(&last, &wave("world")).unwrap_err().exit,
            Exit::Refused
        );
    }

    #[test]
    fn what_is_raised_is_said_wave_by_wave() {
        let release = at_stage(1);
        assert_eq!(
            raises(&release, 2),
            ["  wave west-europe: 5 % → 50 % of the audience, callers in eu-west"]
        );
        assert_eq!(
            raises(&release, 4),
            [
                "  wave west-europe: 5 % → 50 % of the audience, callers in eu-west",
                "  wave world: 0 % → 100 % of the audience, callers in ap-south, us-east",
            ]
        );
        assert_eq!(
            raises(&at_stage(3), 4),
            ["  completes it; nobody's share changes"]
        );
    }
}
