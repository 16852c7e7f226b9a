//! Mutual TLS for QUIC: what a tunnel presents and whom it believes.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, ServerConfig, TransportConfig};
use rustls_pki_types::CertificateDer;
use weft_identity::{
    BundleSource, ClientAuth, PeerRule, SvidSource, client_config, peer_id, server_config,
};
use weft_model::{SpiffeId, TrustDomain};

/// Why TLS could not be set up for QUIC.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// QUIC's first packets need TLS_AES_128_GCM_SHA256.
    #[error("the configuration lacks the cipher suite of QUIC's first packets")]
    Suite(#[from] NoInitialCipherSuite),
}

/// The sources of every handshake, and the transport that it opens.
pub(super) struct Tls {
    svid: SvidSource,
    bundles: BundleSource,
    transport: Arc<TransportConfig>,
}

impl Tls {
    pub(super) fn new(
        svid: SvidSource,
        bundles: BundleSource,
        transport: Arc<TransportConfig>,
    ) -> Self {
        Self {
            svid,
            bundles,
            transport,
        }
    }

    /// The listening side: any gateway whose trust domain has a bundle may
    /// finish the handshake; which node it is, the hello and the peer table tell.
    pub(super) fn server(&self) -> Result<ServerConfig, TlsError> {
        let clients = ClientAuth::Required(PeerRule::Gateway);
        let tls = server_config(&self.svid, &self.bundles, clients, ALPN);
        let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
        config.transport_config(Arc::clone(&self.transport));
        Ok(config)
    }

    /// The dialling side: nobody but `peer` is believed.
    pub(super) fn client(&self, peer: &SpiffeId) -> Result<ClientConfig, TlsError> {
        let rule = PeerRule::Exactly([peer.clone()].into());
        let tls = client_config(&self.svid, &self.bundles, rule, ALPN);
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(Arc::clone(&self.transport));
        Ok(config)
    }

    /// The trust domain of this gateway's cluster.
    pub(super) fn own_domain(&self) -> TrustDomain {
        self.svid.current().id().trust_domain.clone()
    }

    /// Whether there is a bundle for `domain`, now; an empty one trusts nobody.
    pub(super) fn trusts(&self, domain: &TrustDomain) -> bool {
        let bundles = self.bundles.current();
        let bundle = bundles.of(domain);
        bundle.is_some_and(|bundle| bundle.certificates().len() > 0)
    }
}

/// The identity that the peer's certificate shows; its chain has been verified.
pub(super) fn peer_of(connection: &Connection) -> Option<SpiffeId> {
    let chain = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    peer_id(&chain).ok()
}

/// What every server is called: QUIC wants a name, but none is sent.
pub(super) const SERVER_NAME: &str = "weft.invalid";

const ALPN: &[&[u8]] = &[b"weft-tunnel/1"];
