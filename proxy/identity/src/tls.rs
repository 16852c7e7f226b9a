//! TLS configurations: TLS 1.3 only, no resumption, no early data, no SNI.

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;

use crate::source::{BundleSource, SvidSource};
use crate::verify::{PeerRule, PeerVerifier};

/// Whether clients must have an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// They must, and the rule must admit it.
    Required(PeerRule),
    /// They may come without one, for enrolment alone; one that is presented must be
    /// admitted. The server then presents its CA bundle too, for clients that hold its hash.
    Optional(PeerRule),
}

/// The cryptography of every configuration here.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// What to call any server: names are not sent and not looked at, identities are.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from("weft.invalid").expect("the constant is a DNS name")
}

/// The server's side: presents `svid`, admits clients by `clients`.
pub fn server_config(
    svid: &SvidSource,
    bundles: &BundleSource,
    clients: ClientAuth,
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    let (verifier, resolver): (_, Arc<dyn ResolvesServerCert>) = match clients {
        ClientAuth::Required(rule) => (
            PeerVerifier::new(bundles.clone(), rule),
            Arc::new(svid.clone()),
        ),
        ClientAuth::Optional(rule) => (
            PeerVerifier::optional(bundles.clone(), rule),
            Arc::new(WithBundle {
                svid: svid.clone(),
                bundles: bundles.clone(),
            }),
        ),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3 suites")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(resolver);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // A resumed session would skip the verifier, so that an evicted peer could come back.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Arc::new(config)
}

/// The client's side: presents `svid`, wants a server that `rule` admits.
pub fn client_config(
    svid: &SvidSource,
    bundles: &BundleSource,
    rule: PeerRule,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3 suites")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PeerVerifier::new(bundles.clone(), rule)))
        .with_client_cert_resolver(Arc::new(svid.clone()));
    Arc::new(harden(config, alpn))
}

pub(crate) fn harden(mut config: ClientConfig, alpn: &[&[u8]]) -> ClientConfig {
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    config
}

/// Presents the current SVID, followed by the CA certificates of its trust domain.
#[derive(Debug)]
struct WithBundle {
    svid: SvidSource,
    bundles: BundleSource,
}

impl ResolvesServerCert for WithBundle {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certified = self.svid.certified();
        let Ok(id) = crate::peer_id(&certified.cert) else {
            return Some(certified);
        };
        let mut chain = certified.cert.clone();
        if let Some(bundle) = self.bundles.current().of(&id.trust_domain) {
            chain.extend(bundle.certificates().cloned());
        }
        Some(Arc::new(CertifiedKey::new(
            chain,
            Arc::clone(&certified.key),
        )))
    }
}
