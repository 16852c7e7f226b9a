//! The one verifier of peers, for both directions of a handshake.
//!
//! Order matters: the leaf's own rules, then the bundle of the trust domain it
//! names, then the chain against that bundle alone, then whether this peer is
//! wanted here.

use std::collections::BTreeSet;

use rustls::DistinguishedName;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use weft_model::{SpiffeId, SpiffePath, TrustDomain};

use crate::bundle::{Bundle, Bundles, Root, signs};
use crate::leaf::{Leaf, parse};
use crate::refusal::{Refusal, to_rustls};
use crate::signatures::tls13_signatures;
use crate::source::BundleSource;
use crate::tls::provider;

/// Whom a configuration wants to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerRule {
    /// Any gateway of a known trust domain.
    Gateway,
    /// Any gateway of one trust domain.
    GatewayOf(TrustDomain),
    /// Any workload, or a stand-in for one, of one trust domain.
    Workloads {
        /// Whose workloads.
        trust_domain: TrustDomain,
    },
    /// Any workload, or a stand-in for one, of any known trust domain.
    AnyWorkload,
    /// Any operator of a known trust domain.
    User,
    /// These and no other.
    Exactly(BTreeSet<SpiffeId>),
    /// Whoever has an identity of a known trust domain: what they may do is decided per call.
    AnyKnown,
    /// Whoever one of these admits.
    AnyOf(Vec<PeerRule>),
}

impl PeerRule {
    /// Whether `id`, already authenticated, is wanted.
    pub fn admits(&self, id: &SpiffeId) -> bool {
        use SpiffePath::{Gateway, StandIn, User, Workload};
        let workload = matches!(id.path, Workload { .. } | StandIn { .. });
        match self {
            Self::Gateway => matches!(id.path, Gateway(_)),
            Self::GatewayOf(domain) => matches!(id.path, Gateway(_)) && id.trust_domain == *domain,
            Self::Workloads { trust_domain } => workload && id.trust_domain == *trust_domain,
            Self::AnyWorkload => workload,
            Self::User => matches!(id.path, User(_)),
            Self::Exactly(ids) => ids.contains(id),
            Self::AnyKnown => true,
            Self::AnyOf(rules) => rules.iter().any(|rule| rule.admits(id)),
        }
    }
}

/// Which end of the connection the peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer is the client.
    Client,
    /// The peer is the server.
    Server,
}

/// Verifies peers by SVID rules, bundles and a [`PeerRule`].
#[derive(Debug, Clone)]
pub struct PeerVerifier {
    bundles: BundleSource,
    rule: PeerRule,
    mandatory: bool,
}

impl PeerVerifier {
    /// Peers must present an identity that `rule` admits.
    pub fn new(bundles: BundleSource, rule: PeerRule) -> Self {
        Self {
            bundles,
            rule,
            mandatory: true,
        }
    }

    /// As [`Self::new`], but clients may also present none.
    pub fn optional(bundles: BundleSource, rule: PeerRule) -> Self {
        Self {
            mandatory: false,
            ..Self::new(bundles, rule)
        }
    }

    /// Who the peer is, or why it is refused.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        direction: Direction,
        now: UnixTime,
    ) -> Result<SpiffeId, Refusal> {
        let id = verify_chain(&self.bundles.current(), leaf, intermediates, direction, now)?;
        if !self.rule.admits(&id) {
            return Err(Refusal::NotAdmitted(id));
        }
        Ok(id)
    }
}

pub(crate) fn verify_chain(
    bundles: &Bundles,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    direction: Direction,
    now: UnixTime,
) -> Result<SpiffeId, Refusal> {
    let id = Leaf::check(leaf)?.id;
    let domain = &id.trust_domain;
    let bundle = bundles
        .of(domain)
        .ok_or_else(|| Refusal::UnknownTrustDomain(domain.clone()))?;
    let roots = valid_roots(bundle, now)?;
    #[cfg(feature = "bugs")]
    let roots = if weft_model::planted::Bug::PooledBundles.is_planted() {
        let every = bundles
            .iter()
            .filter_map(|bundle| valid_roots(bundle, now).ok());
        every.flatten().collect()
    } else {
        roots
    };
    let anchors: Vec<TrustAnchor<'_>> = roots.iter().map(|root| root.anchor.clone()).collect();
    let usage = match direction {
        Direction::Client => webpki::KeyUsage::client_auth(),
        Direction::Server => webpki::KeyUsage::server_auth(),
    };
    let refuse = |error| Refusal::Chain {
        trust_domain: domain.clone(),
        error,
    };
    let certificate = webpki::EndEntityCert::try_from(leaf).map_err(refuse)?;
    let path = certificate
        .verify_for_usage(
            provider().signature_verification_algorithms.all,
            &anchors,
            intermediates,
            now,
            usage,
            None,
            None,
        )
        .map_err(refuse)?;
    check_path(&path, &roots)?;
    Ok(id)
}

/// rustls-webpki takes name and key from an anchor and nothing else: its validity is ours to check.
fn valid_roots(bundle: &Bundle, now: UnixTime) -> Result<Vec<&Root>, Refusal> {
    let domain = bundle.trust_domain();
    if bundle.roots().is_empty() {
        return Err(Refusal::EmptyBundle(domain.clone()));
    }
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let valid: Vec<&Root> = bundle
        .roots()
        .iter()
        .filter(|root| (root.not_before..=root.not_after).contains(&now))
        .collect();
    if valid.is_empty() {
        return Err(Refusal::RootExpired(domain.clone()));
    }
    Ok(valid)
}

/// rustls-webpki also leaves `keyUsage` of intermediates and the anchor's path length to us.
fn check_path(path: &webpki::VerifiedPath<'_>, roots: &[&Root]) -> Result<(), Refusal> {
    let mut found = 0;
    for intermediate in path.intermediate_certificates() {
        found += 1;
        let der = intermediate.der();
        let parsed = parse(&der).map_err(|_| Refusal::Intermediate)?;
        signs(&parsed).ok_or(Refusal::Intermediate)?;
    }
    let max = roots
        .iter()
        .filter(|root| root.anchor == *path.anchor())
        .map(|root| root.path_length.unwrap_or(u32::MAX))
        .min()
        .unwrap_or(0);
    if u32::try_from(found).unwrap_or(u32::MAX) > max {
        return Err(Refusal::PathLength { found, max });
    }
    Ok(())
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(leaf, intermediates, Direction::Server, now)
            .map(|_| ServerCertVerified::assertion())
            .map_err(to_rustls)
    }

    tls13_signatures!();
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: they would tell every stranger which clusters are members.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(leaf, intermediates, Direction::Client, now)
            .map(|_| ClientCertVerified::assertion())
            .map_err(to_rustls)
    }

    tls13_signatures!();
}
