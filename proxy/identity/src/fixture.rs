//! For tests of this and other crates: a federation of two trust domains, and a
//! corpus of certificates that nobody may accept.
//!
//! Not for production: this module panics where its own premises fail.

mod hostile;

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use weft_model::{SpiffeId, TrustDomain, WallTime};
use zeroize::Zeroizing;

use crate::refusal::Reason;
use crate::svid::certify;
use crate::{Authority, BundleSource, PeerRule, Svid, SvidSource, new_csr};

pub use hostile::hostile;

/// A day.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// A trust domain's CA, valid a year from `now` on.
pub fn authority(trust_domain: &str, now: WallTime) -> Authority {
    Authority::create(
        trust_domain.parse().expect("a trust domain"),
        DAY * 365,
        now,
    )
    .expect("an authority for a lawful trust domain")
}

/// A fresh SVID for `id`, valid a day from `now` on.
pub fn svid(authority: &Authority, id: &str, now: WallTime) -> Svid {
    let id: SpiffeId = id.parse().expect("a SPIFFE id");
    let (key, csr) = new_csr();
    let chain = authority
        .issue(&csr, &id, DAY, now)
        .expect("an id of the authority's trust domain");
    Svid::from_der(chain, key).expect("what an authority issues is an SVID")
}

/// A source of the bundles of `authorities`.
pub fn bundles(authorities: &[&Authority]) -> BundleSource {
    BundleSource::new(
        authorities
            .iter()
            .map(|authority| authority.bundle().clone())
            .collect(),
    )
}

/// Something that a verifier must refuse.
pub struct Hostile {
    /// What is wrong with it, in a few words, unique.
    pub name: &'static str,
    /// The chain it presents, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key, PKCS #8 DER.
    pub key: Zeroizing<Vec<u8>>,
    /// The rule that must refuse it.
    pub expect: Reason,
}

impl Hostile {
    /// A source that presents it, as if it were an SVID.
    pub fn source(&self) -> SvidSource {
        let certified = certify(self.chain.clone(), &self.key).expect("a key of a supported kind");
        SvidSource::lawless(certified)
    }
}

/// Hostile certificates, and the world in which they are hostile.
pub struct Corpus {
    /// Signs `eu-west-1.fed.example.org`; trusted.
    pub authority: Authority,
    /// What a victim trusts: the authority, another honest one, and a trust domain
    /// whose bundle is empty.
    pub bundles: BundleSource,
    /// Whom a victim wants to talk to: gateways of `eu-west-1.fed.example.org`.
    pub rule: PeerRule,
    /// A gateway that a victim must accept: the positive control.
    pub good: Svid,
    /// What it must refuse.
    pub hostile: Vec<Hostile>,
}

pub(crate) fn domain(name: &str) -> TrustDomain {
    name.parse().expect("a trust domain")
}
