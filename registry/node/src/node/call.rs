//! The bodies of calls between registries.

use bytes::Bytes;
use prost::Message;
use weft_model::{FormatLevel, Index, NodeId, Refusal};
use weft_proto::peer::digests_answer::Digest;
use weft_proto::peer::{
    DigestsAnswer, DigestsRequest, ProposeAnswer, TransferAnswer, TransferRequest,
};

use super::error::CallError;
use crate::agreement::Digests;
use crate::wire::WireError;

pub(super) fn propose_answer(answer: &ProposeAnswer) -> Bytes {
    answer.encode_to_vec().into()
}

pub(super) fn read_propose_answer(body: Bytes) -> Result<ProposeAnswer, CallError> {
    ProposeAnswer::decode(body).map_err(|error| CallError::Peer(error.to_string()))
}

/// What a leader says that every replica would say of a proposal.
pub(super) fn foreseen(answer: &ProposeAnswer) -> Option<Refusal> {
    match &answer.early {
        Some(early) => Some(Refusal::Format {
            needs: FormatLevel(early.needs),
            has: FormatLevel(early.has),
        }),
        None => answer.unproven.then_some(Refusal::Signature),
    }
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

pub(super) fn digests_request(at: &[Index]) -> Bytes {
    let at = at.iter().map(|index| index.0).collect();
    DigestsRequest { at }.encode_to_vec().into()
}

/// Positions that a peer asks about, at most [`DIGESTS_MAX`].
pub(super) fn read_digests_request(body: Bytes) -> Result<Vec<Index>, CallError> {
    let request =
        DigestsRequest::decode(body).map_err(|error| WireError::Malformed(error.to_string()))?;
    Ok(request
        .at
        .into_iter()
        .take(DIGESTS_MAX)
        .map(Index)
        .collect())
}

pub(super) fn digests_answer(digests: &Digests, fenced: bool) -> Bytes {
    let row = |(index, digest): (&Index, &u64)| Digest {
        index: index.0,
        digest: *digest,
    };
    let digests = digests.iter().map(row).collect();
    DigestsAnswer { digests, fenced }.encode_to_vec().into()
}

/// A peer's digests, and whether it is fenced.
pub(super) fn read_digests_answer(body: Bytes) -> Result<(Digests, bool), CallError> {
    let answer = DigestsAnswer::decode(body).map_err(|error| CallError::Peer(error.to_string()))?;
    let rows = answer.digests.into_iter().take(DIGESTS_MAX);
    let digests = rows.map(|row| (Index(row.index), row.digest));
    Ok((digests.collect(), answer.fenced))
}

/// Digests in one message.
const DIGESTS_MAX: usize = 64;

#[cfg(test)]
mod mutants;
#[cfg(test)]
mod tests {
    use weft_proto::peer::propose_answer::Early;

    use super::*;

    #[test]
    fn why_a_leader_declines_for_good_arrives() {
        let early = ProposeAnswer {
            early: Some(Early { needs: 8, has: 7 }),
            ..ProposeAnswer::default()
        };
        let unproven = ProposeAnswer {
            unproven: true,
            ..ProposeAnswer::default()
        };
        let (needs, has) = (FormatLevel(8), FormatLevel(7));
        for (answer, refusal) in [
            (early, Some(Refusal::Format { needs, has })),
            (unproven, Some(Refusal::Signature)),
            (ProposeAnswer::default(), None),
        ] {
            let read = read_propose_answer(propose_answer(&answer)).unwrap();
            assert_eq!(foreseen(&read), refusal);
        }
    }
}
