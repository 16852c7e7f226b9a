//! What the leader observes: leases, and what format every member understands.
//!
//! The log does not say who leads, so any gateway whose cluster may vote is
//! believed here; voters are trusted with the log as it is.

use std::sync::Arc;

use super::Federation;
use super::author::{Cause, newer};
use crate::{ClusterName, Event, FormatLevel, Index, Refusal};

impl Federation {
    pub(super) fn lapse_lease(
        &mut self,
        cause: &Cause<'_>,
        name: &ClusterName,
    ) -> Result<Vec<Event>, Refusal> {
        self.set_lease(cause, name, Some(cause.index))
    }

    pub(super) fn return_lease(
        &mut self,
        cause: &Cause<'_>,
        name: &ClusterName,
    ) -> Result<Vec<Event>, Refusal> {
        self.set_lease(cause, name, None)
    }

    /// Sets where the lease lapsed, or that it is held. Saying what is so already
    /// is no error: two leaders in a row may see the same.
    fn set_lease(
        &mut self,
        cause: &Cause<'_>,
        name: &ClusterName,
        lapsed: Option<Index>,
    ) -> Result<Vec<Event>, Refusal> {
        let what = format!("the lease of {name}");
        let observer = self.needs_voter(cause, what)?;
        if !self.clusters.contains_key(name) {
            return Err(Refusal::Unknown(format!("cluster {name}")));
        }
        let pair = (observer.clone(), name.clone());
        let seen = self.observed.get(&pair).copied().unwrap_or_default();
        newer(cause.generation, seen)?;
        Arc::make_mut(&mut self.observed).insert(pair, cause.generation);
        self.note_generation(&observer, cause.generation);
        let mut events = Vec::new();
        if let Some(member) = Arc::make_mut(&mut self.clusters).get_mut(name)
            && member.lapsed.is_some() != lapsed.is_some()
        {
            Arc::make_mut(member).lapsed = lapsed;
            events.push(Event::Lease(name.clone(), lapsed.is_some()));
        }
        Ok(events)
    }

    pub(super) fn raise_format(
        &mut self,
        cause: &Cause<'_>,
        level: FormatLevel,
    ) -> Result<Vec<Event>, Refusal> {
        self.needs_voter(cause, "the format level")?;
        let understood = self.nodes.values().map(|node| node.gateway.format).min();
        let has = understood.unwrap_or(self.format);
        if level > has {
            return Err(Refusal::Format { needs: level, has });
        }
        if level <= self.format {
            return Err(Refusal::Taken(format!("format level {level}")));
        }
        self.format = level;
        Ok(vec![Event::Format(level)])
    }
}
