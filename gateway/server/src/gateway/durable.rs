//! The newest state that a restart would find again.
//!
//! Names answer by nothing newer: a gateway that is killed and starts with nobody reachable
//! must not deny what it has answered. The disk follows by a tick and a write.

use std::sync::Arc;

use weft_model::{Federation, Index};

/// What is on the disk, and what waits to be.
#[derive(Debug, Default)]
pub(super) struct Durable {
    shown: Option<Arc<Federation>>,
    /// Kept until it is on the disk, whatever is applied meanwhile: else a log that never
    /// rests would be shown never.
    waiting: Option<Arc<Federation>>,
}

impl Durable {
    /// What may be shown, `state` being applied and the log being on the disk up to `written`.
    pub(super) fn of(&mut self, state: &Arc<Federation>, written: Index) -> Arc<Federation> {
        if state.applied() <= written {
            self.shown = Some(Arc::clone(state));
            self.waiting = None;
        } else if let Some(waiting) = &self.waiting {
            if waiting.applied() <= written {
                self.shown = self.waiting.replace(Arc::clone(state));
            }
        } else {
            self.waiting = Some(Arc::clone(state));
        }
        // What a start finds is on the disk.
        let shown = self.shown.get_or_insert_with(|| Arc::clone(state));
        Arc::clone(shown)
    }
}

#[cfg(test)]
mod tests {
    use weft_model::{AppProtocol, ServiceType, fixture};

    use super::*;

    #[test]
    fn a_state_is_shown_once_it_is_on_the_disk_though_the_log_never_rests() {
        let mut log = fixture::Log::founded();
        let spec = fixture::export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
        let mut state = || {
            log.export(1, "shop/web", &spec);
            Arc::new(log.state.clone())
        };
        let mut durable = Durable::default();
        let first = state();
        let before = Index(first.applied().0 - 1);
        assert!(Arc::ptr_eq(&durable.of(&first, before), &first), "a start");
        let (second, third, fourth) = (state(), state(), state());
        let shown = |durable: &mut Durable, state, written: &Arc<Federation>| {
            durable.of(state, written.applied()).applied()
        };
        assert_eq!(shown(&mut durable, &second, &first), first.applied());
        assert_eq!(shown(&mut durable, &third, &first), first.applied());
        assert_eq!(shown(&mut durable, &third, &second), second.applied());
        assert_eq!(shown(&mut durable, &fourth, &third), third.applied());
        assert_eq!(shown(&mut durable, &fourth, &fourth), fourth.applied());
    }
}
