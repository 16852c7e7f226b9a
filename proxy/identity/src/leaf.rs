//! What makes a leaf an X.509-SVID (SPIFFE X509-SVID §2 to §5), before any chain
//! is looked at.
//!
//! Stricter than the specification in one point: it allows SANs of other types
//! beside the URI, we refuse them, since nothing here ever reads or issues one.

use rustls_pki_types::CertificateDer;
use weft_model::{SpiffeError, SpiffeId};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::public_key::PublicKey;

/// Which rule for leaves a certificate breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    /// No certificate was presented.
    #[error("no certificate was presented")]
    Missing,
    /// Not DER of an X.509 v3 certificate, or an extension is twice there or malformed.
    #[error("not a well-formed X.509 v3 certificate: {0}")]
    Malformed(&'static str),
    /// Not exactly one URI among the subject alternative names.
    #[error("{0} URI names, an SVID has exactly one")]
    Uris(usize),
    /// A subject alternative name of another type.
    #[error("a {0} name beside the URI")]
    OtherName(&'static str),
    /// The URI is no SPIFFE id.
    #[error("{uri:?} is no SPIFFE id: {source}")]
    Id {
        /// The URI, its first 200 characters.
        uri: String,
        /// What is wrong with it.
        source: SpiffeError,
    },
    /// `cA` is true: a signing certificate never authenticates.
    #[error("a CA certificate never authenticates")]
    Ca,
    /// `keyUsage` is left out.
    #[error("keyUsage is missing")]
    KeyUsageMissing,
    /// `keyUsage` is not critical.
    #[error("keyUsage is not critical")]
    KeyUsageNotCritical,
    /// `keyUsage` lacks `digitalSignature`.
    #[error("keyUsage lacks digitalSignature")]
    NoDigitalSignature,
    /// `keyUsage` has `keyCertSign` or `cRLSign`.
    #[error("keyUsage has {0}, which leaves may not have")]
    SigningUsage(&'static str),
    /// `extendedKeyUsage` is there without both `serverAuth` and `clientAuth`.
    #[error("extendedKeyUsage lacks {0}")]
    ExtendedKeyUsage(&'static str),
    /// The public key is too weak, or of no kind that signs here.
    #[error(
        "its public key is {0}, not ECDSA P-256 or P-384, Ed25519, or RSA of at least 2048 bits"
    )]
    WeakKey(String),
    /// The private key belongs to another certificate, or is of no supported kind.
    #[error("the private key does not belong to the certificate")]
    Key,
}

/// The SPIFFE id of a presented chain (leaf first), if its leaf keeps the rules.
///
/// Says nothing about trust: use it on chains that a [`crate::PeerVerifier`] accepted.
pub fn peer_id(chain: &[CertificateDer<'_>]) -> Result<SpiffeId, SvidError> {
    Ok(Leaf::check(chain.first().ok_or(SvidError::Missing)?)?.id)
}

/// What is worth knowing of a leaf that keeps the rules.
pub(crate) struct Leaf {
    pub(crate) id: SpiffeId,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
}

impl Leaf {
    pub(crate) fn check(der: &CertificateDer<'_>) -> Result<Self, SvidError> {
        let certificate = parse(der).map_err(SvidError::Malformed)?;
        check_authority(&certificate)?;
        let uri = only_uri(&certificate)?;
        let id = uri.parse().map_err(|source| SvidError::Id {
            uri: uri.chars().take(200).collect(),
            source,
        })?;
        check_key_usage(&certificate)?;
        check_extended_key_usage(&certificate)?;
        check_key(&certificate)?;
        Ok(Self {
            id,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

/// Parses one whole certificate; errors are reasons.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, &'static str> {
    let (rest, certificate) = x509_parser::parse_x509_certificate(der).map_err(|_| "DER")?;
    if !rest.is_empty() {
        return Err("bytes after the certificate");
    }
    if certificate.version() != x509_parser::x509::X509Version::V3 {
        return Err("version");
    }
    certificate
        .tbs_certificate
        .extensions_map()
        .map_err(|_| "an extension is there twice")?;
    Ok(certificate)
}

fn check_authority(certificate: &X509Certificate<'_>) -> Result<(), SvidError> {
    match certificate.basic_constraints() {
        Err(_) => Err(SvidError::Malformed("basicConstraints")),
        Ok(Some(constraints)) if constraints.value.ca => Err(SvidError::Ca),
        Ok(_) => Ok(()),
    }
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, SvidError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| SvidError::Malformed("subjectAltName"))?
        .map_or(&[][..], |names| &names.value.general_names);
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    if let Some(other) = names.iter().find_map(other_name) {
        return Err(other);
    }
    match uris[..] {
        [uri] => Ok(uri),
        _ => Err(SvidError::Uris(uris.len())),
    }
}

fn other_name(name: &GeneralName<'_>) -> Option<SvidError> {
    Some(SvidError::OtherName(match name {
        GeneralName::URI(_) => return None,
        GeneralName::Invalid(..) => return Some(SvidError::Malformed("subjectAltName")),
        GeneralName::DNSName(_) => "DNS",
        GeneralName::RFC822Name(_) => "e-mail",
        GeneralName::IPAddress(_) => "IP",
        GeneralName::DirectoryName(_) => "directory",
        _ => "foreign",
    }))
}

fn check_key_usage(certificate: &X509Certificate<'_>) -> Result<(), SvidError> {
    let usage = certificate
        .key_usage()
        .map_err(|_| SvidError::Malformed("keyUsage"))?
        .ok_or(SvidError::KeyUsageMissing)?;
    if usage.value.key_cert_sign() {
        Err(SvidError::SigningUsage("keyCertSign"))
    } else if usage.value.crl_sign() {
        Err(SvidError::SigningUsage("cRLSign"))
    } else if !usage.value.digital_signature() {
        Err(SvidError::NoDigitalSignature)
    } else if !usage.critical {
        Err(SvidError::KeyUsageNotCritical)
    } else {
        Ok(())
    }
}

fn check_extended_key_usage(certificate: &X509Certificate<'_>) -> Result<(), SvidError> {
    let usage = certificate
        .extended_key_usage()
        .map_err(|_| SvidError::Malformed("extendedKeyUsage"))?;
    match usage.map(|usage| (usage.value.server_auth, usage.value.client_auth)) {
        Some((false, _)) => Err(SvidError::ExtendedKeyUsage("serverAuth")),
        Some((_, false)) => Err(SvidError::ExtendedKeyUsage("clientAuth")),
        None | Some((true, true)) => Ok(()),
    }
}

/// rustls-webpki judges the keys that sign certificates, not the leaf's own.
fn check_key(certificate: &X509Certificate<'_>) -> Result<(), SvidError> {
    let key = certificate.public_key();
    let weak = match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() < 2048 => {
            format!("RSA of {} bits", rsa.key_size())
        }
        Ok(PublicKey::EC(point)) if !matches!(point.key_size(), 256 | 384) => {
            format!("EC of {} bits", point.key_size())
        }
        Ok(PublicKey::RSA(_) | PublicKey::EC(_)) => return Ok(()),
        _ if key.algorithm.algorithm == OID_SIG_ED25519 => return Ok(()),
        _ => format!("of algorithm {}", key.algorithm.algorithm),
    };
    Err(SvidError::WeakKey(weak))
}
