//! Generates the wire types without a system protoc.

use std::path::{Path, PathBuf};

use prost::Message;

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
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    std::fs::write(out.join("weft.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    for file in FILES {
        println!("cargo:rerun-if-changed={}", Path::new(file).display());
    }
    Ok(())
}
