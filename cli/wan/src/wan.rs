//! Named wide-area networks: which link lies between which regions.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::spec::LinkSpec;

/// The links between regions, one per direction. Within a region the link is
/// perfect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wan {
    directions: BTreeMap<(String, String), LinkSpec>,
}

impl Wan {
    /// Three regions with the round trips one sees between public clouds:
    /// us-east to eu-west 80 ms, eu-west to ap-south 140 ms, us-east to
    /// ap-south 180 ms. No loss, no limit.
    pub fn default_regions() -> Self {
        let ms = Duration::from_millis;
        Self::default()
            .round_trip("us-east", "eu-west", ms(80))
            .round_trip("eu-west", "ap-south", ms(140))
            .round_trip("us-east", "ap-south", ms(180))
    }

    /// Lays a link that delays each direction by half of `round_trip`.
    #[must_use]
    pub fn round_trip(self, a: &str, b: &str, round_trip: Duration) -> Self {
        let spec = LinkSpec::with_delay(round_trip / 2);
        self.direction(a, b, spec).direction(b, a, spec)
    }

    /// Lays or replaces one direction.
    #[must_use]
    pub fn direction(mut self, from: &str, to: &str, spec: LinkSpec) -> Self {
        self.directions
            .insert((from.to_owned(), to.to_owned()), spec);
        self
    }

    /// What lies between two regions; `None` if nothing was laid.
    pub fn spec(&self, from: &str, to: &str) -> Option<LinkSpec> {
        if from == to {
            return Some(LinkSpec::default());
        }
        self.directions
            .get(&(from.to_owned(), to.to_owned()))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_regions_have_their_round_trips() {
        let wan = Wan::default_regions();
        let round_trip = |a, b| wan.spec(a, b).unwrap().delay + wan.spec(b, a).unwrap().delay;
        assert_eq!(round_trip("us-east", "eu-west"), Duration::from_millis(80));
        assert_eq!(
            round_trip("eu-west", "ap-south"),
            Duration::from_millis(140)
        );
        assert_eq!(
            round_trip("us-east", "ap-south"),
            Duration::from_millis(180)
        );
        assert_eq!(wan.spec("us-east", "us-east"), Some(LinkSpec::default()));
        assert_eq!(wan.spec("us-east", "mars"), None);
    }
}
