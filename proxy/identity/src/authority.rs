//! A certificate authority for one trust domain.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use time::OffsetDateTime;
use weft_model::{SpiffeId, TrustDomain, WallTime};
use zeroize::Zeroizing;

use crate::bundle::{Bundle, BundleError};
use crate::signing::random;

/// How far before now certificates begin to be valid, for peers whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// Why an authority could not be made or would not issue.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The id belongs to another trust domain.
    #[error("{id} is not in {trust_domain}, the only trust domain this authority vouches for")]
    OtherDomain {
        /// The id asked for.
        id: SpiffeId,
        /// The authority's trust domain.
        trust_domain: TrustDomain,
    },
    /// The request is malformed, its signature is wrong, or its key is of no supported kind.
    #[error("the certificate request is malformed or not signed with its own key")]
    Request(#[source] rcgen::Error),
    /// The authority's own certificate has expired.
    #[error("the authority's certificate expired at {not_after:?}, it is {now:?}")]
    Expired {
        /// The end of its validity.
        not_after: WallTime,
        /// The time of the request.
        now: WallTime,
    },
    /// A time is beyond what a certificate can say.
    #[error("{0:?} is beyond what a certificate can say")]
    Time(WallTime),
    /// The stored certificate is not usable as an authority.
    #[error(transparent)]
    Certificate(#[from] BundleError),
    /// The stored key is malformed, or the certificate could not be signed.
    #[error("the authority's key or certificate is not usable")]
    Signing(#[source] rcgen::Error),
    /// The stored key does not belong to the stored certificate.
    #[error("the authority's key does not belong to its certificate")]
    KeyMismatch,
}

/// The CA of one trust domain: an ECDSA P-256 key and a self-signed certificate
/// that allows no intermediates.
pub struct Authority {
    trust_domain: TrustDomain,
    bundle: Bundle,
    root: CertificateDer<'static>,
    not_after: WallTime,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new CA, valid for `lifetime` from `now` on.
    pub fn create(
        trust_domain: TrustDomain,
        lifetime: Duration,
        now: WallTime,
    ) -> Result<Self, IssueError> {
        let key = KeyPair::generate().map_err(IssueError::Signing)?;
        let root = root_params(&trust_domain, lifetime, now)?
            .self_signed(&key)
            .map_err(IssueError::Signing)?;
        Self::assemble(trust_domain, root.der().clone(), key)
    }

    /// The CA that [`Self::root`] and [`Self::key`] were taken from.
    pub fn open(
        trust_domain: TrustDomain,
        root: CertificateDer<'static>,
        key: &[u8],
    ) -> Result<Self, IssueError> {
        let key = KeyPair::try_from(key).map_err(IssueError::Signing)?;
        Self::assemble(trust_domain, root, key)
    }

    fn assemble(
        trust_domain: TrustDomain,
        root: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<Self, IssueError> {
        let bundle = Bundle::new(trust_domain.clone(), [root.clone()])?;
        let (parsed, not_after) = match bundle.roots() {
            [only] => (&only.anchor, only.not_after),
            _ => return Err(IssueError::KeyMismatch),
        };
        if !spki_is(parsed, &key) {
            return Err(IssueError::KeyMismatch);
        }
        Ok(Self {
            issuer: Issuer::from_ca_cert_der(&root, key).map_err(IssueError::Signing)?,
            trust_domain,
            not_after: WallTime(u64::try_from(not_after).unwrap_or(0).saturating_mul(1000)),
            bundle,
            root,
        })
    }

    /// Signs the public key of `request` (PKCS #10, DER) for `id`. Nothing else of the
    /// request is used: names, usages and CA flags in it are ignored. Valid from five
    /// minutes ago until `lifetime` from `now`, never longer than the CA itself.
    pub fn issue(
        &self,
        request: &[u8],
        id: &SpiffeId,
        lifetime: Duration,
        now: WallTime,
    ) -> Result<Vec<CertificateDer<'static>>, IssueError> {
        if id.trust_domain != self.trust_domain {
            return Err(IssueError::OtherDomain {
                id: id.clone(),
                trust_domain: self.trust_domain.clone(),
            });
        }
        if now >= self.not_after {
            return Err(IssueError::Expired {
                not_after: self.not_after,
                now,
            });
        }
        let request = CertificateSigningRequestDer::from(request);
        let mut request =
            CertificateSigningRequestParams::from_der(&request).map_err(IssueError::Request)?;
        request.params = leaf_params(id, now, now.after(lifetime).min(self.not_after))?;
        let leaf = request
            .signed_by(&self.issuer)
            .map_err(IssueError::Signing)?;
        Ok(vec![leaf.der().clone()])
    }

    /// Whose identities it vouches for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The bundle of its certificate alone.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The end of its validity.
    pub fn not_after(&self) -> WallTime {
        self.not_after
    }

    /// Its private key, PKCS #8 DER, to keep it in a [`crate::KeyStore`].
    pub fn key(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.issuer.key().serialize_der())
    }

    #[cfg(any(test, feature = "fixture"))]
    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A new ECDSA P-256 key (PKCS #8 DER) and a request (PKCS #10 DER) that says nothing but its public half.
pub fn new_csr() -> (Zeroizing<Vec<u8>>, Vec<u8>) {
    let key = KeyPair::generate().expect("the system's random source does not fail");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params
        .serialize_request(&key)
        .expect("a request without names is always encodable");
    (
        Zeroizing::new(key.serialize_der()),
        request.der().as_ref().to_vec(),
    )
}

/// The anchor's SubjectPublicKeyInfo (without the outer SEQUENCE) ends with the key's point.
fn spki_is(anchor: &rustls_pki_types::TrustAnchor<'_>, key: &KeyPair) -> bool {
    anchor
        .subject_public_key_info
        .as_ref()
        .ends_with(key.public_key_raw())
}

pub(crate) fn root_params(
    trust_domain: &TrustDomain,
    lifetime: Duration,
    now: WallTime,
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "weft");
    // RFC 5280 allows a common name 64 characters; the SAN has the whole.
    let common: String = trust_domain.as_str().chars().take(64).collect();
    name.push(DnType::CommonName, common);
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![uri(format!("spiffe://{trust_domain}"))?];
    params.serial_number = Some(serial());
    set_validity(&mut params, now, now.after(lifetime))?;
    Ok(params)
}

pub(crate) fn leaf_params(
    id: &SpiffeId,
    now: WallTime,
    until: WallTime,
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "weft");
    params.distinguished_name = name;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.subject_alt_names = vec![uri(id.to_string())?];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial());
    set_validity(&mut params, now, until)?;
    Ok(params)
}

fn set_validity(
    params: &mut CertificateParams,
    now: WallTime,
    until: WallTime,
) -> Result<(), IssueError> {
    // A tenth of a short life at most: half life is when it is renewed, and must come
    // after it was issued.
    let backdate = BACKDATE.min(until.since(now) / 10);
    let backdate = u64::try_from(backdate.as_millis()).unwrap_or(u64::MAX);
    params.not_before = date(WallTime(now.0.saturating_sub(backdate)))?;
    params.not_after = date(until)?;
    Ok(())
}

pub(crate) fn date(time: WallTime) -> Result<OffsetDateTime, IssueError> {
    i64::try_from(time.0 / 1000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or(IssueError::Time(time))
}

fn uri(uri: String) -> Result<SanType, IssueError> {
    uri.try_into()
        .map(SanType::URI)
        .map_err(IssueError::Signing)
}

/// 128 random bits (CA/Browser Forum baseline §7.1 asks for 64), positive, without leading zeros.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = random();
    bytes[0] |= 1;
    SerialNumber::from_slice(&bytes)
}
