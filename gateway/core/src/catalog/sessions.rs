//! The sessions of this cluster's sidecars with this gateway, and what the
//! gateway attests on their word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weft_model::{Endpoint, EndpointId, ServiceKey, SpiffeId};

use super::AdmissionError;
use crate::Moment;

/// An endpoint count above which a session is refused more.
const ENDPOINTS_PER_SESSION: usize = 1024;

/// A session: random at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

/// What this gateway says about an endpoint of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It attests this word of its owner.
    Attest(Arc<Endpoint>),
    /// It attests it no longer: its session has been silent too long.
    Retract(ServiceKey, EndpointId),
    /// Its owner ended it, with this count.
    Withdraw(ServiceKey, EndpointId, u64),
}

/// Why a sidecar's word was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The session is not open.
    #[error("the session is not open")]
    NoSession,
    /// The identity may not serve the service, or something else in the record is not its to say.
    #[error(transparent)]
    Admission(#[from] Box<AdmissionError>),
    /// The id belongs to another identity's endpoint.
    #[error("endpoint {0} belongs to another identity")]
    Foreign(EndpointId),
    /// An endpoint keeps its service for life; another service is another endpoint.
    #[error("endpoint {0} was registered for another service")]
    ServiceChanged(EndpointId),
    /// The session has registered too many endpoints.
    #[error("a session may register at most {ENDPOINTS_PER_SESSION} endpoints")]
    TooMany,
}

/// All sessions of one gateway.
#[derive(Debug, Clone)]
pub struct Sessions {
    grace: Duration,
    sessions: BTreeMap<SessionId, Session>,
    owned: BTreeMap<EndpointId, Owned>,
}

#[derive(Debug, Clone)]
struct Session {
    identity: SpiffeId,
    heard: Moment,
    stream: Stream,
    endpoints: BTreeSet<EndpointId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Open,
    Closed,
}

#[derive(Debug, Clone)]
struct Owned {
    endpoint: Arc<Endpoint>,
    session: SessionId,
    attested: bool,
}

