//! When a leader was last heard, kept over restarts: the modification time of an empty file.
//!
//! It is told and nothing else: wall clocks jump, so nothing is judged by it. Setting a time
//! takes no room on the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::hub::Hub;

const FILE: &str = "leader-heard";
/// How often the time is set. Longer: an age told after a restart is up to that much too high.
const EVERY: Duration = Duration::from_secs(2);

/// How long ago an earlier run last heard a leader; none if there was no run.
pub(super) fn ago(state_dir: &Path) -> Option<Duration> {
    let modified = std::fs::metadata(state_dir.join(FILE)).and_then(|meta| meta.modified());
    let ago = SystemTime::now().duration_since(modified.ok()?);
    // A clock that was set back.
    Some(ago.unwrap_or_default())
}

/// Sets it for as long as a leader is heard.
pub(super) async fn keep(hub: Arc<Hub>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut file = None;
    loop {
        tick.tick().await;
        let applied = hub.registry().applied();
        if !applied.heard || applied.age > EVERY {
            continue;
        }
        if let Err(why) = set(&mut file, &hub.config().state_dir) {
            tracing::debug!(%why, "the time at which a leader was heard is not kept");
            file = None;
        }
    }
}

fn set(file: &mut Option<File>, state_dir: &Path) -> io::Result<()> {
    if file.is_none() {
        let mut options = OpenOptions::new();
        let opened = options.create(true).truncate(false).write(true);
        *file = Some(opened.open(state_dir.join(FILE))?);
    }
    match file {
        Some(file) => file.set_modified(SystemTime::now()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_outlives_the_run() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ago(folder.path()), None);
        let mut file = None;
        set(&mut file, folder.path()).unwrap();
        assert!(ago(folder.path()).unwrap() < Duration::from_secs(60));
        let hour = Duration::from_secs(3600);
        let opened = file.as_ref().unwrap();
        opened.set_modified(SystemTime::now() - hour).unwrap();
        assert!(ago(folder.path()).unwrap() >= hour);
        opened.set_modified(SystemTime::now() + hour).unwrap();
        assert_eq!(ago(folder.path()), Some(Duration::ZERO));
    }
}
