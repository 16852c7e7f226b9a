//! `weft backup create`: the registry's state as a file, in pieces.

use bytes::Bytes;
use tonic::Status;
use weft_model::code;
use weft_proto::api::BackupPiece;

use crate::api::refusal;
use crate::hub::Hub;

/// A file in pieces.
pub(super) type Pieces = tokio_stream::Iter<std::vec::IntoIter<Result<BackupPiece, Status>>>;

/// One message's share, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// All that is applied here.
pub(super) async fn take(hub: &Hub) -> Result<Pieces, Status> {
    if let Some(index) = hub.registry().status().agreement.fenced {
        let what = format!(
            "the state of {}/{} is not the others' at index {index}: a backup of it would be of no use",
            hub.cluster(),
            hub.gateway()
        );
        return Err(refusal(code::DIVERGED, what));
    }
    let backup = hub.registry().backup().await;
    let backup = backup.map_err(|error| refusal(code::NO_LEADER, error.to_string()))?;
    tracing::info!(index = %backup.image.index, "a backup was taken");
    let file = Bytes::from(backup.encode());
    let piece = |at: usize| {
        let end = file.len().min(at + PIECE_BYTES);
        let bytes = file.slice(at..end);
        Ok(BackupPiece { bytes })
    };
    let pieces: Vec<_> = (0..file.len()).step_by(PIECE_BYTES).map(piece).collect();
    Ok(tokio_stream::iter(pieces))
}
