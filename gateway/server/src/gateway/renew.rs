//! The gateway's own identity, renewed at half its life.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tonic::Status;
use tonic::transport::Channel;
use weft_identity::{PeerRule, Svid, client_config, new_csr};
use weft_model::{HostPort, code};
use weft_proto::identity::RenewRequest;
use weft_proto::identity::renewal_client::RenewalClient;
use weft_proxy::rpc::{self, ALPN_GRPC, DialError};

use crate::api::refusal;
use crate::hub::Hub;

/// How soon a failed renewal is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// No renewal is tried sooner after the one before, whatever the lifetimes.
const PAUSE: Duration = Duration::from_secs(1);
/// How long another gateway may take over it.
const STEP: Duration = Duration::from_secs(5);

/// Renews for as long as the gateway runs. Connections that exist go on.
pub(super) async fn renew(hub: Arc<Hub>) {
    let mut kept = true;
    loop {
        let svid = hub.svid().current();
        let due = svid.renew_at(hub.node().0).since(hub.now());
        if !kept && due > RETRY {
            // The disk did not take it. Only a restart would need it there.
            tokio::time::sleep(RETRY).await;
            kept = hub.keep_svid(&svid).is_ok();
            continue;
        }
        tokio::time::sleep(due.max(PAUSE)).await;
        match next(&hub).await {
            Ok(svid) => {
                let outcome = hub.keep_svid(&svid);
                hub.svid().replace(svid);
                kept = outcome.is_ok();
                tracing::info!(until = hub.svid().expires().0, "identity renewed");
                if let Err(error) = outcome {
                    tracing::error!(%error, "the renewed identity is not kept on disk; trying again");
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = error.message(),
                    until = hub.svid().expires().0,
                    "identity not renewed"
                );
                tokio::time::sleep(RETRY.min(svid.left(hub.now()) / 4).max(PAUSE)).await;
            }
        }
    }
}

/// Signed by our own CA if we hold it, otherwise by the gateway of our cluster that does.
async fn next(hub: &Hub) -> Result<Svid, Status> {
    let (key, csr) = new_csr();
    let current = hub.svid().current();
    let chain = if hub.holds_authority() {
        hub.issue(&csr, current.id())?
    } else {
        from_sibling(hub, csr).await?
    };
    let chain = chain
        .iter()
        .map(|der| rustls_pki_types::CertificateDer::from(der.to_vec()))
        .collect();
    Svid::from_der(chain, key).map_err(|error| refusal(code::NOT_AN_SVID, error.to_string()))
}

async fn from_sibling(hub: &Hub, csr: Vec<u8>) -> Result<Vec<bytes::Bytes>, Status> {
    let state = hub.registry().state();
    let siblings = state
        .nodes()
        .filter(|(id, node)| *id != hub.node() && node.cluster == *hub.cluster());
    let rule = PeerRule::GatewayOf(hub.trust_domain().clone());
    let tls = client_config(hub.svid(), hub.bundles(), rule, &[ALPN_GRPC]);
    let mut last = refusal(
        code::NOT_ISSUER,
        "no other gateway of this cluster is known",
    );
    for host in siblings.filter_map(|(_, node)| node.gateway.api.as_ref()) {
        let channel = match dial(host, &tls).await {
            Ok(channel) => channel,
            Err(error) => {
                last = refusal(code::UNREACHABLE, error.to_string());
                continue;
            }
        };
        let request = RenewRequest {
            csr: csr.clone().into(),
        };
        match RenewalClient::new(channel).renew(request).await {
            Ok(answer) => return Ok(answer.into_inner().chain),
            Err(status) => last = status,
        }
    }
    Err(last)
}

/// The first of the host's addresses that answers.
async fn dial(host: &HostPort, tls: &Arc<ClientConfig>) -> Result<Channel, DialError> {
    let mut addresses = rpc::resolve(host.as_str()).await?.into_iter();
    let first = addresses.next().expect("resolve returns one at least");
    let mut outcome = rpc::dial(first, Arc::clone(tls), STEP).await;
    for address in addresses {
        if outcome.is_ok() {
            break;
        }
        outcome = rpc::dial(address, Arc::clone(tls), STEP).await;
    }
    outcome
}
