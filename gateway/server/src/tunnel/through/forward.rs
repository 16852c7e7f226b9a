//! In between: bytes of two streams, under a quota, for as long as the own cluster consents.

use quinn::{RecvStream, SendStream, VarInt};
use tokio::time::{sleep, timeout};
use weft_proto::peer::StreamHeader;
use weft_proto::peer::stream_header::Kind;

use super::quota::Place;
use super::ticket::Ticket;
use super::{ADMITTED, Asked, Refused};
use crate::tunnel::link::PeerStream;
use crate::tunnel::shared::Shared;

/// As much is read at once.
const CHUNK: usize = 64 << 10;
/// The stream ends because its other half has.
const ENDED: VarInt = VarInt::from_u32(2);

/// Leads it to whom its ticket is for.
pub(super) async fn take(mut asked: Asked, ticket: Ticket) {
    let cluster = asked.link.origin.cluster.clone();
    let Some(place) = asked.shared.through.quota.enter(&cluster) else {
        return asked.refuse(Refused::Quota).await;
    };
    let onward = match onward(&asked, ticket).await {
        Ok(onward) => onward,
        Err(refused) => return asked.refuse(refused).await,
    };
    if asked.send.write_all(&[ADMITTED]).await.is_err() {
        return;
    }
    tracing::info!(from = %asked.link.origin.id, to = ticket.to.0, "carrying a connection between two others");
    let Asked {
        shared,
        mut send,
        mut recv,
        hold: _hold,
        ..
    } = asked;
    let PeerStream {
        send: mut onward_send,
        recv: mut onward_recv,
        hold: _onward_hold,
    } = onward;
    let mut consent = shared.through.consent.subscribe();
    tokio::select! {
        () = pump(&shared, &place, &mut recv, &mut onward_send) => {}
        () = pump(&shared, &place, &mut onward_recv, &mut send) => {}
        _ = consent.wait_for(|consents| !consents) => {}
    }
    for send in [&mut send, &mut onward_send] {
        let _ = send.reset(ENDED);
    }
    for recv in [&mut recv, &mut onward_recv] {
        let _ = recv.stop(ENDED);
    }
}

/// A stream to whom the ticket is for, by a direct connection, admitted there.
async fn onward(asked: &Asked, ticket: Ticket) -> Result<PeerStream, Refused> {
    let link = asked.shared.direct_data(ticket.to).ok_or(Refused::NoPath)?;
    let kind = Some(Kind::Through(asked.header.clone()));
    let opened = timeout(super::dial::ANSWER, link.open(&StreamHeader { kind })).await;
    let mut stream = match opened {
        Ok(Ok(stream)) => stream,
        _ => return Err(Refused::NoPath),
    };
    super::dial::admitted(&mut stream.recv).await?;
    Ok(stream)
}

async fn pump(shared: &Shared, place: &Place, from: &mut RecvStream, to: &mut SendStream) {
    while let Ok(Some(chunk)) = from.read_chunk(CHUNK, true).await {
        let wait = place.pass(chunk.bytes.len(), shared.through.now());
        shared.metrics.detoured.inc_by(chunk.bytes.len() as u64);
        if to.write_chunk(chunk.bytes).await.is_err() {
            return;
        }
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}
