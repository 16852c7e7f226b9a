//! Frames of the catalog stream: a u32 length, big endian, then a `PeerFrame`;
//! and what stands in them.

use std::io;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use weft_model::{Clamp, Digest, DigestRow};
use weft_plan::catalog::{Attestation, Interest};
use weft_plan::release::CLAMPS_MAX;
use weft_proto::catalog as wire;
use weft_proto::catalog::peer_frame::Frame;
use weft_proxy::catalog::wire::{self as convert, WireError};

use super::LinkError;
use crate::clamps;

/// A longer frame is refused.
pub(super) const FRAME_MAX: u32 = 4 << 20;

pub(super) async fn write_frame(
    to: &mut (impl AsyncWrite + Unpin),
    frame: Frame,
) -> Result<(), LinkError> {
    let frame = wire::PeerFrame { frame: Some(frame) };
    let len = frame.encoded_len();
    let mut bytes = Vec::with_capacity(4 + len);
    let prefix = u32::try_from(len).map_err(|_| LinkError::TooLong(u32::MAX))?;
    bytes.extend_from_slice(&prefix.to_be_bytes());
    frame
        .encode(&mut bytes)
        .expect("a vector has room for every frame");
    to.write_all(&bytes).await?;
    to.flush().await?;
    Ok(())
}

/// Memory grows with what has arrived, not with what was announced.
pub(super) async fn read_frame(
    from: &mut (impl AsyncRead + Unpin),
) -> Result<wire::PeerFrame, LinkError> {
    let len = from.read_u32().await?;
    if len > FRAME_MAX {
        return Err(LinkError::TooLong(len));
    }
    let mut bytes = Vec::new();
    let read = from.take(len.into()).read_to_end(&mut bytes).await?;
    if u32::try_from(read) != Ok(len) {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(wire::PeerFrame::decode(bytes::Bytes::from(bytes))?)
}

/// Addresses mean nothing outside their cluster and do not leave it.
pub(super) fn to_frame(word: Attestation, abroad: bool) -> Frame {
    match word {
        Attestation::Present(endpoint) => {
            let mut endpoint = convert::to_endpoint(&endpoint);
            if abroad {
                endpoint.address.clear();
                endpoint.workload.clear();
            }
            Frame::Endpoint(endpoint)
        }
        Attestation::Retracted(id) => Frame::EndpointRetracted(id.0.to_vec().into()),
        Attestation::Withdrawn(id, sequence) => Frame::EndpointWithdrawn(wire::Withdraw {
            id: id.0.to_vec().into(),
            sequence,
        }),
    }
}

pub(in crate::catalog) fn to_interest(interest: &Interest) -> wire::Interest {
    match interest {
        Interest::Everything => wire::Interest {
            services: Vec::new(),
            everything: true,
        },
        Interest::Services(named) => wire::Interest {
            services: named.iter().map(convert::to_service_key).collect(),
            everything: false,
        },
    }
}

/// Beyond what one cluster may have in force, no list is read.
pub(super) fn read_clamps(from: &wire::ClampList) -> Result<Vec<Clamp>, WireError> {
    let clamps = from.clamps.iter().take(CLAMPS_MAX);
    clamps.map(clamps::read).collect()
}

pub(super) fn to_clamps<'c>(clamps: impl IntoIterator<Item = &'c Clamp>) -> wire::ClampList {
    let clamps = clamps.into_iter().map(clamps::write);
    wire::ClampList {
        clamps: clamps.collect(),
    }
}

pub(in crate::catalog) fn read_digest(from: &wire::Digest) -> Result<Digest, WireError> {
    let rows = from.rows.iter().map(|row| {
        let at = (
            convert::service_key(row.service.as_ref())?,
            convert::parse_optional("rows.zone", &row.zone)?,
            convert::parse_optional("rows.version", &row.version)?,
        );
        let counted = DigestRow {
            ready: row.ready,
            capacity: row.capacity,
        };
        Ok((at, counted))
    });
    let rows = rows.collect::<Result<_, WireError>>()?;
    Ok(Digest { rows })
}

pub(in crate::catalog) fn to_digest(from: &Digest) -> wire::Digest {
    let rows = from
        .rows
        .iter()
        .map(|((service, zone, version), row)| wire::DigestRow {
            service: Some(convert::to_service_key(service)),
            zone: zone.as_ref().map(ToString::to_string).unwrap_or_default(),
            version: version
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            ready: row.ready,
            capacity: row.capacity,
        });
    wire::Digest {
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_that_is_announced_and_does_not_come_takes_no_memory() {
        let announced = FRAME_MAX.to_be_bytes();
        let mut from = &announced[..];
        let (read, held) = weft_mutants::held(|| {
            use futures_util::FutureExt;
            read_frame(&mut from).now_or_never()
        });
        assert!(matches!(read, Some(Err(LinkError::Stream(_)))), "{read:?}");
        assert!(held < 64 * 1024, "{held} bytes");
    }
}