impl Sessions {
    /// No sessions. One that is silent for `grace` counts as lost.
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            sessions: BTreeMap::new(),
            owned: BTreeMap::new(),
        }
    }

    /// A sidecar that proved to be `identity` opened a session.
    pub fn open(&mut self, id: SessionId, identity: SpiffeId, now: Moment) {
        let session = Session {
            identity,
            heard: now,
            stream: Stream::Open,
            endpoints: BTreeSet::new(),
        };
        self.sessions.insert(id, session);
    }

    /// Who the session's sidecar is.
    pub fn identity(&self, id: SessionId) -> Option<&SpiffeId> {
        self.sessions.get(&id).map(|session| &session.identity)
    }

    /// An endpoint that a session registered here.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.owned.get(&id).map(|owned| &owned.endpoint)
    }

    /// Whether the endpoint is the word of this session.
    pub fn holds(&self, id: SessionId, endpoint: EndpointId) -> bool {
        let session = self.sessions.get(&id);
        session.is_some_and(|session| session.endpoints.contains(&endpoint))
    }

    /// Open sessions.
    pub fn count(&self) -> usize {
        let open = |s: &&Session| s.stream == Stream::Open;
        self.sessions.values().filter(open).count()
    }

    /// Who has an open session, with how many endpoints.
    pub fn list(&self) -> impl Iterator<Item = (&SpiffeId, usize)> {
        let open = self.sessions.values().filter(|s| s.stream == Stream::Open);
        open.map(|session| (&session.identity, session.endpoints.len()))
    }

    /// Its stream ended. That is no withdrawal: the sidecar may come back
    /// within the grace that runs since it was last heard.
    pub fn closed(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.stream = Stream::Closed;
        }
    }

    /// The session was heard. What was given up with it is attested again.
    pub fn heard(&mut self, id: SessionId, now: Moment) -> Vec<Said> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Vec::new();
        };
        session.heard = now;
        let mut said = Vec::new();
        for endpoint in &session.endpoints {
            if let Some(owned) = self.owned.get_mut(endpoint)
                && !std::mem::replace(&mut owned.attested, true)
            {
                said.push(Said::Attest(Arc::clone(&owned.endpoint)));
            }
        }
        said
    }

    /// The sidecar registers or changes an endpoint; the caller has judged
    /// whether it may ([`super::admit`]). An older word changes nothing.
    pub fn put(
        &mut self,
        id: SessionId,
        endpoint: Endpoint,
        now: Moment,
    ) -> Result<Vec<Said>, PutError> {
        let mut said = self.heard(id, now);
        let session = self.sessions.get(&id).ok_or(PutError::NoSession)?;
        if let Some(owned) = self.owned.get(&endpoint.id) {
            let before = self.sessions.get(&owned.session);
            if before.is_some_and(|b| b.identity != session.identity) {
                return Err(PutError::Foreign(endpoint.id));
            }
            if owned.endpoint.service != endpoint.service {
                return Err(PutError::ServiceChanged(endpoint.id));
            }
            let known = owned.endpoint.sequence >= endpoint.sequence;
            if known && owned.session == id || owned.endpoint.sequence > endpoint.sequence {
                return Ok(said);
            }
        } else if session.endpoints.len() >= ENDPOINTS_PER_SESSION {
            return Err(PutError::TooMany);
        }
        said.push(self.take(id, endpoint));
        Ok(said)
    }

    /// The sidecar ends an endpoint; the caller has judged that it is its own.
    pub fn withdraw(
        &mut self,
        id: SessionId,
        service: ServiceKey,
        endpoint: EndpointId,
        sequence: u64,
        now: Moment,
    ) -> Vec<Said> {
        let mut said = self.heard(id, now);
        let newer = |owned: &Owned| owned.endpoint.sequence > sequence;
        if self.owned.get(&endpoint).is_some_and(newer) {
            return said;
        }
        if let Some(owned) = self.owned.remove(&endpoint)
            && let Some(session) = self.sessions.get_mut(&owned.session)
        {
            session.endpoints.remove(&endpoint);
        }
        said.push(Said::Withdraw(service, endpoint, sequence));
        said
    }

    /// Gives up on sessions that have been silent for the grace.
    pub fn poll(&mut self, now: Moment) -> Vec<Said> {
        let mut said = Vec::new();
        let mut over = Vec::new();
        for (id, session) in &self.sessions {
            if session.heard.after(self.grace) > now {
                continue;
            }
            for endpoint in &session.endpoints {
                if let Some(owned) = self.owned.get_mut(endpoint)
                    && std::mem::replace(&mut owned.attested, false)
                {
                    let service = owned.endpoint.service.clone();
                    said.push(Said::Retract(service, *endpoint));
                }
            }
            if session.stream == Stream::Closed {
                over.push(*id);
            }
        }
        for id in over {
            for endpoint in self
                .sessions
                .remove(&id)
                .into_iter()
                .flat_map(|s| s.endpoints)
            {
                self.owned.remove(&endpoint);
            }
        }
        said
    }

    /// When [`Sessions::poll`] has something to do next, if nobody is heard before.
    pub fn deadline(&self) -> Option<Moment> {
        let waiting = |session: &&Session| {
            let attested = |id| self.owned.get(id).is_some_and(|owned| owned.attested);
            session.stream == Stream::Closed || session.endpoints.iter().any(attested)
        };
        let sessions = self.sessions.values().filter(waiting);
        sessions
            .map(|session| session.heard.after(self.grace))
            .min()
    }

    fn take(&mut self, session: SessionId, endpoint: Endpoint) -> Said {
        let id = endpoint.id;
        let endpoint = Arc::new(endpoint);
        let owned = Owned {
            endpoint: Arc::clone(&endpoint),
            session,
            attested: true,
        };
        if let Some(before) = self.owned.insert(id, owned)
            && before.session != session
            && let Some(previous) = self.sessions.get_mut(&before.session)
        {
            previous.endpoints.remove(&id);
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            session.endpoints.insert(id);
        }
        Said::Attest(endpoint)
    }
}
