//! The sidecar: listeners, inner TLS, HTTP and TCP forwarding.
