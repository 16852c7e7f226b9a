//! The file of a backup, in pieces.

use weft_proto::api::BackupRequest;

use super::{Client, problem};
use crate::problem::Problem;

impl Client {
    /// All that the asked gateway has applied, after all that was committed.
    pub(crate) async fn backup(&mut self) -> Result<Vec<u8>, Problem> {
        let request = self.request(BackupRequest {});
        let answer = self.admin.backup(request).await;
        let mut pieces = answer.map_err(|status| problem(&status))?.into_inner();
        let mut file = Vec::new();
        while let Some(piece) = pieces.message().await.map_err(|status| problem(&status))? {
            file.extend_from_slice(&piece.bytes);
        }
        Ok(file)
    }
}
