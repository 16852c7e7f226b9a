//! At the end: whoever comes through a third proves itself as on any other connection.

use tokio::time::timeout;

use super::ticket::Ticket;
use super::{ADMITTED, Asked, Refused, socket};
use crate::tunnel::accept;
use crate::tunnel::close::Close;

/// Takes in one connection by the stream, until one of them ends.
pub(super) async fn take(mut asked: Asked, ticket: Ticket) {
    let Some(_place) = asked.shared.through.quota.enter(&asked.link.origin.cluster) else {
        return asked.refuse(Refused::Quota).await;
    };
    if asked.send.write_all(&[ADMITTED]).await.is_err() {
        return;
    }
    let Asked {
        shared,
        worker,
        link,
        send,
        recv,
        hold: _hold,
        ..
    } = asked;
    let Ok(server) = shared.tls.server() else {
        return;
    };
    let Ok((endpoint, carry)) = socket::endpoint(send, recv, Some(server)) else {
        return;
    };
    let connection = async {
        let incoming = timeout(accept::HANDSHAKE, endpoint.accept()).await;
        let incoming = incoming.ok().flatten()?;
        let through = accept::Through {
            via: link.origin.node,
            from: ticket.from,
        };
        let connection = accept::judge(&shared, worker, incoming, Some(through)).await?;
        connection.closed().await;
        Some(())
    };
    tokio::select! {
        _ = connection => {}
        () = carry => {}
    }
    Close::Superseded.apply_all(&endpoint);
}
