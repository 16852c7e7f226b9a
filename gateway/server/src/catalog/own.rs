//! The gateway's own session with its catalog, for servers that it fronts itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use weft_model::{Endpoint, EndpointId, SpiffeId};
use weft_plan::catalog::{PutError, SessionId};

use super::handle::CatalogHandle;

/// As sidecars do: three of them fit into a session's grace.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Registers endpoints under the gateway's identity, for as long as it lives.
pub struct OwnSession {
    handle: CatalogHandle,
    session: SessionId,
    _heartbeat: AbortOnDropHandle<()>,
}

impl CatalogHandle {
    /// Opens the session of the gateway that proves to be `identity`. Call it inside a runtime.
    pub fn own_session(&self, identity: SpiffeId) -> OwnSession {
        let session = SessionId(rand::random());
        let now = self.now();
        self.inner
            .state()
            .catalog
            .open_session(session, identity, now);
        let handle = self.clone();
        let heartbeat = tokio::spawn(async move {
            let mut tick = interval(HEARTBEAT);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let now = handle.now();
                handle.inner.state().catalog.heard(session, now);
            }
        });
        OwnSession {
            handle: self.clone(),
            session,
            _heartbeat: AbortOnDropHandle::new(heartbeat),
        }
    }
}

impl OwnSession {
    /// Registers or changes an endpoint.
    ///
    /// # Errors
    /// It is not admitted, by what the catalog knows of the federation.
    pub fn put(&self, endpoint: Endpoint) -> Result<(), Box<PutError>> {
        let now = self.handle.now();
        let mut state = self.handle.inner.state();
        let federation = Arc::clone(&state.federation);
        state
            .catalog
            .put(self.session, endpoint, &federation, now)?;
        drop(state);
        self.handle.inner.nudge();
        Ok(())
    }

    /// Ends an endpoint.
    ///
    /// # Errors
    /// It is somebody else's.
    pub fn withdraw(&self, id: EndpointId, sequence: u64) -> Result<(), Box<PutError>> {
        let now = self.handle.now();
        let mut state = self.handle.inner.state();
        state.catalog.withdraw(self.session, id, sequence, now)?;
        drop(state);
        self.handle.inner.nudge();
        Ok(())
    }
}

impl Drop for OwnSession {
    fn drop(&mut self) {
        self.handle
            .inner
            .state()
            .catalog
            .close_session(self.session);
    }
}
