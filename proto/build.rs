//! Generates the wire types without a system protoc.

use std::path::Path;

const FILES: [&str; 6] = [
    "weft/log/v1/log.proto",
    "weft/peer/v1/peer.proto",
    "weft/catalog/v1/catalog.proto",
    "weft/identity/v1/identity.proto",
    "weft/api/v1/admin.proto",
    "grpc/health/v1/health.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    for file in FILES {
        println!("cargo:rerun-if-changed={}", Path::new(file).display());
    }
    Ok(())
}
