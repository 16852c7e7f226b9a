//! The one door through which the state changes: an entry in, its outcome and
//! the events out.
//!
//! Deterministic and total: it reads nothing but its arguments, and whatever an
//! entry holds, the answer is an outcome. Every handler checks first and changes
//! after, so that a refused entry leaves no trace in any record.

use super::Federation;
use super::author::Cause;
use crate::{Command, Entry, Event, Index, Outcome, Refusal};

/// What came of applying an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Where it took effect, or why it did not. A retried request gets its first outcome.
    pub outcome: Outcome,
    /// What changed, for watchers; none for a refused or retried entry.
    pub events: Vec<Event>,
}

impl Applied {
    fn refused(refusal: Refusal) -> Self {
        Self {
            outcome: Err(refusal),
            events: Vec::new(),
        }
    }
}

impl Federation {
    /// Applies the entry at `index`.
    ///
    /// The caller judges the signature (`entry.authentic`) against this very
    /// state, before the call: an entry may change the key of the next one's author.
    pub fn apply(&mut self, index: Index, entry: &Entry) -> Applied {
        self.applied = index;
        if let Some(first) = self.requests.outcome(&entry.request) {
            return Applied {
                outcome: first.clone(),
                events: Vec::new(),
            };
        }
        let cause = match self.admit(index, entry) {
            Ok(cause) => cause,
            // Not remembered: whoever sent it may not occupy the request's id.
            Err(refusal) => return Applied::refused(refusal),
        };
        let done = self.execute(&cause, &entry.command);
        if let Err(refusal @ Refusal::StaleGeneration { .. }) = done {
            // Not remembered either: replays must not push out what is.
            return Applied::refused(refusal);
        }
        self.time = entry.time;
        self.note_order(&cause);
        let (outcome, events) = match done {
            Ok(events) => (Ok(index), events),
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        self.requests.remember(entry.request, outcome.clone());
        Applied { outcome, events }
    }

    fn execute(&mut self, cause: &Cause<'_>, command: &Command) -> Result<Vec<Event>, Refusal> {
        let needs = command.level();
        // No leader takes such a record into the log; it is judged here all the same.
        if !self.allows(needs) {
            let has = self.format;
            return Err(Refusal::Format { needs, has });
        }
        match command {
            Command::Found(founding) => self.found(cause, founding),
            Command::PutCluster(name, spec) => self.put_cluster(cause, name, spec),
            Command::RemoveCluster(name) => self.remove_cluster(cause, name),
            Command::GrantToken(grant) => self.grant_token(cause, grant),
            Command::RevokeToken(id) => self.revoke_token(cause, *id),
            Command::RedeemToken(redemption) => self.redeem_token(cause, redemption),
            Command::PutGateway(gateway) => self.put_gateway(cause, gateway),
            Command::RemoveGateway(node) => self.remove_gateway(cause, *node),
            Command::RecordSigner(signer) => self.record_signer(cause, signer),
            Command::PutBundle(cluster, bundle) => self.put_bundle(cause, cluster, bundle),
            Command::PutExport(cluster, key, spec) => self.put_export(cause, cluster, key, spec),
            Command::DeleteExport(cluster, key) => self.delete_export(cause, cluster, key),
            Command::PutWorkloadEntry(cluster, namespace, name, spec) => {
                self.put_entry(cause, (cluster, namespace, name), spec)
            }
            Command::DeleteWorkloadEntry(cluster, namespace, name) => {
                self.delete_entry(cause, (cluster, namespace, name))
            }
            Command::PutRoleBinding(name, spec) => self.put_binding(cause, name, spec),
            Command::DeleteRoleBinding(name) => self.delete_binding(cause, name),
            Command::PutRoute(namespace, name, spec) => {
                self.put_route(cause, (namespace, name), spec)
            }
            Command::DeleteRoute(namespace, name) => self.delete_route(cause, (namespace, name)),
            Command::PutTrafficPolicy(namespace, name, spec) => {
                self.put_policy(cause, (namespace, name), spec)
            }
            Command::DeleteTrafficPolicy(namespace, name) => {
                self.delete_policy(cause, (namespace, name))
            }
            Command::PutRelease(key, spec) => self.put_release(cause, key, spec),
            Command::AdvanceRelease(key, advance) => self.advance_release(cause, key, *advance),
            Command::PauseRelease(key) => self.pause_release(cause, key),
            Command::ResumeRelease(key, lifts) => self.resume_release(cause, key, lifts),
            Command::EndRelease(key, end) => self.end_release(cause, key, end),
            Command::DeleteRelease(key) => self.delete_release(cause, key),
            Command::LapseLease(cluster) => self.lapse_lease(cause, cluster),
            Command::ReturnLease(cluster) => self.return_lease(cause, cluster),
            Command::RaiseFormat(level) => self.raise_format(cause, *level),
        }
    }
}
