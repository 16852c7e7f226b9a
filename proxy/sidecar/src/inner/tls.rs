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

/// What an inner connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    /// HTTP/2 between sidecars.
    H2,
    /// One opaque connection.
    Tcp,
}

impl Protocol {
    const ALL: [Self; 2] = [Self::H2, Self::Tcp];

    /// Its ALPN token (RFC 7301).
    fn token(self) -> &'static [u8] {
        match self {
            Self::H2 => b"weft-h2",
            Self::Tcp => b"weft-tcp",
        }
    }

    /// The protocol that the handshake chose.
    pub(crate) fn of(token: Option<&[u8]>) -> Option<Self> {
        Self::ALL.into_iter().find(|p| Some(p.token()) == token)
    }
}

type ByPeer = HashMap<(SpiffeId, Protocol), Arc<ClientConfig>>;

/// An inner connection as its client has it.
pub(crate) type InnerStream = client::TlsStream<BoxStream>;

/// What this process proves, and whom it trusts.
pub(crate) struct Identities {
    own: SpiffeId,
    svid: SvidSource,
    bundles: BundleSource,
    // Building a configuration costs more than a lookup; sources inside are hot-swapped.
    clients: RefCell<ByPeer>,
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
            &Protocol::ALL.map(Protocol::token),
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
        protocol: Protocol,
    ) -> Result<InnerStream, Reason> {
        let config = self.client(peer, protocol);
        let tls = TlsConnector::from(config)
            .connect(server_name(), stream)
            .await
            .map_err(|error| {
                let reason = handshake_reason(&error);
                tracing::debug!(%peer, %error, reason = reason.label(), "inner handshake failed");
                reason
            })?;
        if Protocol::of(tls.get_ref().1.alpn_protocol()) != Some(protocol) {
            return Err(Reason::UpstreamProtocol);
        }
        Ok(tls)
    }

    fn client(&self, peer: &SpiffeId, protocol: Protocol) -> Arc<ClientConfig> {
        let mut clients = self.clients.borrow_mut();
        let key = (peer.clone(), protocol);
        if let Some(config) = clients.get(&key) {
            return Arc::clone(config);
        }
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        let rule = PeerRule::Exactly([peer.clone()].into());
        let config = client_config(&self.svid, &self.bundles, rule, &[protocol.token()]);
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
