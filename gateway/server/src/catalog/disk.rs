//! The last view on disk, for a start with nobody reachable.

use std::fs;
use std::io;
use std::path::Path;

use prost::Message;
use weft_model::{ClusterName, Endpoint};
use weft_plan::catalog::CatalogView;
use weft_proto::catalog as wire;
use weft_proxy::catalog::wire as convert;

/// The format this version writes and reads.
const FORMAT: u32 = 1;

/// Why the last view could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Read(io::Error),
    /// It is not what this version writes.
    #[error("it is damaged: {0}")]
    Damaged(prost::DecodeError),
    /// Another version wrote it.
    #[error("it has format {0}, this version reads {FORMAT}")]
    Format(u32),
    /// It is of another cluster.
    #[error("it is of cluster {0}")]
    Cluster(String),
}

/// Reads the endpoints of the last view; none if there is no view yet.
pub(super) fn load(path: &Path, cluster: &ClusterName) -> Result<Vec<Endpoint>, DiskError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(DiskError::Read(why)),
    };
    let file = wire::ViewFile::decode(&*bytes).map_err(DiskError::Damaged)?;
    if file.format != FORMAT {
        return Err(DiskError::Format(file.format));
    }
    if file.cluster != cluster.as_str() {
        return Err(DiskError::Cluster(file.cluster));
    }
    // What another version wrote and this one cannot read is left out.
    let endpoints = file.endpoints.iter().map(convert::endpoint);
    Ok(endpoints.filter_map(Result::ok).collect())
}

/// Replaces the file by this view.
pub(super) fn store(path: &Path, view: &CatalogView) -> io::Result<()> {
    let services = view.services().flat_map(|(_, service)| &service.endpoints);
    let file = wire::ViewFile {
        format: FORMAT,
        cluster: view.cluster().to_string(),
        endpoints: services
            .map(|endpoint| convert::to_endpoint(endpoint))
            .collect(),
    };
    weft_proxy::catalog::replace_file(path, &file.encode_to_vec())
}
