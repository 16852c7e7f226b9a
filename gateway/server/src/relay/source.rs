//! The near side: from a sidecar's TCP connection into a tunnel.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;
use weft_decide::Reason;
use weft_model::SpiffeId;
use weft_proto::peer::RelayStream;
use weft_proxy::preamble::Unproven;

use super::limits::Permit;
use super::open::{abandon, open};
use super::pump::pump;
use super::sessions::{Line, Proven};
use super::{Relay, Target};

/// Accepts on `worker`'s share of the port until the tunnels drain.
pub(super) async fn accept(relay: Arc<Relay>, worker: usize, listener: TcpListener) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let accepted = tokio::select! {
            () = relay.tunnels.draining() => return,
            accepted = listener.accept() => accepted,
        };
        let tcp = match accepted {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                tracing::warn!(%error, "accepting a relay connection failed");
                // Out of descriptors, most likely: let connections end.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(stranger) = Arc::clone(&strangers).try_acquire_owned() else {
            relay.metrics.refused(Reason::Overload);
            continue;
        };
        let relay = Arc::clone(&relay);
        spawn_local(async move {
            let mut tcp = tcp;
            let introduced = relay.introduce(&mut tcp).await;
            drop(stranger);
            relay.serve(worker, tcp, introduced).await;
        });
    }
}

/// A caller that has proven itself and may go where it wants.
struct Introduced {
    caller: SpiffeId,
    header: RelayStream,
    line: Line,
    target: Target,
    _permit: Permit,
}

impl Relay {
    /// Reads and judges the preamble.
    async fn introduce(&self, tcp: &mut TcpStream) -> Result<Introduced, Reason> {
        // Latency matters more than packets; a socket that refuses is about to fail anyway.
        let _ = tcp.set_nodelay(true);
        let preamble = match timeout(PREAMBLE, Unproven::read(tcp)).await {
            Ok(Ok(preamble)) => preamble,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a preamble could not be read");
                return Err(Reason::BadPreamble);
            }
            Err(_) => return Err(Reason::Timeout),
        };
        let Proven {
            caller,
            header,
            line,
        } = self.sessions.admit(&preamble)?;
        let target = (self.authorise)(&caller, &header)?;
        let permit = self
            .near
            .admit(&caller.trust_domain)
            .ok_or(Reason::Overload)?;
        Ok(Introduced {
            caller,
            header,
            line,
            target,
            _permit: permit,
        })
    }

    /// Connects an introduced caller, tells it the outcome, and carries its bytes.
    async fn serve(
        &self,
        worker: usize,
        mut tcp: TcpStream,
        introduced: Result<Introduced, Reason>,
    ) {
        let introduced = match introduced {
            Ok(introduced) => introduced,
            Err(reason) => return self.refuse(tcp, reason).await,
        };
        let Introduced { header, target, .. } = &introduced;
        let mut stream = match open(&self.tunnels, worker, &target.cluster, header).await {
            Ok(stream) => stream,
            Err(reason) => return self.refuse(tcp, reason).await,
        };
        let _open = self.metrics.opened();
        if tcp.write_all(&[Reason::CONNECTED]).await.is_err() {
            return abandon(&mut stream);
        }
        let leaving = stream.hold.leaving();
        let mut carried = pin!(pump(tcp, stream, self.idle, &self.metrics));
        let result = tokio::select! {
            biased;
            result = carried.as_mut() => result,
            () = leaving.cancelled() => {
                introduced.line.leave();
                carried.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(caller = %introduced.caller, %error, "a relayed connection was cut");
        }
    }

    /// Says why, and closes so that the byte arrives: unread input would turn
    /// the close into a RST that overtakes it.
    async fn refuse(&self, mut tcp: TcpStream, reason: Reason) {
        self.metrics.refused(reason);
        let last_words = async {
            tcp.write_all(&[reason.to_wire()]).await?;
            tcp.shutdown().await?;
            let mut rest = (&mut tcp).take(UNREAD_MAX);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        let _ = timeout(LAST_WORDS, last_words).await;
    }
}

/// How long a preamble may take.
const PREAMBLE: Duration = Duration::from_secs(5);
/// Connections per worker whose preamble has not been judged.
const STRANGERS_MAX: usize = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long, and for how many bytes, a refused caller is listened to.
const LAST_WORDS: Duration = Duration::from_secs(1);
const UNREAD_MAX: u64 = 64 << 10;
