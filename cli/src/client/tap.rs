//! The stream of a tap.

use serde_json::Value;
use tonic::Streaming;
use weft_gateway::admin::view::TapLine;
use weft_model::code;
use weft_proto::api::{TapDocument, TapRequest};

use super::{Client, problem};
use crate::problem::Problem;

/// Lines of a tap, as they come.
pub(crate) struct TapLines(Streaming<TapDocument>);

impl Client {
    /// Opens a tap.
    pub(crate) async fn tap(&mut self, arguments: &Value) -> Result<TapLines, Problem> {
        let request = self.request(TapRequest {
            json: arguments.to_string().into_bytes().into(),
        });
        let stream = self.admin.tap(request).await;
        let stream = stream.map_err(|status| problem(&status))?;
        Ok(TapLines(stream.into_inner()))
    }
}

impl TapLines {
    /// The next line; none once the tap has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<TapLine>, Problem> {
        let document = self.0.message().await.map_err(|status| problem(&status))?;
        let Some(document) = document else {
            return Ok(None);
        };
        let line = serde_json::from_slice(&document.json).map_err(|error| {
            Problem::new(code::UNREACHABLE, "the gateway's answer does not read")
                .detail(error)
                .next("Its version may differ from this one's: compare `weft version` there.")
        })?;
        Ok(Some(line))
    }
}
