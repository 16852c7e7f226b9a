//! Which view names may answer by: none that the disk does not hold.
//!
//! A gateway that is killed and starts with nobody reachable must not answer by an older set of
//! endpoints than it has answered. So what names are made of is on the disk first. A disk that
//! is full or slow holds names up for a moment and no longer: then they follow all the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weft_plan::catalog::{CatalogView, ViewChanges};

/// Names wait this long for the disk: less than the 5 s for which answers are kept by whoever asked.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// What the disk holds, what names answer by, and what is newest.
#[derive(Debug)]
pub(super) struct Kept {
    stored: Arc<CatalogView>,
    shown: Arc<CatalogView>,
    newest: Arc<CatalogView>,
    /// Since when something newer than what the disk holds waits for it.
    waiting: Option<Instant>,
    /// What is being written, and since when there is something newer than that.
    under_way: Arc<CatalogView>,
    queued: Option<Instant>,
    /// The disk took nothing when it was last asked to: names wait for it no longer.
    failing: bool,
}

impl Kept {
    /// What a start finds is on the disk.
    pub(super) fn new(found: Arc<CatalogView>) -> Self {
        Self {
            stored: Arc::clone(&found),
            shown: Arc::clone(&found),
            under_way: Arc::clone(&found),
            newest: found,
            waiting: None,
            queued: None,
            failing: false,
        }
    }

    /// `view` is the newest now.
    pub(super) fn look(&mut self, view: Arc<CatalogView>, now: Instant) {
        self.newest = view;
        if is_later(&self.newest, &self.under_way) {
            self.queued.get_or_insert(now);
        }
        if is_later(&self.newest, &self.stored) {
            let since = *self.waiting.get_or_insert(now);
            if self.failing || since + PATIENCE <= now {
                self.shown = Arc::clone(&self.newest);
            }
        }
    }

    /// What has to be written before the newest may be shown; none if names are the same by it.
    /// After a failure also that nothing is other: nobody knows what it left until one succeeds.
    ///
    /// `wholes` are the views that were written as a whole since: what has come and gone may be in
    /// them alone.
    pub(super) fn due(
        &mut self,
        wholes: &[Arc<CatalogView>],
    ) -> Option<(Arc<CatalogView>, ViewChanges)> {
        if !is_later(&self.newest, &self.stored) {
            return None;
        }
        let newest = Arc::clone(&self.newest);
        (self.under_way, self.queued) = (Arc::clone(&newest), None);
        let mut changes = newest.changes_since(&self.stored);
        for whole in wholes {
            changes.join(newest.changes_since(whole));
        }
        if changes.is_empty() && !self.failing {
            self.store(newest);
            return None;
        }
        Some((newest, changes))
    }

    /// The disk holds what [`Kept::due`] said of `view`.
    pub(super) fn written(&mut self, view: Arc<CatalogView>) {
        self.failing = false;
        self.store(view);
    }

    /// It could not be written.
    pub(super) fn failed(&mut self) {
        self.failing = true;
        self.shown = Arc::clone(&self.newest);
    }

    fn store(&mut self, view: Arc<CatalogView>) {
        if is_later(&view, &self.shown) {
            self.shown = Arc::clone(&view);
        }
        self.stored = view;
        // What came while it was written has waited since then.
        self.waiting = self.queued;
    }

    /// What the disk holds, as far as names are made of it.
    pub(super) fn stored(&self) -> &CatalogView {
        &self.stored
    }

    /// What names answer by.
    pub(super) fn shown(&self) -> &Arc<CatalogView> {
        &self.shown
    }

    /// Whether a restart would find less than is shown.
    pub(super) fn is_ahead(&self) -> bool {
        is_later(&self.shown, &self.stored)
    }

    /// Whether anything newer than what the disk holds is known.
    pub(super) fn is_behind(&self) -> bool {
        is_later(&self.newest, &self.stored)
    }

    /// When names wait no longer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let hidden = is_later(&self.newest, &self.shown);
        let since = self.waiting.filter(|_| hidden)?;
        Some(since + PATIENCE)
    }
}

