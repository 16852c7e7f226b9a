//! Opaque connections to a canary that nobody here may meet any more.
//!
//! A request ends by itself; a connection of bytes may last for days. Once a release gives the
//! canary nothing in this place, what is open to it is cut. It is judged by what is in effect, not
//! by what changed, so that a connection that was being opened meanwhile is cut as well.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio_util::sync::CancellationToken;
use weft_decide::{EndpointView, Scope, ServiceTable};
use weft_model::{BasisPoints, ServiceKey, Version};

use super::{Chosen, Outbound, Shared};

/// What cuts the connections to one version of one service.
pub(super) type Cut = Rc<CancellationToken>;

/// The open connections of one worker, by what they are to.
#[derive(Default)]
pub(super) struct Withdrawals {
    open: RefCell<BTreeMap<(ServiceKey, Version), Cut>>,
}

impl Withdrawals {
    /// Cancelled once connections to this endpoint are to end; hold it while one is open. None:
    /// they never are, for its version is in no release, or it was asked for by its own name.
    pub(super) fn watch(
        &self,
        table: &ServiceTable,
        chosen: &Chosen,
        view: &EndpointView,
    ) -> Option<Cut> {
        if matches!(chosen.scope, Scope::Endpoint(_)) {
            return None;
        }
        let version = view.endpoint.version.clone()?;
        let at = (chosen.service.key().clone(), version);
        if is_withdrawn(table, &at) {
            let cut = Cut::default();
            cut.cancel();
            return Some(cut);
        }
        Some(Rc::clone(self.open.borrow_mut().entry(at).or_default()))
    }

    /// Cuts what is withdrawn by `table`, and forgets what is open no more.
    fn follow(&self, table: &ServiceTable) {
        self.open.borrow_mut().retain(|at, cut| {
            if is_withdrawn(table, at) {
                cut.cancel();
                return false;
            }
            Rc::strong_count(cut) > 1
        });
    }
}

fn is_withdrawn(table: &ServiceTable, (service, version): &(ServiceKey, Version)) -> bool {
    let release = table.service(service);
    let release = release.and_then(|service| service.spec().release.as_ref());
    release.is_some_and(|it| it.canary == *version && it.weight == BasisPoints::NONE)
}

impl Outbound {
    /// Cuts connections as tables come, until this is dropped.
    pub(super) fn spawn_withdrawals(&self) {
        let weak = Rc::downgrade(&self.shared);
        let mut changed = self.shared.tables.changed();
        tokio::task::spawn_local(async move {
            while changed.changed().await.is_ok() {
                let Some(shared) = weak.upgrade() else {
                    return;
                };
                shared.withdrawals.follow(&shared.tables.load());
            }
        });
    }
}

impl Shared {
    /// What cuts a connection to the endpoint that was chosen.
    pub(super) fn cut_of(&self, chosen: &Chosen, view: &EndpointView) -> Option<Cut> {
        self.withdrawals.watch(&self.tables.load(), chosen, view)
    }
}

/// Resolves once the connection is to be cut.
pub(super) async fn until_cut(by: Option<&Cut>) {
    match by {
        Some(by) => by.cancelled().await,
        None => std::future::pending().await,
    }
}
