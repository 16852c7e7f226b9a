//! The registry's way through the tunnels: Raft batches, forwarded proposals, and peers' questions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use weft_model::NodeId;
use weft_proto::peer::RaftBatch;
use weft_proto::peer::stream_header::Kind;
use weft_registry::{CallError, Registry, Transport};

use crate::relay::{Admission, Limits};
use crate::tunnel::{IncomingStream, Question, RaftReceiver, Tunnels};

/// Questions that are read or answered at once: no cluster's take the room of the others'.
const QUESTIONS: Limits = Limits {
    total: 4_096,
    per_cluster: 128,
};
/// How long a forwarded proposal or read may take.
const CALL: Duration = Duration::from_secs(5);

/// Sends the registry's messages through the tunnels.
pub(crate) struct TunnelTransport(pub(crate) Tunnels);

impl Transport for TunnelTransport {
    fn send(&self, to: NodeId, batch: RaftBatch) {
        self.0.send_raft(to, batch);
    }

    async fn call(
        &self,
        to: NodeId,
        method: &'static str,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        let deadline = Instant::now() + CALL;
        let answer = self.0.call(to, method, body, deadline).await;
        answer.map_err(|error| CallError::Peer(error.to_string()))
    }
}

/// Answers to questions that are not the registry's.
pub(crate) trait Questions: Send + Sync + 'static {
    /// The answer to `question`, or why there is none.
    fn answer(&self, question: &Question) -> Result<Bytes, String>;
}

/// Takes peers' streams until the tunnels end: Raft and questions are served here, catalog streams
/// are handed on.
pub(crate) async fn serve(
    registry: Registry,
    mut incoming: mpsc::Receiver<IncomingStream>,
    catalog: mpsc::Sender<IncomingStream>,
    questions: Arc<dyn Questions>,
) {
    let asking = Admission::new(QUESTIONS);
    let mut following: HashMap<NodeId, AbortHandle> = HashMap::new();
    while let Some(stream) = incoming.recv().await {
        match &stream.header.kind {
            Some(Kind::Raft(_)) => {
                // A peer has one: a later one takes the place of the one before.
                let node = stream.node;
                let reading = tokio::spawn(raft(registry.clone(), stream)).abort_handle();
                if let Some(before) = following.insert(node, reading) {
                    before.abort();
                }
            }
            Some(Kind::Rpc(_)) => {
                let Some(permit) = asking.admit(&stream.peer.trust_domain) else {
                    // Unread and unanswered: the asker sees its stream end.
                    tracing::debug!(peer = %stream.peer, "asks too much at once");
                    continue;
                };
                let answering = question(registry.clone(), Arc::clone(&questions), stream);
                drop(tokio::spawn(async move {
                    answering.await;
                    drop(permit);
                }));
            }
            // A full queue means that the catalog is behind: the peer opens another stream later.
            Some(Kind::Catalog(_)) => drop(catalog.try_send(stream)),
            Some(Kind::Relay(_) | Kind::Through(_)) | None => {
                tracing::debug!(peer = %stream.peer, "a stream of no kind we take");
            }
        }
    }
}

async fn raft(registry: Registry, stream: IncomingStream) {
    let Some(mut receiver) = RaftReceiver::new(stream) else {
        return;
    };
    loop {
        match receiver.next().await {
            Ok(Some(batch)) => registry.deliver(receiver.node, batch),
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(peer = %receiver.peer, %error, "a Raft stream ended");
                return;
            }
        }
    }
}

async fn question(registry: Registry, questions: Arc<dyn Questions>, stream: IncomingStream) {
    let question = match Question::read(stream).await {
        Ok(Some(question)) => question,
        Ok(None) => return,
        Err(error) => {
            tracing::debug!(%error, "a question could not be read");
            return;
        }
    };
    let answered = if question.method.starts_with("registry.") {
        let answer = registry
            .answer(question.node, &question.method, question.body.clone())
            .await;
        answer.map_err(|error| error.to_string())
    } else {
        questions.answer(&question)
    };
    let sent = match answered {
        Ok(body) => question.answer.send(body).await,
        Err(why) => question.answer.refuse(&why).await,
    };
    if let Err(error) = sent {
        tracing::debug!(peer = %question.peer, %error, "the asker is gone");
    }
}
