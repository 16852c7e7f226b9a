//! Bundles: the CA certificates of one trust domain, and the map of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, TrustAnchor};
use weft_model::TrustDomain;
use x509_parser::extensions::GeneralName;

use crate::leaf::parse;

/// Why a certificate cannot be in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not DER of an X.509 v3 certificate.
    #[error("certificate {at} of {trust_domain}'s bundle is malformed: {reason}")]
    Malformed {
        /// Whose bundle.
        trust_domain: TrustDomain,
        /// Its place in the bundle, counted from 1.
        at: usize,
        /// What is malformed.
        reason: &'static str,
    },
    /// Not a certificate that may sign others.
    #[error("certificate {at} of {trust_domain}'s bundle may not sign certificates")]
    NotAuthority {
        /// Whose bundle.
        trust_domain: TrustDomain,
        /// Its place in the bundle, counted from 1.
        at: usize,
    },
    /// A CA certificate that names another trust domain.
    #[error("certificate {at} of {trust_domain}'s bundle says it is {found:?}")]
    OtherDomain {
        /// Whose bundle.
        trust_domain: TrustDomain,
        /// Its place in the bundle, counted from 1.
        at: usize,
        /// The URI it has instead of `spiffe://<trust domain>`.
        found: String,
    },
}

/// One CA certificate, with what rustls-webpki does not take from an anchor:
/// its validity and its path length.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) anchor: TrustAnchor<'static>,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
    /// The number of intermediate certificates it allows; none: any.
    pub(crate) path_length: Option<u32>,
}

/// The CA certificates of one trust domain. An empty one revokes all its identities.
#[derive(Debug, Clone)]
pub struct Bundle {
    trust_domain: TrustDomain,
    roots: Arc<[Root]>,
}

impl Bundle {
    /// Checks and takes the CA certificates (DER) of `trust_domain`.
    pub fn new(
        trust_domain: TrustDomain,
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, BundleError> {
        let roots: Result<Vec<Root>, BundleError> = (1..)
            .zip(certificates)
            .map(|(at, der)| root(&trust_domain, at, der))
            .collect();
        Ok(Self {
            roots: roots?.into(),
            trust_domain,
        })
    }

    /// Whose it is.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its CA certificates.
    pub fn certificates(&self) -> impl ExactSizeIterator<Item = &CertificateDer<'static>> {
        self.roots.iter().map(|root| &root.der)
    }

    pub(crate) fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// Its [`bundle_hash`].
    pub fn hash(&self) -> [u8; 32] {
        bundle_hash(self.certificates())
    }
}

fn root(
    trust_domain: &TrustDomain,
    at: usize,
    der: CertificateDer<'static>,
) -> Result<Root, BundleError> {
    let malformed = |reason| BundleError::Malformed {
        trust_domain: trust_domain.clone(),
        at,
        reason,
    };
    let anchor = webpki::anchor_from_trusted_cert(&der)
        .map_err(|_| malformed("not usable as a trust anchor"))?
        .to_owned();
    let certificate = parse(&der).map_err(malformed)?;
    let path_length = signs(&certificate).ok_or_else(|| BundleError::NotAuthority {
        trust_domain: trust_domain.clone(),
        at,
    })?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| malformed("subjectAltName"))?
        .map_or(&[][..], |names| &names.value.general_names);
    for name in names {
        if let GeneralName::URI(uri) = name
            && *uri != format!("spiffe://{trust_domain}")
        {
            return Err(BundleError::OtherDomain {
                trust_domain: trust_domain.clone(),
                at,
                found: uri.chars().take(200).collect(),
            });
        }
    }
    let (not_before, not_after) = (
        certificate.validity().not_before.timestamp(),
        certificate.validity().not_after.timestamp(),
    );
    Ok(Root {
        anchor,
        not_before,
        not_after,
        path_length,
        der,
    })
}

/// None: it may not sign certificates; otherwise its path length constraint.
pub(crate) fn signs(
    certificate: &x509_parser::certificate::X509Certificate<'_>,
) -> Option<Option<u32>> {
    let constraints = certificate.basic_constraints().ok()??.value;
    let usage = certificate.key_usage().ok()??.value;
    (constraints.ca && usage.key_cert_sign()).then_some(constraints.path_len_constraint)
}

/// What a token pins: SHA-256 over the sorted SHA-256 digests of the bundle's certificates.
pub fn bundle_hash<'a, 'd: 'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'d>>,
) -> [u8; 32] {
    let mut digests: Vec<[u8; 32]> = certificates.into_iter().map(|der| sha256(der)).collect();
    digests.sort_unstable();
    digests.dedup();
    sha256(&digests.concat())
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    hash
}

/// Every known trust domain's bundle. Immutable; see [`crate::BundleSource`].
#[derive(Debug, Clone, Default)]
pub struct Bundles(BTreeMap<TrustDomain, Bundle>);

impl Bundles {
    /// The bundle of `trust_domain`.
    pub fn of(&self, trust_domain: &TrustDomain) -> Option<&Bundle> {
        self.0.get(trust_domain)
    }

    /// All bundles, by trust domain.
    pub fn iter(&self) -> impl Iterator<Item = &Bundle> {
        self.0.values()
    }
}

/// Of several bundles of one trust domain the last one counts: they are never merged.
impl FromIterator<Bundle> for Bundles {
    fn from_iter<I: IntoIterator<Item = Bundle>>(bundles: I) -> Self {
        Self(
            bundles
                .into_iter()
                .map(|bundle| (bundle.trust_domain.clone(), bundle))
                .collect(),
        )
    }
}
