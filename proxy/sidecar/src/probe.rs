//! A connection made for its own sake: what its handshake and its app take.

use std::num::NonZeroU16;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use weft_decide::Reason;
use weft_identity::{BundleSource, SvidSource};
use weft_model::Endpoint;

use crate::inner::{Identities, InnerStream, Protocol, Target};
use crate::stream::BoxStream;

/// How long one step may take.
const STEP_MAX: Duration = Duration::from_secs(5);

/// What was measured over a byte stream to an endpoint's sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// The inner handshake, in which the endpoint proved its identity; or why it did not.
    pub handshake: Result<Duration, Reason>,
    /// From the target's frame to the app's acceptance; none if it did not come to that.
    pub accepted: Option<Result<Duration, Reason>>,
}

/// Does over `stream` what a connection of a client would do, up to the first byte of payload:
/// the same handshake, the same frame, the same status byte. Runs on a worker's thread.
pub async fn probe(
    stream: BoxStream,
    (svid, bundles): (SvidSource, BundleSource),
    endpoint: &Endpoint,
    port: NonZeroU16,
) -> Probed {
    let identities = Identities::new(svid, bundles);
    let handshake = identities.connect(stream, &endpoint.identity, Protocol::Tcp);
    let (inner, handshake) = match timed(handshake).await {
        Ok(done) => done,
        Err(reason) => {
            return Probed {
                handshake: Err(reason),
                accepted: None,
            };
        }
    };
    let target = Target {
        endpoint: endpoint.id,
        service: endpoint.service.clone(),
        port,
    };
    let accepted = timed(accept(inner, &target)).await;
    Probed {
        handshake: Ok(handshake),
        accepted: Some(accepted.map(|((), took)| took)),
    }
}

/// Waits until the app has accepted, and leaves it alone.
async fn accept(mut inner: InnerStream, target: &Target) -> Result<(), Reason> {
    let cut = |_| Reason::ConnectFailed;
    inner.write_all(&target.to_frame()).await.map_err(cut)?;
    inner.flush().await.map_err(cut)?;
    let status = inner.read_u8().await.map_err(cut)?;
    Reason::from_wire(status)?;
    // A polite end: it is no failure of anybody's.
    let _gone = inner.shutdown().await;
    Ok(())
}

async fn timed<T>(step: impl Future<Output = Result<T, Reason>>) -> Result<(T, Duration), Reason> {
    let began = Instant::now();
    let done = timeout(STEP_MAX, step)
        .await
        .unwrap_or(Err(Reason::Timeout))?;
    Ok((done, began.elapsed()))
}
