//! Which version of a service a request meets, in words.

use std::sync::Arc;

use weft_decide::{Backend, Lane, ReleaseView, Scope, Standing};
use weft_model::BasisPoints;
use weft_plan::release::{CallerPlace, weight};

use super::Asked;
use crate::admin::view::StepView;

/// A lane that a request may get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Possible {
    /// The lane.
    pub(super) lane: Lane,
    /// The version in it, and with which chance if by chance; empty without a release.
    pub(super) named: String,
}

/// The lanes that a request to `backend` may get: two if chance decides between them. Without a
/// head it is a connection. What decided is told in `steps`.
pub(super) fn possible(
    asked: &Asked<'_>,
    backend: &Backend<'_>,
    steps: &mut Vec<StepView>,
) -> Vec<Possible> {
    let release = backend.service.spec().release.as_ref();
    let release = release.filter(|_| !matches!(backend.scope, Scope::Endpoint(_)));
    let Some(release) = release else {
        return vec![Possible {
            lane: Lane::Any,
            named: String::new(),
        }];
    };
    let standing = release.stand(asked.head);
    steps.push(StepView {
        verdict: "fact".into(),
        subject: format!("release {}", release.key),
        reason: format!(
            "gives {} {} here{}; {standing}",
            release.canary,
            release.weight,
            why(asked, release)
        ),
    });
    lanes(release, standing)
}

/// Why the canary gets so much here.
fn why(asked: &Asked<'_>, release: &ReleaseView) -> String {
    let hub = asked.hub;
    let state = match asked.past {
        Some(past) => Arc::clone(&past.state),
        None => hub.registry().state(),
    };
    let (Some(record), Some(own)) = (state.release(&release.key), state.cluster(hub.cluster()))
    else {
        return String::new();
    };
    let caller = CallerPlace {
        cluster: hub.cluster().clone(),
        region: own.spec.region.clone(),
    };
    let clamps = hub.clamps().load();
    let known = clamps.iter().filter(|_| asked.past.is_none());
    let effective = weight(&release.key, record, &caller, known);
    format!(" ({})", effective.why)
}

fn lanes(release: &ReleaseView, standing: Standing) -> Vec<Possible> {
    let stable = |named| Possible {
        lane: Lane::Stable,
        named,
    };
    let canary = |named| Possible {
        lane: Lane::Canary { run: release.run },
        named,
    };
    let (of_stable, of_canary) = (release.stable.to_string(), release.canary.to_string());
    match standing {
        Standing::Outside(_) => vec![stable(of_stable)],
        Standing::Sticky(bucket) if bucket.is_below(release.weight) => vec![canary(of_canary)],
        Standing::Sticky(_) => vec![stable(of_stable)],
        Standing::Drawn if release.weight == BasisPoints::NONE => vec![stable(of_stable)],
        Standing::Drawn if release.weight == BasisPoints::ALL => vec![canary(of_canary)],
        Standing::Drawn => vec![
            canary(format!("{of_canary} by a chance of {}", release.weight)),
            stable(format!("{of_stable} otherwise")),
        ],
    }
}

#[cfg(test)]
mod tests {
    use weft_decide::{Bucket, OutsideReason};
    use weft_model::{Audience, Index};

    use super::*;

    #[test]
    fn chance_alone_leaves_two_lanes() {
        let check = |points: u16, standing, expect: &[&str]| {
            let release = ReleaseView {
                key: "shop/v2".parse().unwrap(),
                run: Index(1),
                generation: Index(1),
                stable: "v1".parse().unwrap(),
                canary: "v2".parse().unwrap(),
                weight: BasisPoints::new(points).unwrap(),
                audience: Arc::new(Audience::default()),
            };
            let named: Vec<_> = lanes(&release, standing)
                .into_iter()
                .map(|possible| {
                    let is_canary = matches!(possible.lane, Lane::Canary { .. });
                    assert_eq!(is_canary, possible.named.starts_with("v2"));
                    possible.named
                })
                .collect();
            assert_eq!(named, expect);
        };
        let outside = Standing::Outside(OutsideReason::NotInAudience);
        let sticky = Standing::Sticky(Bucket::of(&"shop/v2".parse().unwrap(), b"ana"));
        check(10_000, outside, &["v1"]);
        check(0, Standing::Drawn, &["v1"]);
        check(10_000, Standing::Drawn, &["v2"]);
        check(
            550,
            Standing::Drawn,
            &["v2 by a chance of 5.50 %", "v1 otherwise"],
        );
        check(0, sticky, &["v1"]);
        check(10_000, sticky, &["v2"]);
    }
}
