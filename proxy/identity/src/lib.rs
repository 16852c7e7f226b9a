//! Identities: certificate authorities, SVIDs, bundles by trust domain, and the TLS verifiers built on them.
