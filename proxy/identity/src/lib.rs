//! Identities: certificate authorities, SVIDs, bundles by trust domain, and
//! the TLS configurations, tokens and keys at rest built on them.
//!
//! What it is: the one place that decides whether a certificate is an identity.
//! What it is not: it opens no socket and starts no runtime. Issuing never reads
//! the clock (time is an argument); TLS verification takes its time from rustls.
//!
//! ```text
//! CSR ─> Authority::issue ─> Svid ─> SvidSource ──┐
//!                                                 ├─> server_config / client_config
//! roots ─> Bundle ─> Bundles ─> BundleSource ─────┘        │
//!                                            peer chain ─> PeerVerifier: leaf rules,
//!                                            bundle by trust domain, chain, PeerRule
//! ```
//!
//! **Invariant:** a chain is built only against the bundle of the trust domain
//! that the leaf names; bundles of different trust domains are never merged.

mod armor;
mod authority;
mod bundle;
mod enrolment;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
mod keystore;
mod leaf;
mod pinned;
mod refusal;
mod signatures;
mod signing;
mod source;
mod svid;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod verify;

pub use armor::TokenError;
pub use authority::{Authority, IssueError, new_csr};
pub use bundle::{Bundle, BundleError, Bundles, bundle_hash, sha256};
pub use enrolment::{EnrolmentClaims, EnrolmentToken};
pub use keystore::{KeyStore, KeyStoreError, Sealing};
pub use leaf::{SvidError, peer_id};
pub use pinned::client_config_pinned;
pub use refusal::{Reason, Refusal, refusal};
pub use signing::{SigningKey, verify};
pub use source::{BundleSource, SvidSource};
pub use svid::Svid;
pub use tls::{ClientAuth, client_config, server_config, server_name};
pub use token::{JoinToken, token_id};
pub use verify::{Direction, PeerRule, PeerVerifier};
