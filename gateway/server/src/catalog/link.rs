//! The catalog stream between two gateways.
//!
//! Each side attests what it knows at first hand and asks for what it wants;
//! neither passes on what it heard from a third. The two directions are alike
//! and independent of each other.

pub(super) mod frame;
mod hear;
pub(super) mod pace;
mod tell;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use weft_model::{ClusterName, GatewayName};
use weft_plan::catalog::{Epoch, Interest, SetHash};
use weft_proto::catalog as wire;
use weft_proto::catalog::peer_frame::Frame;
use weft_proxy::catalog::wire::WireError;

use super::handle::{CatalogHandle, Inner};

use frame::{FRAME_MAX, read_frame, write_frame};

const HELLO_MAX: Duration = Duration::from_secs(10);

/// Why a catalog stream ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The stream broke or ended.
    #[error("the stream ended")]
    Stream(#[from] io::Error),
    /// The peer does not speak.
    #[error("the peer said nothing for {0:?}")]
    Silent(Duration),
    /// A frame is longer than allowed, in bytes.
    #[error("a frame of {0} bytes, at most {FRAME_MAX} are allowed")]
    TooLong(u32),
    /// A frame cannot be read.
    #[error("a frame cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// A frame breaks a rule.
    #[error("a frame is not lawful: {0}")]
    Frame(#[from] WireError),
    /// The peer says it is somebody else than its certificate says.
    #[error("the peer says it is {said}, its certificate says {proved}")]
    Peer {
        /// As it says.
        said: String,
        /// As it proved.
        proved: String,
    },
}

/// Who is at the other end, as proved by its certificate, and which run of it.
#[derive(Debug, Clone)]
struct Peer {
    cluster: ClusterName,
    gateway: GatewayName,
    epoch: Epoch,
}

/// What the half that reads asks of the half that writes.
#[derive(Debug, Clone, Default)]
struct Wish {
    /// What the peer wants to hear of; none before it said so.
    interest: Option<Asked>,
    /// Counts snapshots that the peer asked for.
    snapshots: u64,
    /// Counts snapshots to ask the peer for.
    resyncs: u64,
}

#[derive(Debug, Clone)]
struct Asked {
    interest: Arc<Interest>,
    revision: u64,
    /// The run and hash of what the peer still has.
    holds: Option<(Epoch, SetHash)>,
}

impl CatalogHandle {
    /// Runs the catalog stream with gateway `gateway` of `cluster`, which is who
    /// its certificate says it is, until it ends. Both sides call this once the
    /// stream is open. There may be one at a time per gateway.
    pub async fn link(
        &self,
        cluster: ClusterName,
        gateway: GatewayName,
        mut reader: impl AsyncRead + Unpin + Send,
        mut writer: impl AsyncWrite + Unpin + Send,
    ) -> Result<(), LinkError> {
        let inner = &*self.inner;
        let paced = inner.paces.begin(&cluster, &gateway).await;
        let own = inner.hello();
        let recovering = own.recovering;
        write_frame(&mut writer, Frame::Hello(own)).await?;
        let first = timeout(HELLO_MAX, read_frame(&mut reader)).await;
        let first = first.map_err(|_| LinkError::Silent(HELLO_MAX))??;
        let Some(Frame::Hello(hello)) = first.frame else {
            return Err(WireError::new("frame", "the first one is a hello").into());
        };
        let peer = greet(cluster, gateway, &hello)?;
        inner.meet(&peer, hello.recovering);
        let _linked = Linked { inner, peer: &peer };
        let (wish, wishes) = watch::channel(Wish::default());
        tokio::select! {
            ended = hear::read(inner, &peer, &mut reader, paced, &wish) => ended,
            ended = tell::write(inner, &peer, &mut writer, wishes, recovering) => ended,
        }
    }
}

/// The peer can be heard; no longer when dropped, however the stream ends.
struct Linked<'a> {
    inner: &'a Inner,
    peer: &'a Peer,
}

impl Drop for Linked<'_> {
    fn drop(&mut self) {
        let now = self.inner.now();
        let mut state = self.inner.state();
        state
            .catalog
            .lose_peer(&self.peer.cluster, self.peer.epoch, now);
        drop(state);
        self.inner.nudge();
    }
}

fn greet(
    cluster: ClusterName,
    gateway: GatewayName,
    hello: &wire::PeerHello,
) -> Result<Peer, LinkError> {
    if hello.cluster != cluster.as_str() || hello.gateway != gateway.as_str() {
        return Err(LinkError::Peer {
            said: format!("{}/{}", hello.cluster, hello.gateway),
            proved: format!("{cluster}/{gateway}"),
        });
    }
    Ok(Peer {
        cluster,
        gateway,
        epoch: epoch(&hello.epoch)?,
    })
}

fn epoch(bytes: &[u8]) -> Result<Epoch, WireError> {
    let epoch = Epoch::from_slice(bytes).filter(|epoch| *epoch != Epoch::DISK);
    epoch.ok_or_else(|| WireError::new("epoch", "has not 16 bytes, or only zeros"))
}

impl Inner {
    fn hello(&self) -> wire::PeerHello {
        wire::PeerHello {
            cluster: self.config.cluster.to_string(),
            gateway: self.config.gateway.to_string(),
            epoch: self.epoch.0.to_vec().into(),
            recovering: self.state().catalog.is_recovering(),
        }
    }

    fn meet(&self, peer: &Peer, recovering: bool) {
        let now = self.now();
        let mut state = self.state();
        let catalog = &mut state.catalog;
        catalog.open_peer(&peer.cluster, &peer.gateway, peer.epoch, recovering, now);
        drop(state);
        self.nudge();
    }
}

/// What is asked of a peer: of one's own cluster everything.
fn asked_of(peer: &ClusterName, own: &ClusterName, interest: &Interest) -> Interest {
    if peer == own {
        Interest::Everything
    } else {
        interest.clone()
    }
}
