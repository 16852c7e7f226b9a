//! Clamps as bytes: on the wire between gateways, and in `clamps.pb`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use weft_model::{Clamp, ClampId, Index, Percent, ServiceKey, WallTime};
use weft_plan::release::Clamps;
use weft_proto::catalog as wire;
use weft_proxy::catalog::wire::{self as convert, WireError};

/// The format this version writes and reads.
const FORMAT: u32 = 1;

/// Why the file of clamps cannot be used. A gateway does not start without it: weights would be
/// higher than somebody allowed.
#[derive(Debug, thiserror::Error)]
pub enum ClampFileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It does not read back as it was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not read.
        what: String,
    },
}

/// Reads the file; without one, there are none.
pub(super) fn load(path: &Path) -> Result<Clamps, ClampFileError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Clamps::default()),
        Err(source) => {
            let path = path.to_owned();
            return Err(ClampFileError::Read { path, source });
        }
    };
    decode(&bytes).map_err(|what| ClampFileError::Damaged {
        path: path.to_owned(),
        what,
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Clamps, String> {
    let mut file = wire::ClampFile::decode(bytes).map_err(|error| error.to_string())?;
    let stored = std::mem::take(&mut file.checksum);
    if stored != checksum(&file) {
        return Err("its checksum is wrong".into());
    }
    if file.format != FORMAT {
        let other = file.format;
        return Err(format!(
            "it has format {other}, this program reads {FORMAT}"
        ));
    }
    let clamps = file.clamps.iter().map(read);
    let clamps: Vec<Clamp> = clamps
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    Ok(Clamps::restore(clamps))
}

/// Replaces the file as a whole.
pub(super) fn store(path: &Path, clamps: &Clamps) -> io::Result<()> {
    let mut file = wire::ClampFile {
        format: FORMAT,
        clamps: clamps.iter().map(write).collect(),
        checksum: Bytes::new(),
    };
    file.checksum = checksum(&file);
    weft_proxy::catalog::replace_file(path, &file.encode_to_vec())
}

/// Of the file without its checksum.
fn checksum(file: &wire::ClampFile) -> Bytes {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &file.encode_to_vec());
    Bytes::copy_from_slice(digest.as_ref())
}

/// What a test changed, with a checksum that is right.
#[cfg(test)]
pub(super) fn resealed(mut file: wire::ClampFile) -> wire::ClampFile {
    file.checksum = Bytes::new();
    file.checksum = checksum(&file);
    file
}

/// A clamp from its wire form.
pub(crate) fn read(from: &wire::Clamp) -> Result<Clamp, WireError> {
    let id = ClampId::from_slice(&from.id);
    let percent = u8::try_from(from.weight).ok().and_then(Percent::new);
    let release: ServiceKey = convert::service_key(from.release.as_ref())?;
    Ok(Clamp {
        id: id.ok_or_else(|| WireError::new("clamp.id", "has not 16 bytes"))?,
        release,
        run: Index(from.run),
        region: convert::parse("clamp.region", &from.region)?,
        cluster: convert::parse("clamp.cluster", &from.cluster)?,
        gateway: convert::parse("clamp.gateway", &from.gateway)?,
        weight: percent.ok_or_else(|| WireError::new("clamp.weight", "is no percentage"))?,
        made: WallTime(from.made_ms),
        by: convert::parse("clamp.by", &from.by)?,
    })
}

/// A clamp in its wire form.
pub(crate) fn write(clamp: &Clamp) -> wire::Clamp {
    let Clamp {
        id,
        release,
        run,
        region,
        cluster,
        gateway,
        weight,
        made,
        by,
    } = clamp;
    wire::Clamp {
        id: id.0.to_vec().into(),
        release: Some(convert::to_service_key(release)),
        run: run.0,
        region: region.to_string(),
        cluster: cluster.to_string(),
        gateway: gateway.to_string(),
        weight: weight.value().into(),
        made_ms: made.0,
        by: by.to_string(),
    }
}
