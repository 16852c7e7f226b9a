//! Carries a connection's bytes between TCP and a tunnel stream until both
//! directions have ended.
//!
//! FIN becomes FIN, one direction at a time; RST becomes RESET and STOP_SENDING,
//! and either of these becomes RST. A direction whose reader is slow holds at
//! most one buffer and a stream window: nothing is read before the last piece
//! has been taken. An idle connection holds no buffer.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use quinn::{ReadError, RecvStream, SendStream, StoppedError, VarInt, WriteError};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::metrics::RelayMetrics;
use crate::sys;
use crate::tunnel::PeerStream;

/// Why a relayed connection was cut rather than ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("the TCP connection broke")]
    Tcp(#[source] io::Error),
    #[error("the tunnel stream broke while it was read")]
    Read(#[source] ReadError),
    #[error("the tunnel stream broke while it was written")]
    Write(#[source] WriteError),
    #[error("the far end broke off")]
    Stopped,
    #[error("nothing was carried for too long")]
    Idle,
}

/// Pumps until both directions have ended, or the connection is cut: then both
/// ends are reset.
pub(super) async fn pump(
    tcp: TcpStream,
    mut stream: PeerStream,
    idle: Duration,
    metrics: &RelayMetrics,
) -> Result<(), Cut> {
    let (send, recv) = (&mut stream.send, &mut stream.recv);
    let result = carry(&tcp, send, recv, idle, metrics).await;
    if result.is_err() {
        // Each fails only if that part has ended already.
        let _ = stream.send.reset(CUT);
        let _ = stream.recv.stop(CUT);
        sys::reset_on_close(&tcp);
    }
    result
}

async fn carry(
    tcp: &TcpStream,
    send: &mut SendStream,
    recv: &mut RecvStream,
    idle: Duration,
    metrics: &RelayMetrics,
) -> Result<(), Cut> {
    let active = Cell::new(Instant::now());
    let mut stopped = pin!(send.stopped());
    let mut outward = pin!(outward(tcp, send, &active, metrics));
    let mut inward = pin!(inward(recv, tcp, &active, metrics));
    let mut idled = pin!(idled(&active, idle));
    let (mut out_ended, mut in_ended, mut may_stop) = (false, false, true);
    while !(out_ended && in_ended) {
        tokio::select! {
            ended = &mut outward, if !out_ended => {
                ended?;
                out_ended = true;
            }
            ended = &mut inward, if !in_ended => {
                ended?;
                in_ended = true;
            }
            why = &mut stopped, if may_stop => {
                stop_of(why)?;
                may_stop = false;
            }
            // Nobody reads from TCP any more, so a RST would go unnoticed.
            broken = tcp.ready(Interest::ERROR), if out_ended => return Err(broken_tcp(tcp, broken)),
            () = &mut idled => return Err(Cut::Idle),
        }
    }
    Ok(())
}

/// TCP to the tunnel, until FIN.
async fn outward(
    tcp: &TcpStream,
    send: &mut SendStream,
    active: &Cell<Instant>,
    metrics: &RelayMetrics,
) -> Result<(), Cut> {
    let mut size = Size::Small;
    let mut buffer = BytesMut::new();
    loop {
        tcp.readable().await.map_err(Cut::Tcp)?;
        buffer.reserve(size.bytes());
        match tcp.try_read_buf(&mut buffer) {
            Ok(0) => {
                // Stopped streams cannot be finished; that is noticed elsewhere.
                let _ = send.finish();
                return Ok(());
            }
            Ok(read) => {
                active.set(Instant::now());
                metrics.bytes_out.inc_by(read as u64);
                size = size.after(read);
                let piece = buffer.split().freeze();
                send.write_chunk(piece).await.map_err(Cut::Write)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => buffer = BytesMut::new(),
            Err(error) => return Err(Cut::Tcp(error)),
        }
    }
}

/// The tunnel to TCP, until FIN.
async fn inward(
    recv: &mut RecvStream,
    tcp: &TcpStream,
    active: &Cell<Instant>,
    metrics: &RelayMetrics,
) -> Result<(), Cut> {
    while let Some(chunk) = recv
        .read_chunk(Size::Large.bytes(), true)
        .await
        .map_err(Cut::Read)?
    {
        active.set(Instant::now());
        metrics.bytes_in.inc_by(chunk.bytes.len() as u64);
        write_all(tcp, &chunk.bytes, active)
            .await
            .map_err(Cut::Tcp)?;
    }
    SockRef::from(tcp)
        .shutdown(Shutdown::Write)
        .map_err(Cut::Tcp)
}

async fn write_all(tcp: &TcpStream, mut bytes: &[u8], active: &Cell<Instant>) -> io::Result<()> {
    while !bytes.is_empty() {
        match tcp.try_write(bytes) {
            Ok(written) => {
                active.set(Instant::now());
                bytes = &bytes[written..];
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the end of a stream's sending half is a cut.
fn stop_of(why: Result<Option<VarInt>, StoppedError>) -> Result<(), Cut> {
    match why {
        // Everything has arrived there.
        Ok(None) => Ok(()),
        Ok(Some(_)) | Err(_) => Err(Cut::Stopped),
    }
}

fn broken_tcp(tcp: &TcpStream, ready: io::Result<tokio::io::Ready>) -> Cut {
    let error = match ready {
        Err(error) => error,
        Ok(_) => tcp
            .take_error()
            .ok()
            .flatten()
            .unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()),
    };
    Cut::Tcp(error)
}

/// Resolves once nothing has been carried for `idle`.
async fn idled(active: &Cell<Instant>, idle: Duration) {
    loop {
        let until = active.get() + idle;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}

/// How much is read at once: it follows what the connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    fn bytes(self) -> usize {
        match self {
            Self::Small => 1 << 10,
            Self::Medium => 16 << 10,
            Self::Large => 256 << 10,
        }
    }

    /// One size up after a full read, one down after one that the smaller size
    /// would have held four times.
    fn after(self, read: usize) -> Self {
        match self {
            Self::Small if read >= Self::Small.bytes() => Self::Medium,
            Self::Medium if read >= Self::Medium.bytes() => Self::Large,
            Self::Medium if read < Self::Small.bytes() / 4 => Self::Small,
            Self::Large if read < Self::Medium.bytes() / 4 => Self::Medium,
            same => same,
        }
    }
}

/// The code of RESET and STOP_SENDING for a connection that was cut.
const CUT: VarInt = VarInt::from_u32(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_follow_the_reads() {
        let sizes: Vec<usize> = [1024, 16384, 300_000, 5000, 4000, 4000, 200, 10]
            .into_iter()
            .scan(Size::Small, |size, read| {
                *size = size.after(read);
                Some(size.bytes() >> 10)
            })
            .collect();
        assert_eq!(sizes, [16, 256, 256, 256, 16, 16, 1, 1]);
    }
}
