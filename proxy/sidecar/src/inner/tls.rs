//! Inner TLS configurations, one per identity wanted and protocol.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsConnector, client};
use weft_decide::Reason;
use weft_identity::{
    BundleSource, ClientAuth, PeerRule, SvidSource, client_config, server_config, server_name,
};
use weft_model::SpiffeId;

use crate::stream::BoxStream;

/// HTTP/2 between sidecars.
pub(crate) const ALPN_H2: &[u8] = b"weft-h2";
/// One opaque connection.
pub(crate) const ALPN_TCP: &[u8] = b"weft-tcp";

/// An inner connection as its client has it.
pub(crate) type InnerStream = client::TlsStream<BoxStream>;

/// What this process proves, and whom it trusts.
pub(crate) struct Identities {
    own: SpiffeId,
    svid: SvidSource,
    bundles: BundleSource,
    // Building a configuration costs more than a lookup; sources inside are hot-swapped.
    clients: RefCell<HashMap<(SpiffeId, &'static [u8]), Arc<ClientConfig>>>,
}

/// Peers remembered: more than any one worker talks to at a time in practice.
const CLIENTS_MAX: usize = 4096;

impl Identities {
    pub(crate) fn new(svid: SvidSource, bundles: BundleSource) -> Self {
        Self {
            own: svid.current().id().clone(),
            svid,
            bundles,
            clients: RefCell::default(),
        }
    }

    /// The inbound side: any workload or gateway of a known trust domain.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let rule = PeerRule::AnyOf(vec![PeerRule::AnyWorkload, PeerRule::Gateway]);
        server_config(
            &self.svid,
            &self.bundles,
            ClientAuth::Required(rule),
            &[ALPN_H2, ALPN_TCP],
        )
    }

    /// Who this process is: renewals change the certificate, never the id.
    pub(crate) fn own_id(&self) -> &SpiffeId {
        &self.own
    }

    /// Does the handshake over `stream`: the peer must prove to be `peer`.
    pub(crate) async fn connect(
        &self,
        stream: BoxStream,
        peer: &SpiffeId,
        alpn: &'static [u8],
    ) -> Result<InnerStream, Reason> {
        let config = self.client(peer, alpn);
        let tls = TlsConnector::from(config)
            .connect(server_name(), stream)
            .await
            .map_err(|error| {
                let reason = handshake_reason(&error);
                tracing::debug!(%peer, %error, reason = reason.label(), "inner handshake failed");
                reason
            })?;
        if tls.get_ref().1.alpn_protocol() != Some(alpn) {
            return Err(Reason::UpstreamProtocol);
        }
        Ok(tls)
    }

    fn client(&self, peer: &SpiffeId, alpn: &'static [u8]) -> Arc<ClientConfig> {
        let mut clients = self.clients.borrow_mut();
        let key = (peer.clone(), alpn);
        if let Some(config) = clients.get(&key) {
            return Arc::clone(config);
        }
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        let rule = PeerRule::Exactly([peer.clone()].into());
        let config = client_config(&self.svid, &self.bundles, rule, &[alpn]);
        clients.insert(key, Arc::clone(&config));
        config
    }
}

fn handshake_reason(error: &io::Error) -> Reason {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Reason::IdentityMismatch
        }
        Some(rustls::Error::NoApplicationProtocol) => Reason::UpstreamProtocol,
        _ => Reason::ConnectFailed,
    }
}
