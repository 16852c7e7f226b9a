//! The last word on each service's release: never an older one than was known, and of one word the
//! least weight that anybody said.
//!
//! Raising a canary's share takes a committed entry, so a newer generation; a gateway that is
//! behind, restarts or lost its clamps must not raise it. What was known is therefore kept beside
//! what gateways say now, and on disk.

use std::collections::BTreeMap;

use weft_decide::ReleaseView;
use weft_model::{Index, ServiceKey};

/// The releases known so far, by service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Releases {
    held: BTreeMap<ServiceKey, ReleaseView>,
}

/// What one gateway says of a service: the log position that its words reflect, and the release in
/// effect there, if there is one.
pub(super) type Said<'a> = (Index, Option<&'a ReleaseView>);

impl Releases {
    /// What counts for `service`. One that is known is gone only by the word of a gateway whose
    /// log is past its last change and has none.
    pub(super) fn settle<'a>(
        &mut self,
        service: &ServiceKey,
        said: impl IntoIterator<Item = Said<'a>>,
    ) -> Option<&ReleaseView> {
        let mut known = self.held.remove(service);
        let mut none_at = None;
        for (applied, release) in said {
            match release {
                Some(release) => known = Some(newer(known, release)),
                None => none_at = none_at.max(Some(applied)),
            }
        }
        let known = known.filter(|release| none_at < Some(release.generation))?;
        Some(self.held.entry(service.clone()).or_insert(known))
    }

    /// Takes in what was on disk.
    pub(super) fn restore(&mut self, service: ServiceKey, release: ReleaseView) {
        self.held.insert(service, release);
    }

    /// Those known, by service.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &ReleaseView)> {
        self.held.iter()
    }
}

fn newer(known: Option<ReleaseView>, said: &ReleaseView) -> ReleaseView {
    match known {
        Some(known) if known.generation > said.generation => known,
        Some(known) if known.generation == said.generation => ReleaseView {
            weight: known.weight.min(said.weight),
            ..said.clone()
        },
        _ => said.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weft_model::{Audience, BasisPoints};

    use super::*;

    fn release(generation: u64, weight: u16) -> ReleaseView {
        ReleaseView {
            key: "shop/v2".parse().unwrap(),
            run: Index(1),
            generation: Index(generation),
            stable: "v1".parse().unwrap(),
            canary: "v2".parse().unwrap(),
            weight: BasisPoints::new(weight).unwrap(),
            audience: Arc::new(Audience::default()),
        }
    }

    #[test]
    fn the_newest_word_counts_and_of_one_the_least() {
        let service = "shop/checkout".parse().unwrap();
        let mut releases = Releases::default();
        let mut check = |said: &[(u64, Option<ReleaseView>)], expect: Option<(u64, u16)>| {
            let said = said.iter().map(|(at, said)| (Index(*at), said.as_ref()));
            let settled = releases.settle(&service, said);
            let got = settled.map(|it| (it.generation.0, it.weight.value()));
            assert_eq!(got, expect);
        };
        check(&[(9, None)], None);
        // Newer than what the other one has seen.
        check(&[(9, None), (9, Some(release(10, 500)))], Some((10, 500)));
        check(
            &[(10, Some(release(10, 500))), (10, Some(release(10, 100)))],
            Some((10, 100)),
        );
        // The gateway with the clamp went away: nobody has raised it.
        check(&[(11, Some(release(10, 500)))], Some((10, 100)));
        // One that is behind, and one that knows nothing yet.
        check(&[(4, Some(release(4, 9_000))), (3, None)], Some((10, 100)));
        check(&[], Some((10, 100)));
        check(&[(12, Some(release(12, 5_000)))], Some((12, 5_000)));
        // Deleted: whoever has seen more of the log knows.
        check(
            &[(11, None), (12, Some(release(12, 5_000)))],
            Some((12, 5_000)),
        );
        check(&[(13, None), (12, Some(release(12, 5_000)))], None);
        check(&[], None);
    }
}