fn is_later(one: &CatalogView, other: &CatalogView) -> bool {
    one.generation() > other.generation()
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::{self, name};
    use weft_plan::catalog::{Catalog, Epoch, SessionId, Timing};

    use super::*;
    use crate::catalog::tests::{EU, endpoint, identity};

    const SESSION: SessionId = SessionId([1; 16]);

    struct Scene {
        catalog: Catalog,
        kept: Kept,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let (now, epoch) = (Default::default(), Epoch([1; 16]));
            let mut catalog = Catalog::new(name(EU), name("gw"), epoch, Timing::default(), now);
            catalog.open_session(SESSION, identity(EU), now);
            let found = catalog.refresh().0;
            Self {
                catalog,
                kept: Kept::new(found),
                now: Instant::now(),
            }
        }

        /// Adds an endpoint.
        fn change(&mut self, n: u8) -> Arc<CatalogView> {
            let mut endpoint = endpoint(EU, n);
            endpoint.sequence = 1;
            let now = Default::default();
            self.catalog
                .put(SESSION, endpoint, &fixture::federation(), now)
                .unwrap();
            self.refresh()
        }

        /// Takes it away again.
        fn withdraw(&mut self, n: u8) -> Arc<CatalogView> {
            let id = endpoint(EU, n).id;
            let now = Default::default();
            self.catalog.withdraw(SESSION, id, 1, now).unwrap();
            self.refresh()
        }

        fn refresh(&mut self) -> Arc<CatalogView> {
            let view = self.catalog.refresh().0;
            self.kept.look(Arc::clone(&view), self.now);
            view
        }

        fn shows(&self) -> u64 {
            self.kept.shown().generation()
        }

        fn passes(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
            let newest = Arc::clone(&self.kept.newest);
            self.kept.look(newest, self.now);
        }
    }

    #[test]
    fn nothing_is_shown_that_is_not_on_the_disk() {
        let mut scene = Scene::new();
        let found = scene.shows();
        let first = scene.change(1);
        let (due, changes) = scene.kept.due(&[]).unwrap();
        assert_eq!(
            (due.generation(), changes.put.len()),
            (first.generation(), 1)
        );
        assert_eq!(scene.shows(), found);
        // More comes while it is written: that has to wait for its own turn.
        let second = scene.change(2);
        assert_eq!(scene.shows(), found);
        scene.kept.written(due);
        assert_eq!(scene.shows(), first.generation());
        assert!(scene.kept.is_behind() && !scene.kept.is_ahead());
        let (due, changes) = scene.kept.due(&[]).unwrap();
        assert_eq!(changes.put.len(), 1, "the first is not written again");
        scene.kept.written(due);
        assert_eq!(scene.shows(), second.generation());
        assert!(scene.kept.due(&[]).is_none());
        assert_eq!(scene.kept.deadline(), None);
    }

    #[test]
    fn a_change_waits_for_so_long_in_all_however_many_writes_that_takes() {
        let mut scene = Scene::new();
        let first = scene.change(1);
        let (due, _) = scene.kept.due(&[]).unwrap();
        scene.passes(100);
        let second = scene.change(2);
        scene.passes(800);
        scene.kept.written(due);
        scene.passes(50);
        scene.kept.due(&[]).unwrap();
        let end = scene.now + Duration::from_millis(150);
        assert_eq!(scene.kept.deadline(), Some(end));
        scene.passes(149);
        assert_eq!(scene.shows(), first.generation());
        scene.passes(1);
        assert_eq!(scene.shows(), second.generation());
    }

    /// Else a start would find it as it was in between, which names never said.
    #[test]
    fn what_was_undone_is_written_if_a_whole_view_was_meanwhile() {
        let mut scene = Scene::new();
        scene.change(1);
        let (due, _) = scene.kept.due(&[]).unwrap();
        scene.kept.written(due);
        let whole = scene.change(2);
        let undone = scene.withdraw(2);
        let (due, changes) = scene.kept.due(&[whole]).unwrap();
        assert_eq!(due.generation(), undone.generation());
        assert_eq!((changes.put.len(), changes.gone.len()), (0, 1));
        scene.kept.written(due);
        // What is other than in both is written once.
        let whole = scene.change(3);
        scene.change(4);
        let (_, changes) = scene.kept.due(&[whole]).unwrap();
        assert_eq!((changes.put.len(), changes.gone.len()), (2, 0));
    }

    #[test]
    fn what_failed_and_was_undone_is_written_all_the_same() {
        let mut scene = Scene::new();
        let undone = scene.change(1);
        scene.kept.due(&[]).unwrap();
        scene.kept.failed();
        scene.withdraw(1);
        let (due, changes) = scene.kept.due(&[]).unwrap();
        assert!(due.generation() > undone.generation() && changes.is_empty());
        assert!(scene.kept.is_ahead(), "until the disk takes something");
        scene.kept.written(due);
        assert!(!scene.kept.is_ahead());
        let next = scene.change(2);
        assert!(scene.shows() < next.generation(), "names wait again");
    }

    #[test]
    fn what_names_are_not_made_of_waits_for_nothing() {
        let mut scene = Scene::new();
        // The gateway recovers no longer: nobody's endpoints change.
        scene
            .catalog
            .poll(weft_plan::Moment(Duration::from_secs(3600)));
        let view = scene.catalog.refresh().0;
        scene.kept.look(Arc::clone(&view), scene.now);
        assert!(scene.shows() < view.generation());
        assert!(scene.kept.due(&[]).is_none());
        assert_eq!(scene.shows(), view.generation());
        assert!(!scene.kept.is_ahead());
    }

    #[test]
    fn a_slow_disk_holds_names_up_for_so_long_and_a_full_one_not_at_all() {
        let mut scene = Scene::new();
        let found = scene.shows();
        let first = scene.change(1);
        let (due, _) = scene.kept.due(&[]).unwrap();
        scene.passes(999);
        assert_eq!(scene.shows(), found);
        assert_eq!(
            scene.kept.deadline(),
            Some(scene.now + Duration::from_millis(1))
        );
        scene.passes(1);
        assert_eq!(scene.shows(), first.generation());
        assert!(scene.kept.is_ahead());
        assert_eq!(scene.kept.deadline(), None, "there is nothing to wait for");
        let second = scene.change(2);
        assert_eq!(scene.shows(), second.generation(), "it still hangs");
        scene.kept.written(due);
        assert_eq!(scene.shows(), second.generation(), "never back");
        assert!(scene.kept.is_ahead());

        let (_, changes) = scene.kept.due(&[]).unwrap();
        assert_eq!(changes.put.len(), 1);
        scene.kept.failed();
        let third = scene.change(3);
        assert_eq!(scene.shows(), third.generation());
        let (due, changes) = scene.kept.due(&[]).unwrap();
        assert_eq!(changes.put.len(), 2, "what failed is tried again");
        scene.kept.written(due);
        assert!(!scene.kept.is_ahead());
        let fourth = scene.change(4);
        assert!(scene.shows() < fourth.generation(), "names wait again");
    }
}
