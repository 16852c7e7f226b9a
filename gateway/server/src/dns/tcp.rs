//! DNS over TCP (RFC 7766): many queries on a connection, answers in any order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::responder::{Responder, Transport};

/// Connections at once; further ones are closed as they come.
const CONNECTIONS_MAX: usize = 256;
/// Queries of one connection that are being answered; then it is not read further.
const PIPELINED_MAX: usize = 128;
/// How long a connection may be silent, a query may take to arrive in whole, and an
/// answer may take to be read (RFC 7766 §6.2.3: a few seconds).
const IDLE: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted, most likely for want of files.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until cancelled.
pub(super) async fn listen(
    listener: TcpListener,
    responder: Arc<Responder>,
    cancel: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Ok(permit) = Arc::clone(&connections).try_acquire_owned() {
                    let connection = serve(stream, peer, Arc::clone(&responder), permit);
                    let cancel = cancel.clone();
                    tokio::spawn(async move { cancel.run_until_cancelled(connection).await });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a DNS connection was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Serves one connection until it is closed or silent for too long.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    responder: Arc<Responder>,
    permit: OwnedSemaphorePermit,
) {
    let _permit = permit;
    // Answers are small and complete: waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let (answers, to_write) = mpsc::channel(PIPELINED_MAX);
    let read = read_queries(reader, peer, &responder, answers);
    let write = write_answers(writer, to_write);
    tokio::join!(read, write);
}

async fn read_queries(
    reader: OwnedReadHalf,
    peer: SocketAddr,
    responder: &Arc<Responder>,
    answers: mpsc::Sender<Vec<u8>>,
) {
    let pipelined = Arc::new(Semaphore::new(PIPELINED_MAX));
    let mut reader = BufReader::new(reader);
    while !answers.is_closed() {
        let Ok(Ok(packet)) = timeout(IDLE, read_message(&mut reader)).await else {
            return;
        };
        let Ok(permit) = Arc::clone(&pipelined).acquire_owned().await else {
            return;
        };
        let (responder, answers) = (Arc::clone(responder), answers.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let response = responder
                .respond(&packet, peer.port(), Transport::Tcp)
                .await;
            if let Some(response) = response {
                // The connection may be gone by now.
                let _ = answers.send(response).await;
            }
        });
    }
}

async fn read_message(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; reader.read_u16().await?.into()];
    reader.read_exact(&mut packet).await?;
    Ok(packet)
}

/// Writes answers until all who might send one are gone, or the client stops reading.
async fn write_answers(mut writer: OwnedWriteHalf, mut answers: mpsc::Receiver<Vec<u8>>) {
    while let Some(answer) = answers.recv().await {
        // Length and message in one segment (RFC 7766 §8).
        let mut framed = Vec::with_capacity(answer.len() + 2);
        framed.extend((answer.len() as u16).to_be_bytes());
        framed.extend(answer);
        match timeout(IDLE, writer.write_all(&framed)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}
