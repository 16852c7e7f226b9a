//! A gateway: what runs, and what is on its disk.

use std::sync::Arc;

use weft_model::fixture::{Log, name};
use weft_model::{Clamp, Endpoint, Federation, GatewayName, ServiceKey};
use weft_plan::Moment;
use weft_plan::catalog::{Catalog, CatalogView, Epoch, Timing};
use weft_plan::release::Clamps;

/// A gateway of one cluster.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) number: usize,
    pub(super) cluster: &'static str,
    pub(super) region: &'static str,
    pub(super) name: GatewayName,
    /// None while it is down.
    pub(super) catalog: Option<Catalog>,
    /// What the catalog showed last.
    pub(super) view: Option<Arc<CatalogView>>,
    /// Its run, counted over all gateways: an epoch.
    pub(super) run: u8,
    pub(super) starts_at: u64,
    /// Since when it has been running.
    pub(super) since: u64,
    /// Its replica.
    pub(super) federation: Federation,
    /// How much of the log it has applied.
    pub(super) applied: usize,
    pub(super) clamps: Clamps,
    service: ServiceKey,
    disk: Disk,
}

/// What a gateway that died finds again.
#[derive(Debug, Default)]
struct Disk {
    endpoints: Vec<Endpoint>,
    clamps: Vec<Clamp>,
}

impl Gateway {
    pub(super) fn new(number: usize, (cluster, region): (&'static str, &'static str)) -> Self {
        Self {
            number,
            cluster,
            region,
            name: name(&format!("gw-{number}")),
            catalog: None,
            view: None,
            run: 0,
            starts_at: 0,
            since: 0,
            federation: Federation::default(),
            applied: 0,
            clamps: Clamps::default(),
            service: name("shop/checkout"),
            disk: Disk::default(),
        }
    }

    pub(super) fn start(&mut self, run: u8, step: u64, now: Moment) {
        let epoch = Epoch([run; 16]);
        let (cluster, gateway) = (name(self.cluster), self.name.clone());
        let mut catalog = Catalog::new(cluster, gateway, epoch, Timing::default(), now);
        catalog.restore(self.disk.endpoints.clone(), now);
        self.clamps = Clamps::restore(self.disk.clamps.clone());
        self.clamps.prune(&self.federation);
        self.catalog = Some(catalog);
        (self.run, self.since) = (run, step);
        self.refresh();
    }

    pub(super) fn crash(&mut self, starts_at: u64) {
        self.catalog = None;
        self.view = None;
        self.starts_at = starts_at;
    }

    /// Shows what the catalog has now.
    pub(super) fn refresh(&mut self) {
        self.view = self.catalog.as_mut().map(|catalog| catalog.refresh().0);
    }

    /// The last view goes to the disk, as it does now and then.
    pub(super) fn save_view(&mut self) {
        let Some(view) = &self.view else { return };
        let services = view.services().flat_map(|(_, service)| &service.endpoints);
        self.disk.endpoints = services.map(|e| Endpoint::clone(e)).collect();
    }

    /// A clamp counts only once it is on the disk.
    pub(super) fn save_clamps(&mut self) {
        self.disk.clamps = self.clamps.iter().cloned().collect();
    }

    /// Applies the log up to this length.
    pub(super) fn follow(&mut self, log: &Log, length: usize) {
        for entry in &log.entries[self.applied..length.max(self.applied)] {
            self.applied += 1;
            let index = weft_model::Index(self.applied as u64);
            self.federation.apply(index, entry);
        }
        if self.clamps.prune(&self.federation) {
            self.save_clamps();
        }
    }

    /// Endpoints of the one service there is, with what they are good for.
    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        self.view.as_ref().map_or(&[], |view| {
            let service = view.service(&self.service);
            service.map_or(&[], |service| &service.endpoints)
        })
    }
}
