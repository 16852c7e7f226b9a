//! Wire types generated from the `.proto` files in this folder, and nothing else.
//!
//! Domain types live in `weft-model`; shells convert at the edge, so nothing
//! here reaches a decision. Field numbers are never reused.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated"
)]

/// All of it as its own description: an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/weft.bin"));

/// The federation's log: entries, commands and snapshots, on disk and between gateways.
pub mod log {
    tonic::include_proto!("weft.log.v1");
}

/// Between gateways, on QUIC streams.
pub mod peer {
    tonic::include_proto!("weft.peer.v1");
}

/// Liveness: endpoints, digests and attestations.
pub mod catalog {
    tonic::include_proto!("weft.catalog.v1");
}

/// Joining and first identities, over the gateway API.
pub mod identity {
    tonic::include_proto!("weft.identity.v1");
}

/// The admin API of a gateway.
pub mod api {
    tonic::include_proto!("weft.api.v1");
}

/// Health checks of gRPC servers.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
