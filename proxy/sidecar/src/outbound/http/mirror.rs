//! Copies of requests, sent and forgotten.
//!
//! Never on the way of the request itself: a copy is made of its head, sent by a task of its own,
//! and dropped rather than waited for when many are under way.

use std::rc::Rc;
use std::time::Duration;

use http::Request;

use super::send::outcome;
use crate::http::Body;
use crate::outbound::flight::Flight;
use crate::outbound::{Chosen, Shared};

/// Copies of one worker under way at once; more are not sent.
pub(super) const MIRRORS_MAX: u32 = 64;
/// An answer nobody waits for is waited for this long.
const PATIENCE: Duration = Duration::from_secs(10);

impl Shared {
    /// Sends a copy of a request without a body to `chosen`, if there is room.
    pub(super) fn mirror(self: &Rc<Self>, chosen: Chosen, copy: Request<()>) {
        let Ok(permit) = self.mirrors.enter(Some(MIRRORS_MAX)) else {
            return self.recorder.mirror_dropped();
        };
        let shared = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if tokio::time::timeout(PATIENCE, shared.send_copy(chosen, copy))
                .await
                .is_err()
            {
                shared.recorder.mirror_dropped();
            }
            drop(permit);
        });
    }

    async fn send_copy(self: &Rc<Self>, chosen: Chosen, copy: Request<()>) {
        let Ok(view) = self.pick(&chosen, &[]) else {
            return self.recorder.mirror_dropped();
        };
        let mut flight = Flight::start(self, &chosen, view);
        let Ok(lease) = self.pool.lease(&flight.view, chosen.port, None).await else {
            return self.recorder.mirror_dropped();
        };
        let mut request = copy.map(|()| Body::empty());
        lease.target.write_to(request.headers_mut());
        let mut send = lease.send;
        // Nobody waits for what it says on the way.
        if let Ok(answer) = send.send(request, |_| Ok(())).await {
            flight.answered();
            flight.end(outcome(answer.status(), None));
            self.recorder.mirrored();
        }
        drop(lease.place);
    }
}
