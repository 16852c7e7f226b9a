//! What the log says of this gateway, kept in step with its configuration.
//!
//! Where peers dial it, where its API answers and which formats it understands are
//! recorded when it becomes a member; a new address in `gateway.yaml` or a newer build
//! counts for the others once its record says so.

use std::sync::Arc;
use std::time::Duration;

use weft_model::{Command, GatewayRecord};
use weft_registry::wire::FORMAT_SUPPORTED;

use crate::config::GatewayConfig;
use crate::hub::Hub;

/// How soon a write that failed is tried again, and an own record that has not
/// arrived here yet is looked for.
const RETRY: Duration = Duration::from_secs(2);

/// Ends once the record is as it should be.
pub(super) async fn announce(hub: Arc<Hub>) {
    loop {
        let state = hub.registry().state();
        if let Some(node) = state.node(hub.node()) {
            let Some(record) = changed(&node.gateway, hub.config()) else {
                return;
            };
            let (tunnel, api) = (record.tunnel.clone(), record.api.clone());
            match hub.write(Command::PutGateway(record), None).await {
                Ok(index) => {
                    tracing::info!(?tunnel, ?api, %index, "peers are told where to find us");
                    return;
                }
                Err(error) => tracing::debug!(error = error.message(), "peers cannot be told"),
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The record that the configuration asks for, if it is not this one.
fn changed(record: &GatewayRecord, config: &GatewayConfig) -> Option<GatewayRecord> {
    let wanted = GatewayRecord {
        tunnel: config.tunnel.advertised(),
        // An API that nobody can be told of stays where it was known to be.
        api: config.api.advertised().or_else(|| record.api.clone()),
        format: FORMAT_SUPPORTED,
        ..record.clone()
    };
    (wanted != *record).then_some(wanted)
}
