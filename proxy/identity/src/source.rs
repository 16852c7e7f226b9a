//! Hot-swapped holders: what the next handshake presents and trusts.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use weft_model::WallTime;

use crate::{Bundles, Svid};

#[derive(Debug)]
struct Current {
    svid: Option<Svid>,
    certified: Arc<CertifiedKey>,
}

/// The identity this process presents. Clones share it; a replacement counts from
/// the next handshake on and leaves open connections alone.
#[derive(Debug, Clone)]
pub struct SvidSource(Arc<ArcSwap<Current>>);

impl SvidSource {
    /// A source that presents `svid`.
    pub fn new(svid: Svid) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Current::of(svid))))
    }

    /// Presents `svid` from the next handshake on.
    pub fn replace(&self, svid: Svid) {
        self.0.store(Arc::new(Current::of(svid)));
    }

    /// What is presented now.
    pub fn current(&self) -> Svid {
        self.0
            .load()
            .svid
            .clone()
            .expect("only fixtures present what is no SVID")
    }

    /// When what is presented now expires.
    pub fn expires(&self) -> WallTime {
        self.0
            .load()
            .svid
            .as_ref()
            .map_or(WallTime(0), Svid::not_after)
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.load().certified)
    }

    /// A source that presents a chain which keeps no rules. `current` panics on it.
    #[cfg(any(test, feature = "fixture"))]
    pub(crate) fn lawless(certified: CertifiedKey) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Current {
            svid: None,
            certified: Arc::new(certified),
        })))
    }
}

impl Current {
    fn of(svid: Svid) -> Self {
        Self {
            certified: svid.certified(),
            svid: Some(svid),
        }
    }
}

impl ResolvesServerCert for SvidSource {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }
}

impl ResolvesClientCert for SvidSource {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The bundles this process trusts. Clones share them; a replacement counts from
/// the next handshake on.
#[derive(Debug, Clone, Default)]
pub struct BundleSource(Arc<ArcSwap<Bundles>>);

impl BundleSource {
    /// A source of `bundles`.
    pub fn new(bundles: Bundles) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(bundles)))
    }

    /// Trusts `bundles`, and nothing else, from the next handshake on.
    pub fn replace(&self, bundles: Bundles) {
        self.0.store(Arc::new(bundles));
    }

    /// What is trusted now.
    pub fn current(&self) -> Arc<Bundles> {
        self.0.load_full()
    }
}
