//! Why a peer was refused, and what that is called in logs and metrics.

use std::sync::Arc;

use rustls::{CertificateError, OtherError};
use weft_model::{SpiffeId, TrustDomain};

use crate::leaf::SvidError;

/// Why a peer was refused, with the values compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The leaf breaks a rule for SVIDs.
    #[error("not an SVID: {0}")]
    Leaf(#[from] SvidError),
    /// No bundle is known for the trust domain.
    #[error("no bundle is known for trust domain {0}")]
    UnknownTrustDomain(TrustDomain),
    /// The trust domain's bundle is empty: all its identities are revoked.
    #[error("the bundle of trust domain {0} is empty")]
    EmptyBundle(TrustDomain),
    /// No CA certificate of the bundle is valid now.
    #[error("no CA certificate of trust domain {0} is valid now")]
    RootExpired(TrustDomain),
    /// The chain does not lead to the bundle.
    #[error("the chain does not lead to the bundle of {trust_domain}: {error}")]
    Chain {
        /// Whose bundle was tried.
        trust_domain: TrustDomain,
        /// What went wrong on the way.
        error: webpki::Error,
    },
    /// An intermediate certificate may not sign others.
    #[error("an intermediate certificate may not sign certificates")]
    Intermediate,
    /// More intermediates than the root allows.
    #[error("{found} intermediate certificates, the root allows {max}")]
    PathLength {
        /// How many there are.
        found: usize,
        /// How many the root allows.
        max: u32,
    },
    /// A good identity, but not one wanted here.
    #[error("{0} is not wanted here")]
    NotAdmitted(SpiffeId),
    /// The presented bundle is not the one that the token pins.
    #[error("the server's CA bundle is not the one in the token")]
    Pin,
}

/// The name of the rule that refused: for log fields, metric labels and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Not well-formed.
    Malformed,
    /// Not exactly one URI name, or names of other types.
    Names,
    /// The URI is no SPIFFE id of ours.
    Id,
    /// A CA certificate as leaf.
    Ca,
    /// `keyUsage` missing, not critical, or with the wrong bits.
    KeyUsage,
    /// `extendedKeyUsage` incomplete.
    ExtendedKeyUsage,
    /// A public key too weak to prove anything.
    WeakKey,
    /// No bundle, or an empty one.
    Bundle,
    /// No way to the bundle's roots: unknown issuer, wrong signature, unsupported algorithm.
    Issuer,
    /// Expired or not yet valid.
    Validity,
    /// A critical extension that is not understood.
    Extension,
    /// A path longer than allowed, or through a certificate that may not sign.
    Path,
    /// A good identity that is not wanted here.
    NotAdmitted,
    /// Not the bundle that the token pins.
    Pin,
}

impl Refusal {
    /// The rule that refused.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Leaf(error) => leaf_reason(error),
            Self::UnknownTrustDomain(_) | Self::EmptyBundle(_) => Reason::Bundle,
            Self::RootExpired(_) => Reason::Validity,
            Self::Chain { error, .. } => chain_reason(error),
            Self::Intermediate | Self::PathLength { .. } => Reason::Path,
            Self::NotAdmitted(_) => Reason::NotAdmitted,
            Self::Pin => Reason::Pin,
        }
    }
}

fn leaf_reason(error: &SvidError) -> Reason {
    match error {
        SvidError::Missing | SvidError::Malformed(_) | SvidError::Key => Reason::Malformed,
        SvidError::Uris(_) | SvidError::OtherName(_) => Reason::Names,
        SvidError::Id { .. } => Reason::Id,
        SvidError::Ca => Reason::Ca,
        SvidError::WeakKey(_) => Reason::WeakKey,
        SvidError::KeyUsageMissing
        | SvidError::KeyUsageNotCritical
        | SvidError::NoDigitalSignature
        | SvidError::SigningUsage(_) => Reason::KeyUsage,
        SvidError::ExtendedKeyUsage(_) => Reason::ExtendedKeyUsage,
    }
}

fn chain_reason(error: &webpki::Error) -> Reason {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } | Error::InvalidCertValidity => {
            Reason::Validity
        }
        Error::UnsupportedCriticalExtension => Reason::Extension,
        Error::PathLenConstraintViolated
        | Error::EndEntityUsedAsCa
        | Error::MaximumPathDepthExceeded => Reason::Path,
        Error::CaUsedAsEndEntity => Reason::Ca,
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => Reason::ExtendedKeyUsage,
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) | Error::MalformedExtensions => {
            Reason::Malformed
        }
        _ => Reason::Issuer,
    }
}

/// The refusal inside an error that rustls reports, if one of our rules refused.
pub fn refusal(error: &rustls::Error) -> Option<&Refusal> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.downcast_ref()
        }
        _ => None,
    }
}

pub(crate) fn to_rustls(refusal: Refusal) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
}
