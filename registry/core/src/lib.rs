//! The vocabulary of a weft federation and its replicated state.
//!
//! What it is: names, ids, resources, endpoints, and [`Federation`], the state
//! that every gateway replicates: `apply(command) -> events`.
//! What it is not: it has no clock, socket, runtime, random number or wire type.
//! Time is a number in a command; signatures are checked by the shell before
//! `apply`, against keys that this state holds.
//!
//! ```text
//! bytes ─(weft-registry decodes, verifies)─> Entry ─> Federation::apply ─> Vec<Event>
//!                                                        │
//!                                 exports ─> Service (derived, MCS rules, virtual-IP index)
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod code;
mod command;
pub mod duration;
mod endpoint;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
mod flow;
mod host_port;
mod id;
mod latency;
mod name;
#[cfg(feature = "bugs")]
pub mod planted;
pub mod quota;
mod refusal;
pub mod release;
mod resource;
mod service;
mod sha256;
mod spiffe;
mod state;
mod tap;
mod time;
mod weight;

pub use code::Code;
pub use command::{
    Author, Command, Entry, Event, Founding, GatewayRecord, Key, Outcome, PublicKey, Redemption,
    SignerRecord, TokenGrant,
};
pub use endpoint::{Digest, DigestRow, Endpoint, EndpointPort, Health, Unready};
pub use flow::{Carried, Flow, FlowClass, Served, Tally};
pub use host_port::{HostPort, HostPortError};
pub use id::{
    ClampId, EndpointId, FormatLevel, Generation, Index, NodeId, RequestId, SignerEpoch, Stage,
    TokenId, VirtualIpIndex,
};
pub use latency::{BUCKETS as LATENCY_BUCKETS, Latencies, LatencyBucket};
pub use name::{
    ClusterName, FederationDomain, GatewayName, Hostname, NameError, Namespace, PortName,
    RegionName, ServiceAccount, ServiceName, UserName, Version, WaveName, ZoneName,
};
pub use refusal::{Refusal, token};
pub use release::{
    Advance, Clamp, ReleaseAction, ReleaseChange, ReleaseEnd, ReleasePhase, ReleaseRecord,
    ReleaseRefusal,
};
pub use resource::{
    ApiVersion, Audience, BackendRef, Cluster, ClusterRole, ClusterSpec, ConnectionPool, DnsSpec,
    ExactMatch, ExportSpec, ExportTo, GatewayAddress, GatewayRole, GrpcProbe, HeaderMatch,
    HeaderModifier, HeaderValue, HealthCheck, HttpPool, HttpProbe, Kind, KindName, LoadBalancer,
    Metadata, OnPartition, OnStale, OutlierDetection, ParentRef, PathMatch, PathMatchType,
    PathModifier, PauseStep, Places, Probe, QueryParamMatch, RefKind, RelayConsent, Release,
    ReleaseSpec, ReleaseStep, RequestMirror, RequestRedirect, Resource, RetryBudgetSpec, Role,
    RoleBinding, RoleBindingSpec, Route, RouteFilter, RouteMatch, RouteRetry, RouteRule, RouteSpec,
    RouteTimeouts, ServiceExport, ServingIdentity, Spec, Stickiness, StickyBy, StickyMissing,
    TargetRef, TcpPool, TcpProbe, TrafficPolicy, TrafficPolicySpec, UrlRewrite, VirtualIpRanges,
    Wave, WorkloadEntry, WorkloadEntrySpec, spec_from_json, spec_to_json,
};
pub use service::{
    AppProtocol, Conflict, Exporter, Service, ServiceKey, ServicePort, ServiceType,
    TransportProtocol,
};
pub use spiffe::{SpiffeError, SpiffeId, SpiffePath, TrustDomain};
pub use state::{
    Applied, ExportRecord, Federation, FederationParts, Member, Node, PartsError, PolicyRecord,
    Quarantine, RouteRecord, TokenState, WorkloadRecord,
};
pub use tap::{StatusMatch, TapFilter, TapSubject};
pub use time::WallTime;
pub use weight::{BasisPoints, Percent};
