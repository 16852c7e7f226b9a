//! Starts and stops the listeners.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use weft_model::ServiceKey;

use super::forward::Forwarder;
use super::metrics::DnsMetrics;
use super::publish::ZonesSource;
use super::responder::Responder;
use super::udp::{UdpLoop, WAITING_MAX, answer_left_over};
use super::{sys, tcp};

/// Room for queries that arrive while the loop does something else, in bytes. The
/// kernel may grant less.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How long a read lasts before the loop looks whether it should stop.
const READ: Duration = Duration::from_millis(500);
/// How often a port of the system's choice is tried until it is free on UDP and TCP.
const PORT_TRIES: usize = 16;
/// The threads that count: the UDP loop and the control thread.
const UDP_THREAD: usize = 0;
const CONTROL_THREAD: usize = 1;

/// Where to listen and whom to ask.
#[derive(Debug, Clone)]
pub struct DnsServiceConfig {
    /// UDP and TCP address; with port 0 the system chooses one for both.
    pub bind: SocketAddr,
    /// Servers for names outside our zones, in order of preference. Without any,
    /// such names are refused.
    pub upstreams: Vec<SocketAddr>,
    /// Gets the headless services that are asked for and whose endpoints are not
    /// known everywhere.
    pub interest: Option<mpsc::Sender<ServiceKey>>,
}

/// Why DNS could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The address could not be bound.
    #[error("cannot listen for DNS on {address} over {transport}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// `UDP` or `TCP`.
        transport: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The UDP thread could not be started.
    #[error("cannot start the thread for DNS over UDP")]
    Thread(#[source] io::Error),
    /// The metrics could not be described.
    #[error("cannot describe the metrics of DNS")]
    Metrics(#[from] prometheus::Error),
}

/// The running listeners. Dropping it stops them without waiting.
#[derive(Debug)]
pub struct DnsService {
    address: SocketAddr,
    metrics: DnsMetrics,
    socket: Arc<UdpSocket>,
    thread: Option<JoinHandle<()>>,
    tasks: [tokio::task::JoinHandle<()>; 2],
    stop: Arc<AtomicBool>,
    cancel: CancellationToken,
}

impl DnsService {
    /// Starts answering from whatever `zones` holds. Needs a runtime, on which TCP
    /// and forwarding run; UDP has a thread of its own.
    pub fn start(config: DnsServiceConfig, zones: ZonesSource) -> Result<Self, DnsError> {
        let (listener, socket) = bind(config.bind)?;
        let unusable = |source| DnsError::Bind {
            address: config.bind,
            transport: "UDP",
            source,
        };
        let address = socket.local_addr().map_err(unusable)?;
        let socket = Arc::new(socket);
        let metrics = DnsMetrics::new(2)?;
        let responder = Arc::new(Responder {
            zones: Arc::clone(&zones),
            forwarder: Forwarder::new(without_self(config.upstreams, address)),
            interest: config.interest.clone(),
            metrics: metrics.clone(),
            thread: CONTROL_THREAD,
        });
        let (left_over, waiting) = mpsc::channel(WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let udp = UdpLoop {
            socket: Arc::clone(&socket),
            zones,
            recursion: responder.recursion(),
            interest: config.interest,
            left_over,
            metrics: metrics.clone(),
            thread: UDP_THREAD,
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new()
            .name("dns-udp".to_owned())
            .spawn(move || udp.run())
            .map_err(DnsError::Thread)?;
        let cancel = CancellationToken::new();
        let (to_socket, answers) = (Arc::clone(&socket), Arc::clone(&responder));
        let left_over = answer_left_over(waiting, to_socket, answers, cancel.clone());
        let connections = tcp::listen(listener, responder, cancel.clone());
        let tasks = [tokio::spawn(left_over), tokio::spawn(connections)];
        Ok(Self {
            address,
            metrics,
            socket,
            thread: Some(thread),
            tasks,
            stop,
            cancel,
        })
    }

    /// The address listened on, over UDP and TCP.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Its counts, to be registered.
    pub fn metrics(&self) -> &DnsMetrics {
        &self.metrics
    }

    /// Whether UDP is being answered: its thread ends only if the socket breaks.
    pub fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Stops listening, closes connections and waits for the UDP thread. The port
    /// is free when this returns.
    pub async fn shutdown(mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the thread for DNS over UDP ended by a panic");
            }
        }
        for task in &mut self.tasks {
            if task.await.is_err() {
                tracing::error!("a task of DNS ended by a panic");
            }
        }
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.cancel.cancel();
        // Wakes the loop at once. The socket has no peer, so the call fails, and on
        // Linux it wakes readers all the same; the read timeout would in any case.
        let _ = SockRef::from(&*self.socket).shutdown(std::net::Shutdown::Both);
    }
}

impl Drop for DnsService {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Binds both transports to one port.
fn bind(address: SocketAddr) -> Result<(tokio::net::TcpListener, UdpSocket), DnsError> {
    let mut tries = 1;
    loop {
        let listener = bind_tcp(address).map_err(|source| DnsError::Bind {
            address,
            transport: "TCP",
            source,
        })?;
        let bound = listener.local_addr().and_then(bind_udp);
        match bound {
            Ok(socket) => return Ok((listener, socket)),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && address.port() == 0
                    && tries < PORT_TRIES =>
            {
                tries += 1;
            }
            Err(source) => {
                return Err(DnsError::Bind {
                    address,
                    transport: "UDP",
                    source,
                });
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    if let Err(error) = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "the kernel grants DNS no larger receive buffer");
    }
    socket.set_read_timeout(Some(READ))?;
    if address.ip().is_unspecified() {
        // A reply has to come from the address that was asked.
        sys::ask_for_packet_info(&socket)?;
    }
    Ok(socket)
}

/// Upstreams but for this server itself: it would ask itself for ever.
fn without_self(mut upstreams: Vec<SocketAddr>, own: SocketAddr) -> Vec<SocketAddr> {
    upstreams.retain(|upstream| {
        let anywhere = own.ip().is_unspecified() && upstream.ip().is_loopback();
        let is_self = upstream.port() == own.port() && (upstream.ip() == own.ip() || anywhere);
        if is_self {
            tracing::warn!(%upstream, "left out of the DNS upstreams: it is this server");
        }
        !is_self
    });
    upstreams
}
