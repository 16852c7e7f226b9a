//! What a release must satisfy beyond its form.

use std::collections::BTreeSet;

use super::*;
use crate::quota;
use crate::resource::check::at_most;
use crate::resource::route::check_name;

const WAVES_MAX: usize = 32;
const STEPS_MAX: usize = 64;
const MATCHES_MAX: usize = 16;

impl ReleaseSpec {
    /// Says what is wrong with the value, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.stable == self.canary {
            return Err(format!(
                "stable and canary are both {}: name two versions",
                self.stable
            ));
        }
        self.audience.check()?;
        if self.waves.is_empty() {
            return Err("waves is empty: say where the canary begins".into());
        }
        at_most("waves", self.waves.len(), WAVES_MAX)?;
        let mut names = BTreeSet::new();
        for wave in &self.waves {
            if !names.insert(&wave.name) {
                return Err(format!("two waves are called {}", wave.name));
            }
            let checked = wave.check();
            checked.map_err(|why| format!("wave {}: {why}", wave.name))?;
        }
        Ok(())
    }
}

impl Audience {
    fn check(&self) -> Result<(), String> {
        at_most("audience.match", self.matches.len(), MATCHES_MAX)?;
        self.matches.iter().try_for_each(RouteMatch::check)?;
        let sticky = self.stickiness.iter();
        sticky
            .map(|sticky| &sticky.name)
            .try_for_each(|name| check_name(name))
    }
}

impl Wave {
    fn check(&self) -> Result<(), String> {
        if self.regions.is_empty() && self.clusters.is_empty() {
            return Err("names no caller: give regions or clusters, [\"*\"] for all".into());
        }
        for named in [self.regions.count(), self.clusters.count()] {
            at_most("regions or clusters", named, quota::CLUSTERS_MAX)?;
        }
        at_most("steps", self.steps.len(), STEPS_MAX)?;
        let weights: Vec<Percent> = self.weights().collect();
        if weights.is_empty() {
            return Err("has no setWeight: without one it would do nothing".into());
        }
        match weights.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => Err(format!(
                "setWeight {} comes after {}: weights of a wave rise",
                pair[1].value(),
                pair[0].value()
            )),
            None => Ok(()),
        }
    }
}

impl<N> Places<N> {
    fn count(&self) -> usize {
        match self {
            Self::All => 1,
            Self::Named(named) => named.len(),
        }
    }
}

#[cfg(test)]
mod tests;
