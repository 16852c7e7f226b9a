//! Comparing with the other replicas, and keeping apart from them if this one differs.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use weft_model::{GatewayRole, Index, NodeId};

use super::{Event, Task};
use crate::agreement::Agreement;
use crate::driver::Input;
use crate::node::agreement::{self, State};
use crate::node::call;
use crate::node::transport::Transport;

impl<T: Transport> Task<T> {
    /// The states that can be compared: the newest, and some that others may have too.
    fn comparable(&self) -> Vec<State> {
        let image = self.driver.image();
        let newest = (image.index, Arc::new(image.state.clone()));
        self.driver.checkpoints().chain([newest]).collect()
    }

    /// Asks the others, beside everything else.
    pub(super) fn compare(&mut self) {
        let status = self.driver.status();
        let replicas = status.voters.into_iter().chain(status.learners);
        let me = self.shared.folder.node;
        let state = &self.driver.image().state;
        let follows = |node: &NodeId| {
            let record = state.node(*node);
            record.is_some_and(|it| it.gateway.role == GatewayRole::Follower)
        };
        // Followers come and go, and what they hold they have from the others. Clusters without a say
        // in the log could say anything: both are compared, and counted by nobody.
        let replicas: Vec<NodeId> = replicas.filter(|node| !follows(node)).collect();
        let trusted = replicas.iter().copied();
        let trusted = trusted.filter(|node| state.may_vote(*node)).collect();
        let peers = replicas.into_iter().filter(|node| *node != me).collect();
        let (states, known) = (self.comparable(), self.comparison.known().clone());
        let jumps = self.comparison.jumps();
        let (transport, events) = (self.transport.clone(), self.events.clone());
        tokio::spawn(async move {
            let own = agreement::digests(states, known).await;
            let compare = agreement::compare(transport, me, peers, trusted, &own);
            let (agreement, fenced) = compare.await;
            let compared = Event::Compared {
                jumps,
                own,
                agreement,
                fenced,
            };
            let _ = events.send(compared).await;
        });
    }

    pub(super) fn answer_digests(&self, at: &[Index], reply: oneshot::Sender<Bytes>) {
        let mut known = self.comparison.known().clone();
        known.retain(|index, _| at.contains(index));
        let mut states = self.comparable();
        states.retain(|(index, _)| at.contains(index));
        let fenced = self.driver.fenced().is_some();
        tokio::spawn(async move {
            let digests = agreement::digests(states, known).await;
            let _ = reply.send(call::digests_answer(&digests, fenced));
        });
    }

    pub(super) fn note_compared(&mut self, agreement: Agreement) {
        if self.driver.fenced().is_none() {
            match &agreement {
                Agreement::Broken { index, majority } => {
                    self.driver.handle(Input::Fence { at: *index });
                    if self.driver.fenced().is_some() {
                        tracing::error!(
                            code = "WEFT-6035", %index, ?majority,
                            "this replica's state is not the others': it is fenced, and takes no part in the registry"
                        );
                    }
                }
                Agreement::Split { index, others } => {
                    tracing::error!(code = "WEFT-6036", %index, ?others, "replicas differ, and none is of a majority");
                }
                Agreement::Holds { index, others } if !others.is_empty() => {
                    tracing::error!(code = "WEFT-6035", %index, ?others, "other replicas differ from the majority");
                }
                Agreement::Holds { .. } | Agreement::Unknown => {}
            }
        }
        self.comparison.last = Some(agreement);
        self.publish_status();
    }

    /// Whether there is anything to repair.
    pub(super) fn begin_repair(&mut self) -> bool {
        let fenced = self.driver.fenced().is_some();
        if fenced {
            tracing::warn!("asking the leader for its state, in place of this one");
            self.driver.handle(Input::Repair);
            self.publish_status();
        }
        fenced
    }

    /// A leader's state has taken the place of this one, which was fenced or not.
    pub(super) fn note_installed(&mut self, was_fenced: bool) {
        self.comparison.forget();
        if was_fenced {
            tracing::info!("the leader's state is in place: this replica takes part again");
        }
    }
}
