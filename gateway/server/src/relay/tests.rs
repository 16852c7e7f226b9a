//! Sidecars' connections through two gateways' tunnels, over real TCP and UDP
//! on loopback.

mod bytes;
mod ends;
mod refusals;
mod silence;
mod upkeep;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use weft_proto::peer::RelayStream;
use weft_proxy::preamble;

use super::{Destination, Limits, Local, Reason, Relay, RelayConfig, SessionId, Sessions, Target};
use crate::testing::{Gateway, World, pair, within};

/// Gateway `near` of cluster a with a sidecar's session, and `far` of cluster b,
/// where a target's port is one of this machine.
struct Federation {
    world: World,
    near: Gateway,
    far: Gateway,
    near_relay: Arc<Relay>,
    far_relay: Arc<Relay>,
    /// What the near gateway tells its sidecar to leave.
    left: mpsc::UnboundedReceiver<u64>,
    counter: AtomicU64,
}

impl Federation {
    async fn new() -> Self {
        Self::with(1, Limits::default()).await
    }

    async fn with(workers: usize, limits: Limits) -> Self {
        let world = World::new();
        let (mut near, mut far) = pair(&world, workers).await;
        let (near_relay, left) = relay(&mut near, limits);
        let (far_relay, _) = relay(&mut far, limits);
        Self {
            world,
            near,
            far,
            near_relay,
            far_relay,
            left,
            counter: AtomicU64::new(0),
        }
    }

    /// Connects to `port` in cluster b, as a sidecar of cluster a.
    async fn connect(&self, port: u16) -> Result<TcpStream, Reason> {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        self.say(&preamble(counter, port)).await
    }

    /// Says `preamble` to the near relay, and waits for its answer.
    async fn say(&self, preamble: &[u8]) -> Result<TcpStream, Reason> {
        let mut tcp = TcpStream::connect(self.near_relay.local_addr())
            .await
            .unwrap();
        tcp.write_all(preamble).await.unwrap();
        let status = within("the relay's answer", tcp.read_u8()).await.unwrap();
        Reason::from_wire(status).map(|()| tcp)
    }

    /// A connection through both gateways: the caller's end and the server's.
    async fn connection(&self) -> (TcpStream, TcpStream) {
        let server = Server::new().await;
        let client = self.connect(server.port).await.unwrap();
        (client, server.accept().await)
    }
}

/// Starts the relay of `gateway`, with one session, and what that is told to leave.
fn relay(gateway: &mut Gateway, limits: Limits) -> (Arc<Relay>, mpsc::UnboundedReceiver<u64>) {
    let sessions = Sessions::default();
    let caller = format!("spiffe://{}/ns/shop/sa/web", gateway.target.id.trust_domain);
    let (leave, left) = mpsc::unbounded_channel();
    sessions.insert(SESSION, &KEY, caller.parse().unwrap(), leave);
    let relay = Relay::start(RelayConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tunnels: gateway.tunnels.clone(),
        incoming: std::mem::take(&mut gateway.relays),
        sessions: Arc::new(sessions),
        authorise: Arc::new(|_, header| match header.port {
            FORBIDDEN => Err(Reason::NotExported),
            UNREACHABLE => Ok(target("c")),
            _ => Ok(target("b")),
        }),
        deliver: Arc::new(|peer, header| {
            assert_eq!(peer.trust_domain.as_str(), "a.fed.example.org");
            let port = u16::try_from(header.port).unwrap();
            match header.port {
                UNKNOWN => Err(Reason::NoSuchEndpoint),
                SELF => Ok(destination(port, Local::Refuse)),
                _ => Ok(destination(port, Local::Allow)),
            }
        }),
        limits,
        idle: Duration::from_secs(3600),
    });
    (relay.unwrap(), left)
}

fn target(cluster: &str) -> Target {
    Target {
        cluster: cluster.parse().unwrap(),
    }
}

fn destination(port: u16, local: Local) -> Destination {
    Destination {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        local,
    }
}

fn preamble(counter: u64, port: u16) -> ::bytes::Bytes {
    let target = RelayStream {
        port: u32::from(port),
        ..RelayStream::default()
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    preamble::encode(SESSION, counter, &key, &target)
}

/// The application at the far end.
struct Server {
    listener: TcpListener,
    port: u16,
}

impl Server {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    async fn accept(&self) -> TcpStream {
        within("a connection", self.listener.accept())
            .await
            .unwrap()
            .0
    }

    /// Echoes every connection until its end, from now on; answers its port.
    fn echo(self) -> u16 {
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = self.listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = tcp.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        self.port
    }
}

const SESSION: SessionId = SessionId([7; 16]);
const KEY: [u8; 32] = [9; 32];
/// Ports with a meaning to the functions above.
const FORBIDDEN: u32 = 1;
const UNREACHABLE: u32 = 2;
const UNKNOWN: u32 = 3;
const SELF: u32 = 4;
