//! Keeps what names are made of on the disk before names answer by it, and the view as a whole
//! every few seconds.
//!
//! Two tasks: a view of many endpoints takes long to write, and changes do not wait for it. What
//! is written is written by threads that may block, and no lock of the catalog is held meanwhile.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use weft_plan::catalog::CatalogView;

use super::disk::Disk;
use super::handle::{Inner, Shown};
use super::kept::Kept;

/// Changes are written at most this often: those that come meanwhile are gathered.
const PACE: Duration = Duration::from_millis(100);
/// A disk that takes nothing is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// The view on disk is replaced at most this often.
const WHOLE: Duration = Duration::from_secs(3);

/// A change that is being written, and the view it leads to.
type Write = (Arc<CatalogView>, JoinHandle<io::Result<()>>);

/// Shows each view once its changes are on the disk. Without a disk, at once.
pub(super) async fn keep_changes(inner: Arc<Inner>, disk: Option<Arc<Disk>>) {
    let mut newest = inner.changed.subscribe();
    let mut kept = Kept::new(inner.shown().view);
    let mut write: Option<Write> = None;
    let mut not_before = Instant::now();
    let mut why: Option<String> = None;
    loop {
        let now = Instant::now();
        kept.look(inner.view.load_full(), now);
        let free = write.is_none() && not_before <= now;
        let wholes = || disk.as_ref().map(|disk| disk.wholes(kept.stored()));
        let wholes = free.then(wholes).flatten().unwrap_or_default();
        if free && let Some((view, changes)) = kept.due(&wholes) {
            match &disk {
                Some(disk) => {
                    let (disk, at) = (Arc::clone(disk), inner.now());
                    let job = tokio::task::spawn_blocking(move || disk.add(&changes, at));
                    write = Some((view, job));
                }
                None => kept.written(view),
            }
        }
        show(&inner, &kept, why.as_deref());
        let turn = (write.is_none() && kept.is_behind()).then_some(not_before);
        let wake = turn.into_iter().chain(kept.deadline()).min();
        tokio::select! {
            _ = newest.changed() => {}
            done = finished(&mut write) => {
                let (view, done) = done;
                why = done.err();
                let wait = match why {
                    None => {
                        kept.written(view);
                        PACE
                    }
                    Some(_) => {
                        kept.failed();
                        RETRY
                    }
                };
                not_before = Instant::now() + wait;
            }
            () = at(wake) => {}
        }
    }
}

/// Waits for the write under way; for ever, if there is none.
async fn finished(write: &mut Option<Write>) -> (Arc<CatalogView>, Result<(), String>) {
    let Some((_, job)) = write else {
        return std::future::pending().await;
    };
    let done = plain(job.await);
    match write.take() {
        Some((view, _)) => (view, done),
        None => std::future::pending().await,
    }
}

async fn at(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// Says when it begins, and when it ends, that names do not wait for the disk.
fn show(inner: &Inner, kept: &Kept, why: Option<&str>) {
    let (view, ahead) = (kept.shown(), kept.is_ahead());
    let was_ahead = inner.shown().ahead;
    inner.shown.send_if_modified(|shown| {
        let other = !Arc::ptr_eq(&shown.view, view) || shown.ahead != ahead;
        if other {
            *shown = Shown {
                view: Arc::clone(view),
                ahead,
            };
        }
        other
    });
    match (was_ahead, ahead) {
        (false, true) => tracing::warn!(
            why = why.unwrap_or("it is slow"),
            "names answer by endpoints that the disk does not take; a restart could find older ones"
        ),
        (true, false) => tracing::info!("all that names answer by is on the disk"),
        _ => {}
    }
}

/// Replaces the view on disk every few seconds, if it is another.
pub(super) async fn keep_whole(inner: Arc<Inner>, disk: Arc<Disk>) {
    // Whom the file calls heard was heard by the run before: it is written anew first.
    let mut saved = None;
    let mut failing = false;
    let mut tick = interval(WHOLE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (inner, disk) = (Arc::clone(&inner), Arc::clone(&disk));
        let job = tokio::task::spawn_blocking(move || {
            let store = || disk.store(|| (inner.view.load_full(), inner.now()));
            match saved.filter(|saved| *saved == inner.view.load().generation()) {
                Some(same) => disk.touch().map(|()| same).or_else(|_| store()),
                None => store(),
            }
        });
        match plain(job.await) {
            Ok(generation) => {
                saved = Some(generation);
                if std::mem::take(&mut failing) {
                    tracing::info!("the last view is kept on disk again");
                }
            }
            Err(why) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(why, "the last view is not kept on disk; trying again");
                }
            }
        }
    }
}

fn plain<T>(done: Result<io::Result<T>, JoinError>) -> Result<T, String> {
    match done {
        Ok(done) => done.map_err(|why| why.to_string()),
        Err(why) => Err(format!("it ended early: {why}")),
    }
}
