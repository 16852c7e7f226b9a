//! How much of everything one member may put into the log, so that none can
//! crowd out the others: every gateway holds the whole state in memory and
//! sends it whole to a newcomer.

use std::time::Duration;

/// Clusters in a federation. Every gateway keeps a tunnel to every other cluster.
pub const CLUSTERS_MAX: usize = 256;
/// Gateways of one cluster. Three vote at most; the rest share load.
pub const GATEWAYS_MAX: usize = 32;
/// Services one cluster offers, with the virtual IPs its withdrawn ones still hold:
/// ten times a large cluster's, and small beside the default virtual-IP range.
/// Where some cluster's range is small, half of the indexes is the bound.
pub const EXPORTS_MAX: usize = 5_000;
/// Servers without a sidecar that one cluster registers: two for each service it may offer.
pub const ENTRIES_MAX: usize = 10_000;
/// Ports of one service. Every port is a record in DNS and a listener in each stand-in.
pub const PORTS_MAX: usize = 64;
/// Identities that may serve one export, and users of one role binding.
pub const NAMES_MAX: usize = 256;
/// Health checks of one server: one for each way in which it can be half broken.
pub const CHECKS_MAX: usize = 8;
/// Certificates in a bundle: a rotation needs two, a cross-signed one four.
pub const BUNDLE_MAX: usize = 8;
/// Bytes of one certificate. The largest post-quantum signatures take under 8 KiB.
pub const CERTIFICATE_MAX: usize = 16 * 1024;
/// Tokens on record. Expired ones are forgotten first.
pub const TOKENS_MAX: usize = 1_024;
/// Operators with a signing key.
pub const SIGNERS_MAX: usize = 4_096;
/// Routes: one for each service that a large cluster offers, and a copy of each in every gateway.
pub const ROUTES_MAX: usize = 5_000;
/// Traffic policies: a service has at most one.
pub const POLICIES_MAX: usize = 5_000;
/// Releases, ended ones too: a fifth of a large cluster's services, with their history.
pub const RELEASES_MAX: usize = 1_000;
/// What is remembered of one release: more than anybody does by hand in a day.
pub const HISTORY_MAX: usize = 64;
/// Clamps that one run of a release remembers as lifted: one for each cluster there may be.
pub const LIFTED_MAX: usize = CLUSTERS_MAX;
/// Role bindings.
pub const BINDINGS_MAX: usize = 1_024;
/// The longest life of a token: a working day and a night for whoever carries it over.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long an expired token stays on record, for those who ask what became of it.
pub const TOKEN_MEMORY: Duration = Duration::from_secs(24 * 3600);
/// Requests whose outcome is remembered at least: more than a leader has in
/// flight, so that a retry always finds the first outcome.
pub const REQUESTS_MIN: usize = 4_096;
/// Time for which a service's virtual IP is given to no other: clients hold an
/// address far longer than its TTL, and the longest TTL is an hour.
pub const QUARANTINE_TIME: Duration = Duration::from_secs(3600);
/// Log entries for which it is given to no other, whatever clocks say.
pub const QUARANTINE_ENTRIES: u64 = 1_000;
/// The longest prefix of a cluster's IPv4 range: 2047 services. The smallest range
/// bounds the whole federation, so no newcomer may bring less.
pub const IPV4_PREFIX_MAX: u8 = 20;
/// The longest prefix of a cluster's IPv6 range: room for every index.
pub const IPV6_PREFIX_MAX: u8 = 96;
