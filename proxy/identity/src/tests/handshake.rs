//! In-memory handshakes: real rustls connections fed by buffers.

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::UnixTime;
use weft_model::WallTime;

/// 2026-01-01T00:00:00Z.
pub(super) const NOW: WallTime = WallTime(1_767_225_600_000);

#[derive(Debug)]
struct Fixed;

impl rustls::time_provider::TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(NOW))
    }
}

pub(super) fn unix(time: WallTime) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_millis(time.0))
}

pub(super) struct Pair {
    pub(super) client: ClientConnection,
    pub(super) server: ServerConnection,
}

/// Which side refused, and why.
#[derive(Debug)]
pub(super) enum Failed {
    Client(rustls::Error),
    Server(rustls::Error),
}

pub(super) fn pair(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Pair {
    let (mut client, mut server) = (ClientConfig::clone(client), ServerConfig::clone(server));
    client.time_provider = Arc::new(Fixed);
    server.time_provider = Arc::new(Fixed);
    Pair {
        client: ClientConnection::new(client.into(), crate::server_name()).unwrap(),
        server: ServerConnection::new(server.into()).unwrap(),
    }
}

impl Pair {
    pub(super) fn handshake(mut self) -> Result<Self, Failed> {
        while self.turn()? {}
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
        Ok(self)
    }

    /// Moves what either side has to say; false once both are silent.
    pub(super) fn turn(&mut self) -> Result<bool, Failed> {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        let mut moved = !wire.is_empty();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            self.server.read_tls(&mut rest).unwrap();
            self.server.process_new_packets().map_err(Failed::Server)?;
        }
        let mut wire = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut wire).unwrap();
        }
        moved |= !wire.is_empty();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).unwrap();
            self.client.process_new_packets().map_err(Failed::Client)?;
        }
        Ok(moved)
    }
}
