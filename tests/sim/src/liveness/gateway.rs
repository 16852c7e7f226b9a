//! A gateway: what runs, and what is on its disk.

use std::sync::Arc;

use weft_model::fixture::{Log, name};
use weft_model::{Clamp, ClusterName, Endpoint, Federation, GatewayName, Index, ServiceKey};
use weft_plan::Moment;
use weft_plan::catalog::{Catalog, CatalogView, Epoch, SessionId, Timing};
use weft_plan::release::Clamps;

/// A gateway of one cluster.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) number: usize,
    pub(crate) cluster: &'static str,
    pub(crate) region: &'static str,
    pub(crate) name: GatewayName,
    /// Whether it belongs to the federation.
    pub(crate) member: bool,
    /// When it is gone, once it does not.
    pub(crate) leaves_at: Option<u64>,
    /// None while it is down.
    pub(crate) catalog: Option<Catalog>,
    /// What the catalog showed last.
    pub(crate) view: Option<Arc<CatalogView>>,
    /// How often its process started, where something else starts it.
    pub(crate) starts: u64,
    /// Its run, counted over all gateways: an epoch.
    pub(crate) run: u8,
    pub(crate) starts_at: u64,
    /// Since when it has been running.
    pub(crate) since: u64,
    /// Whether it keeps what its catalog showed last; its clamps it keeps in any case.
    pub(crate) keeps_view: bool,
    /// When it died without a word, if it did.
    pub(crate) died_silently: Option<u64>,
    /// Whether it has gone on since the last step.
    pub(crate) goes_on: bool,
    /// Since when it stands still, while it does.
    pub(crate) still_since: Option<u64>,
    /// Sessions that their sidecars gave up meanwhile.
    pub(crate) ended: Vec<SessionId>,
    /// Its replica.
    pub(crate) federation: Federation,
    /// How much of the log it has applied.
    pub(crate) applied: Index,
    pub(crate) clamps: Clamps,
    service: ServiceKey,
    disk: Disk,
}

/// What a gateway that died finds again.
#[derive(Debug, Default)]
struct Disk {
    endpoints: Vec<Endpoint>,
    clamps: Vec<Clamp>,
    /// Whether it takes nothing.
    full: bool,
    /// Whether it lacks the newest clamps.
    behind: bool,
}

impl Gateway {
    pub(crate) fn new(number: usize, (cluster, region): (&'static str, &'static str)) -> Self {
        Self {
            number,
            cluster,
            region,
            name: name(&format!("gw-{number}")),
            member: true,
            leaves_at: None,
            catalog: None,
            view: None,
            starts: 0,
            run: 0,
            starts_at: 0,
            since: 0,
            keeps_view: true,
            died_silently: None,
            goes_on: false,
            still_since: None,
            ended: Vec::new(),
            federation: Federation::default(),
            applied: Index(0),
            clamps: Clamps::default(),
            service: name("shop/checkout"),
            disk: Disk::default(),
        }
    }

    pub(crate) fn start(&mut self, run: u8, step: u64, now: Moment, members: Option<&Federation>) {
        let epoch = Epoch([run; 16]);
        let (cluster, gateway) = (name(self.cluster), self.name.clone());
        let mut catalog = Catalog::new(cluster, gateway, epoch, Timing::default(), now);
        catalog.restore(self.disk.endpoints.clone(), now);
        catalog.keep_members(members.unwrap_or(&self.federation));
        self.clamps = Clamps::restore(self.disk.clamps.clone());
        (self.disk.behind, self.died_silently) = (false, None);
        self.clamps.prune(&self.federation);
        self.catalog = Some(catalog);
        (self.run, self.since) = (run, step);
        self.refresh();
    }

    pub(crate) fn crash(&mut self, starts_at: u64) {
        self.catalog = None;
        self.view = None;
        (self.still_since, self.goes_on) = (None, false);
        self.ended.clear();
        self.starts_at = starts_at;
    }

    /// Shows what the catalog has now.
    pub(crate) fn refresh(&mut self) {
        self.view = self.catalog.as_mut().map(|catalog| catalog.refresh().0);
    }

    /// The last view goes to the disk, as it does now and then.
    pub(crate) fn save_view(&mut self) {
        let Some(view) = &self.view else { return };
        if self.disk.full || !self.keeps_view {
            return;
        }
        let services = view.services().flat_map(|(_, service)| &service.endpoints);
        self.disk.endpoints = services.map(|e| Endpoint::clone(e)).collect();
    }

    /// They are in force at once, and outlive the process once they are on the disk.
    pub(crate) fn save_clamps(&mut self) {
        self.disk.behind = self.disk.full;
        if !self.disk.full {
            self.disk.clamps = self.clamps.iter().cloned().collect();
        }
    }

    /// Clamps that outlive the process.
    pub(crate) fn kept_clamps(&self) -> &[Clamp] {
        &self.disk.clamps
    }

    /// Whether what it knows of clamps would not outlive it.
    pub(crate) fn is_behind(&self) -> bool {
        self.disk.behind
    }

    /// Its disk has room, or none; what waited for it is written.
    pub(crate) fn set_full(&mut self, full: bool) {
        self.disk.full = full;
        let moves = self.catalog.is_some() && self.still_since.is_none();
        if self.disk.behind && moves {
            self.save_clamps();
        }
    }

    /// Applies the log up to this length.
    pub(crate) fn follow(&mut self, log: &Log, length: usize) {
        let applied = usize::try_from(self.applied.0).unwrap_or(length);
        for entry in &log.entries[applied..length.max(applied)] {
            self.applied = Index(self.applied.0 + 1);
            self.federation.apply(self.applied, entry);
        }
        self.heed();
    }

    /// Its replica has come to a state; says which clusters it counts no more.
    pub(crate) fn learn(&mut self, state: &Federation, applied: Index) -> Vec<ClusterName> {
        self.federation = state.clone();
        self.applied = applied;
        self.heed();
        let catalog = self.catalog.as_mut();
        catalog.map_or_else(Vec::new, |catalog| catalog.keep_members(state))
    }

    fn heed(&mut self) {
        if self.clamps.prune(&self.federation) {
            self.save_clamps();
        }
    }

    /// Endpoints of the one service there is, with what they are good for.
    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        self.view.as_ref().map_or(&[], |view| {
            let service = view.service(&self.service);
            service.map_or(&[], |service| &service.endpoints)
        })
    }
}
