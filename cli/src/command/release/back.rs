//! `weft release rollback R --to INDEX`: back to what it was after an earlier change of this run.

use weft_gateway::admin::view::{ReleasePlaceView, ReleaseView};
use weft_model::{Command, Index, ReleaseEnd, Stage, code};

use super::super::Outcome;
use super::{ReleaseName, key_of, orders, show};
use crate::args::Global;
use crate::client::Client;
use crate::output;
use crate::problem::Problem;

pub(super) async fn step_back(name: &ReleaseName, to: u64, global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let release = name.view(&mut client, global).await?;
    let stage = stage_at(&release, to)?;
    let lines = lowers(&release, stage);
    lines.iter().for_each(|line| output::narrate(line));
    let end = ReleaseEnd::StepBack {
        run: Index(release.run),
        to: Stage(stage),
    };
    let command = Command::EndRelease(key_of(&release)?, end);
    let index = client.submit(command, None, false).await;
    let index = index.map_err(|problem| orders::or_locally(problem, &release))?;
    let what = format!("rolled back to stage {stage}, and paused");
    Ok(orders::done(global, &release, &what, index))
}

/// The stage that the release was at after the change at `index`, if that is a way back.
fn stage_at(release: &ReleaseView, index: u64) -> Result<u16, Problem> {
    let named = show::named(release);
    let refused = |what: String| {
        Problem::new(code::RELEASE_NO_WAY_BACK, what).next(format!(
            "weft release history {named} shows what was done, and where."
        ))
    };
    let change = release.history.iter().find(|change| change.index == index);
    let change = change.ok_or_else(|| {
        refused(format!(
            "nothing that is remembered was done with release {} at index {index}",
            release.name
        ))
    })?;
    if index < release.run {
        return Err(refused(format!(
            "index {index} is of an earlier run: this one began at {}",
            release.run
        )));
    }
    let stage = change.stage.ok_or_else(|| {
        refused(format!(
            "which stage it was at after index {index} is forgotten"
        ))
    })?;
    let at = release.stage;
    match release.phase.as_str() {
        "Aborted" | "RolledBack" => Err(refused(format!(
            "it is {}: nobody meets the canary, and a way back raises nothing",
            release.phase
        ))),
        _ if stage >= at => Err(refused(format!(
            "it was at stage {stage} then and is at {at} now: that is no way back"
        ))),
        _ => Ok(stage),
    }
}

/// What each place loses.
fn lowers(release: &ReleaseView, stage: u16) -> Vec<String> {
    let line = |place: &ReleasePlaceView| {
        let wave = place.wave.as_ref()?;
        let stages = release.stages.iter();
        let taken = stages.filter(|it| it.wave == *wave && it.stage <= stage);
        let last = taken.max_by_key(|it| it.stage);
        let then = last.map_or(0.0, |stage| f64::from(stage.percent));
        let closed = match then > 0.0 {
            true => String::new(),
            false => format!("; connections to {} there are closed", release.canary),
        };
        (then < place.percent).then(|| {
            format!(
                "callers in {} ({}): {} → {}{closed}",
                place.region,
                place.clusters.join(", "),
                show::percent(place.percent),
                show::percent(then),
            )
        })
    };
    release.places.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use weft_gateway::admin::view::ReleaseChangeView;

    use super::super::show::fixture::at_stage;
    use super::*;

    /// At stage 3, by way of 2.
    fn moved() -> ReleaseView {
        let mut release = at_stage(3);
        let change = |index, stage, what: &str| ReleaseChangeView {
            index,
            time_ms: 2_000,
            by: "ana".into(),
            what: what.into(),
            stage,
        };
        release.history.insert(0, change(12, Some(1), "started"));
        release.history.extend([
            change(42, Some(2), "promoted from stage 1 to 2"),
            change(44, Some(3), "promoted from stage 2 to 3"),
            change(45, None, "paused"),
        ]);
        release
    }

    #[test]
    fn a_way_back_is_an_earlier_stage_of_this_run() {
        let check = |index, expect: Result<u16, &str>| match (stage_at(&moved(), index), expect) {
            (Ok(stage), Ok(expect)) => assert_eq!(stage, expect),
            (Err(problem), Err(part)) => {
                assert_eq!(problem.code, code::RELEASE_NO_WAY_BACK);
                assert!(problem.what.contains(part), "{}", problem.what);
            }
            (said, _) => panic!("{index}: {said:?}"),
        };
        check(40, Ok(1));
        check(42, Ok(2));
        check(44, Err("was at stage 3 then and is at 3 now"));
        check(43, Err("nothing that is remembered"));
        check(12, Err("of an earlier run"));
        check(45, Err("is forgotten"));
        let mut over = moved();
        over.phase = "Aborted".into();
        assert!(stage_at(&over, 42).is_err());
    }

    #[test]
    fn who_loses_what_is_said() {
        assert_eq!(
            lowers(&moved(), 1),
            [
                "callers in eu-west (eu-west-1): 50 % → 5 %",
                "callers in ap-south (ap-south-1): 100 % → 0 %; connections to v2 there are closed",
                "callers in us-east (us-east-1): 100 % → 0 %; connections to v2 there are closed",
            ]
        );
        assert_eq!(lowers(&moved(), 2).len(), 2);
    }
}
