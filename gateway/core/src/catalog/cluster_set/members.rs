//! Which endpoints a cluster has, by service, and which of them are in doubt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_model::{Endpoint, EndpointId, Health, ServiceKey};

use crate::Moment;
use crate::catalog::{Interest, ShrinkGuard};

/// The endpoints. Who attests them is not known here.
#[derive(Debug, Clone)]
pub(super) struct Members {
    guard: ShrinkGuard,
    by_id: BTreeMap<EndpointId, Member>,
    services: BTreeMap<ServiceKey, Roster>,
    touched: BTreeSet<ServiceKey>,
}

#[derive(Debug, Clone)]
struct Member {
    /// Its owner's last word.
    endpoint: Arc<Endpoint>,
    /// Since when nobody attests it.
    doubted: Option<Moment>,
}

/// The endpoints of one service.
#[derive(Debug, Clone, Default)]
struct Roster {
    members: BTreeSet<EndpointId>,
    doubted: BTreeSet<EndpointId>,
}

impl Members {
    pub(super) fn new(guard: ShrinkGuard) -> Self {
        Self {
            guard,
            by_id: BTreeMap::new(),
            services: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.by_id.get(&id).map(|member| &member.endpoint)
    }

    /// All services that have endpoints.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.keys()
    }

    /// The endpoints of services that `interest` does not cover.
    pub(super) fn outside(&self, interest: &Interest) -> Vec<EndpointId> {
        self.services
            .iter()
            .filter(|(service, _)| !interest.covers(service))
            .flat_map(|(_, roster)| roster.members.iter().copied())
            .collect()
    }

    /// What [`super::ClusterSet::endpoints_of`] answers.
    pub(super) fn endpoints_of(&self, service: &ServiceKey) -> impl Iterator<Item = Arc<Endpoint>> {
        let roster = self.services.get(service);
        let held = roster.is_some_and(|roster| self.is_held(roster));
        let ids = roster.into_iter().flat_map(|roster| &roster.members);
        ids.filter_map(move |id| {
            let member = self.by_id.get(id)?;
            let usable = member.doubted.is_none() || held;
            if usable || member.endpoint.health != Health::Ready {
                return Some(Arc::clone(&member.endpoint));
            }
            let mut doubted = Endpoint::clone(&member.endpoint);
            doubted.health = Health::NotReady;
            Some(Arc::new(doubted))
        })
    }

    /// What [`super::ClusterSet::held`] answers.
    pub(super) fn held(&self, service: &ServiceKey) -> Option<(usize, usize)> {
        let roster = self.services.get(service)?;
        self.is_held(roster)
            .then_some((roster.doubted.len(), roster.members.len()))
    }

    /// Takes in an owner's newest word, in place of any before it.
    pub(super) fn place(&mut self, endpoint: Arc<Endpoint>) {
        // Its service may be another than before.
        self.remove(endpoint.id);
        let (id, service) = (endpoint.id, endpoint.service.clone());
        let roster = self.services.entry(service.clone()).or_default();
        roster.members.insert(id);
        self.touched.insert(service);
        let doubted = None;
        self.by_id.insert(id, Member { endpoint, doubted });
    }

    /// It is gone.
    pub(super) fn remove(&mut self, id: EndpointId) {
        let Some(member) = self.by_id.remove(&id) else {
            return;
        };
        let service = &member.endpoint.service;
        if let Some(roster) = self.services.get_mut(service) {
            roster.members.remove(&id);
            roster.doubted.remove(&id);
            if roster.members.is_empty() {
                self.services.remove(service);
            }
        }
        self.touched.insert(service.clone());
    }

    /// Somebody attests it.
    pub(super) fn trust(&mut self, id: EndpointId) {
        let Some(member) = self.by_id.get_mut(&id) else {
            return;
        };
        if member.doubted.take().is_some() {
            let service = &member.endpoint.service;
            if let Some(roster) = self.services.get_mut(service) {
                roster.doubted.remove(&id);
            }
            self.touched.insert(service.clone());
        }
    }

    /// Nobody attests it, from now on unless it was doubted already.
    pub(super) fn doubt(&mut self, id: EndpointId, now: Moment) {
        let Some(member) = self.by_id.get_mut(&id) else {
            return;
        };
        if member.doubted.is_none() {
            member.doubted = Some(now);
            let service = &member.endpoint.service;
            if let Some(roster) = self.services.get_mut(service) {
                roster.doubted.insert(id);
            }
            self.touched.insert(service.clone());
        }
    }

    /// Removes what has been doubted long enough.
    pub(super) fn expire(&mut self, now: Moment) {
        let expired: Vec<EndpointId> = self
            .doubts()
            .filter(|(_, at)| *at <= now)
            .map(|(id, _)| id)
            .collect();
        for id in expired {
            self.remove(id);
        }
    }

    /// When [`Members::expire`] has something to do next.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.doubts().map(|(_, at)| at).min()
    }

    /// The services whose endpoints changed since the last call.
    pub(super) fn take_touched(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.touched)
    }

    fn is_held(&self, roster: &Roster) -> bool {
        self.guard.holds(roster.doubted.len(), roster.members.len())
    }

    /// Every doubted endpoint and when it goes.
    fn doubts(&self) -> impl Iterator<Item = (EndpointId, Moment)> {
        self.services.values().flat_map(move |roster| {
            let held = self.is_held(roster);
            roster.doubted.iter().filter_map(move |id| {
                let since = self.by_id.get(id)?.doubted?;
                Some((*id, self.guard.expiry(since, held)))
            })
        })
    }
}
