//! Trust for those who have no bundle yet: the hash of one, carried in a token.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use weft_model::SpiffeId;

use crate::bundle::{Bundle, Bundles, bundle_hash};
use crate::leaf::{Leaf, parse};
use crate::refusal::{Refusal, to_rustls};
use crate::signatures::tls13_signatures;
use crate::tls::{harden, provider};
use crate::verify::{Direction, PeerRule, verify_chain};

/// For joining and enrolling: no identity of our own; the server must be a gateway whose
/// chain ends in the CA bundle with this [`bundle_hash`], which it presents after its leaf.
pub fn client_config_pinned(hash: [u8; 32], alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3 suites")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedVerifier { hash }))
        .with_no_client_auth();
    Arc::new(harden(config, alpn))
}

#[derive(Debug)]
struct PinnedVerifier {
    hash: [u8; 32],
}

impl PinnedVerifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<SpiffeId, Refusal> {
        let domain = Leaf::check(leaf)?.id.trust_domain;
        let roots: Vec<&CertificateDer<'_>> =
            rest.iter().filter(|der| is_self_issued(der)).collect();
        if bundle_hash(roots.iter().copied()) != self.hash {
            return Err(Refusal::Pin);
        }
        let roots = roots.into_iter().map(|der| der.clone().into_owned());
        let bundle = Bundle::new(domain, roots).map_err(|_| Refusal::Pin)?;
        let bundles: Bundles = [bundle].into_iter().collect();
        let id = verify_chain(&bundles, leaf, rest, Direction::Server, now)?;
        if !PeerRule::Gateway.admits(&id) {
            return Err(Refusal::NotAdmitted(id));
        }
        Ok(id)
    }
}

fn is_self_issued(der: &CertificateDer<'_>) -> bool {
    parse(der).is_ok_and(|certificate| certificate.subject() == certificate.issuer())
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(leaf, rest, now)
            .map(|_| ServerCertVerified::assertion())
            .map_err(to_rustls)
    }

    tls13_signatures!();
}
