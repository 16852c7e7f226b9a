//! The bodies of calls between registries.

use bytes::Bytes;
use prost::Message;
use weft_model::NodeId;
use weft_proto::peer::{ProposeAnswer, TransferAnswer, TransferRequest};

use super::error::CallError;
use crate::disk::Space;
use crate::wire::WireError;

pub(super) fn propose_answer(taken: bool, leader: Option<NodeId>, space: Space) -> Bytes {
    let answer = ProposeAnswer {
        taken,
        leader: leader.map_or(0, |leader| leader.0),
        no_room: !taken && space != Space::Enough,
    };
    answer.encode_to_vec().into()
}

pub(super) fn read_propose_answer(body: Bytes) -> Result<ProposeAnswer, CallError> {
    ProposeAnswer::decode(body).map_err(|error| CallError::Peer(error.to_string()))
}

pub(super) fn transfer_request(to: NodeId) -> Bytes {
    TransferRequest { to: to.0 }.encode_to_vec().into()
}

pub(super) fn read_transfer(body: Bytes) -> Result<NodeId, CallError> {
    let request =
        TransferRequest::decode(body).map_err(|error| WireError::Malformed(error.to_string()))?;
    Ok(NodeId(request.to))
}

pub(super) fn transfer_answer(begun: bool) -> Bytes {
    TransferAnswer { begun }.encode_to_vec().into()
}
