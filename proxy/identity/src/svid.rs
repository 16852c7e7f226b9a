//! An identity held here: chain and private key, checked.

use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use weft_model::{SpiffeId, WallTime};
use zeroize::Zeroizing;

use crate::leaf::{Leaf, SvidError};
use crate::tls::provider;

/// An X.509-SVID with its private key.
#[derive(Clone)]
pub struct Svid {
    id: SpiffeId,
    chain: Vec<CertificateDer<'static>>,
    key: Zeroizing<Vec<u8>>,
    certified: Arc<CertifiedKey>,
    not_before: WallTime,
    not_after: WallTime,
}

impl Svid {
    /// Checks the leaf's rules and that `key` (PKCS #8 DER) is the leaf's. `chain` is leaf first.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: Zeroizing<Vec<u8>>,
    ) -> Result<Self, SvidError> {
        let leaf = Leaf::check(chain.first().ok_or(SvidError::Missing)?)?;
        let certified = certify(chain.clone(), &key)?;
        certified.keys_match().map_err(|_| SvidError::Key)?;
        Ok(Self {
            id: leaf.id,
            certified: Arc::new(certified),
            not_before: wall(leaf.not_before),
            not_after: wall(leaf.not_after),
            chain,
            key,
        })
    }

    /// Who it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The certificates to present, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The private key, PKCS #8 DER, to keep it in a [`crate::KeyStore`].
    pub fn key(&self) -> &Zeroizing<Vec<u8>> {
        &self.key
    }

    /// The beginning of its validity.
    pub fn not_before(&self) -> WallTime {
        self.not_before
    }

    /// The end of its validity.
    pub fn not_after(&self) -> WallTime {
        self.not_after
    }

    /// When to ask for the next one: at half life, up to a tenth of the life earlier as
    /// `seed` decides, so that identities issued together do not renew together.
    pub fn renew_at(&self, seed: u64) -> WallTime {
        let life = self.not_after.since(self.not_before);
        let early = (life / 10).mul_f64(fraction(seed));
        self.not_before.after((life / 2).saturating_sub(early))
    }

    /// How long it is still valid.
    pub fn left(&self, now: WallTime) -> Duration {
        self.not_after.since(now)
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl std::fmt::Debug for Svid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

pub(crate) fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: &[u8],
) -> Result<CertifiedKey, SvidError> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
    let key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|_| SvidError::Key)?;
    Ok(CertifiedKey::new(chain, key))
}

fn wall(seconds: i64) -> WallTime {
    WallTime(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

/// In `0.0..1.0`: the high bits of one SplitMix64 step.
fn fraction(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
