//! A canary's weight is never above the committed step, nor above any clamp that its gateway
//! knew in this run, or had on its disk, and the log has not lifted by name; it rises only where the log has moved on.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::fixture::name;
use weft_model::{BasisPoints, Clamp, ClampId, Index, ReleaseRecord};
use weft_plan::release::{CallerPlace, weight};

use super::super::gateway::Gateway;
use super::super::release::key;

#[derive(Debug, Default)]
pub(crate) struct Weights {
    /// All clamps that a gateway's disk had at some time.
    known: BTreeMap<usize, BTreeMap<ClampId, Clamp>>,
    /// A gateway's run, and all clamps that it knew in it.
    held: BTreeMap<usize, (u8, BTreeMap<ClampId, Clamp>)>,
    /// Those that a resume has named.
    named: BTreeSet<ClampId>,
    /// What a gateway has seen lifted: a start may take its replica back to before that, since a
    /// disk may not know yet that the last entries it holds are committed.
    lifted: BTreeSet<(usize, ClampId)>,
    /// A gateway's run and position in the log, and the weight there.
    last: BTreeMap<usize, (u8, Index, BasisPoints)>,
    /// How often a clamp held a weight down.
    pub(crate) clamped: usize,
}

impl Weights {
    pub(crate) fn name(&mut self, lifts: impl IntoIterator<Item = ClampId>) {
        self.named.extend(lifts);
    }

    pub(crate) fn check(&mut self, gateway: &Gateway) -> Result<(), String> {
        let Some(record) = gateway.federation.release(&key()) else {
            return Ok(());
        };
        if let Some(id) = record.lifted.iter().find(|id| !self.named.contains(id)) {
            return Err(format!("clamp {id} was lifted, and nobody named it"));
        }
        let effective = effective(gateway, record, gateway.clamps.of(&key()));
        let committed = self::effective(gateway, record, []);
        if effective > committed {
            return Err(format!(
                "{} gives {effective:?}, committed {committed:?}",
                gateway.name
            ));
        }
        let lifted = record.lifted.iter().map(|id| (gateway.number, *id));
        self.lifted.extend(lifted);
        let known = self.known.entry(gateway.number).or_default();
        let kept = gateway.kept_clamps().iter();
        known.extend(kept.map(|clamp| (clamp.id, clamp.clone())));
        let held = self.held.entry(gateway.number).or_default();
        if held.0 != gateway.run {
            *held = (gateway.run, BTreeMap::new());
        }
        let in_memory = gateway.clamps.iter();
        held.1
            .extend(in_memory.map(|clamp| (clamp.id, clamp.clone())));
        for clamp in known.values().chain(held.1.values()) {
            let counts = clamp.run == record.created
                && clamp.region.as_str() == gateway.region
                && !self.lifted.contains(&(gateway.number, clamp.id));
            if counts && effective > BasisPoints::from(clamp.weight) {
                let (by, id) = (&gateway.name, clamp.id);
                return Err(format!("{by} gives {effective:?} in spite of clamp {id}"));
            }
        }
        self.clamped += usize::from(effective < committed);
        let now = (gateway.run, gateway.applied, effective);
        let before = self.last.insert(gateway.number, now).unwrap_or(now);
        if (before.0, before.1) == (now.0, now.1) && before.2 < now.2 {
            return Err(format!(
                "{}'s weight rose without the log: {before:?}, {now:?}",
                gateway.name
            ));
        }
        Ok(())
    }
}

/// The canary's share among the callers of the gateway's cluster.
pub(super) fn effective<'c>(
    gateway: &Gateway,
    record: &ReleaseRecord,
    clamps: impl IntoIterator<Item = &'c Clamp>,
) -> BasisPoints {
    let place = CallerPlace {
        cluster: name(gateway.cluster),
        region: name(gateway.region),
    };
    weight(&key(), record, &place, clamps).weight
}
