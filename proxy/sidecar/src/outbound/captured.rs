//! Connections that the kernel redirected here.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Outbound, Shared};
use crate::capture::{Destination, destination, stream_destination};
use crate::pipe::pipe;
use crate::stream::Stream;

/// How long a sidecar that knows no service yet lets a connection wait for the first word.
const TABLE_WAIT: Duration = Duration::from_secs(5);
/// How long a destination that is no service may take to accept; Linux itself takes minutes.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What became of a captured connection, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Captured {
    /// It went to a service.
    Service,
    /// It went where it was going anyway.
    Passed,
    /// It was reset.
    Refused,
}

impl Captured {
    /// The metric's label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Passed => "passed",
            Self::Refused => "refused",
        }
    }
}

impl Outbound {
    /// Serves a connection by the destination that it had: a service as its port
    /// speaks, anything else untouched, this listener itself not at all.
    pub(crate) async fn serve_captured(&self, mut client: TcpStream) {
        let shared = &self.shared;
        let (original, listener) = match stream_destination(&client) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "a connection that nothing redirected");
                shared.recorder.captured(Captured::Refused);
                return client.reset();
            }
        };
        shared.until_loaded().await;
        let to = destination(&shared.tables.load(), original, listener);
        match to {
            Destination::Service(hint) => {
                shared.recorder.captured(Captured::Service);
                self.serve(client, hint).await;
            }
            Destination::Elsewhere(to) => shared.pass(client, to).await,
            Destination::Nowhere => {
                tracing::debug!(%original, "captured connection refused: it is for the capture itself");
                shared.recorder.captured(Captured::Refused);
                client.reset();
            }
        }
    }
}

impl Shared {
    /// Waits for the first table: until then a virtual IP looks like any address.
    async fn until_loaded(&self) {
        let mut changed = self.tables.changed();
        while !self.tables.is_loaded() {
            if !matches!(timeout(TABLE_WAIT, changed.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    async fn pass(&self, mut client: TcpStream, to: SocketAddr) {
        let connected = timeout(CONNECT_MAX, TcpStream::connect(to)).await;
        let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        match connected {
            Ok(mut server) => {
                self.recorder.captured(Captured::Passed);
                // Small frames must not wait for an ACK; without it they only go slower.
                let _ = server.set_nodelay(true);
                let transfer = pipe(&mut client, &mut server).await;
                if let Err(error) = transfer.end {
                    tracing::debug!(%to, %error, "connection cut");
                }
            }
            Err(error) => {
                tracing::debug!(%to, %error, "captured connection refused: no service, and nobody answers there");
                self.recorder.captured(Captured::Refused);
                client.reset();
            }
        }
    }
}
