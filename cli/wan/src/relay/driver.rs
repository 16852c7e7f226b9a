//! The loop that reads sockets, asks the links, and sends what is due.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::mpsc;

use super::config::{ConfigError, RelayConfig};
use super::flows::FlowId;
use super::handle::{Answer, Command, ControlError, RelayHandle, RelayStats};
use super::links::{LinkId, Links};
use super::ports::{Port, Ports, Refusal, Way};
use super::socket::{self, Packet};
use crate::alarm::Alarm;
use crate::moment::Moment;

/// Commands waiting; they are rare.
const COMMANDS_MAX: usize = 16;
/// Datagrams read from one socket before the others get their turn.
const BATCH_PACKETS_MAX: usize = 64;
/// No UDP datagram is larger.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// A bound relay; [`run`](Relay::run) it.
#[derive(Debug)]
pub struct Relay {
    ports: Ports,
    links: Links<Packet>,
    commands: mpsc::Receiver<Command>,
    alarm: Alarm,
    buffer: Box<[u8]>,
    stats: RelayStats,
}

#[derive(Debug)]
enum Event {
    Asked(Command),
    Due,
    Readable(Port, io::Result<()>),
    HandlesGone,
}

/// Why a relay could not be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// The configuration describes no relay.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A front's address could not be had.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The front's address.
        listen: SocketAddr,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

/// Why a relay ended by itself.
#[derive(Debug, Error)]
pub enum RunError {
    /// A front's socket no longer works.
    #[error("cannot receive on {listen}")]
    Receive {
        /// The front's address.
        listen: SocketAddr,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

impl Relay {
    /// Binds every front. The sockets belong to the tokio runtime that this is
    /// called in.
    ///
    /// # Errors
    /// [`BindError::Config`] before anything is bound, [`BindError::Listen`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub fn bind(config: RelayConfig) -> Result<(RelayHandle, Self), BindError> {
        config.validate()?;
        let (links, mut ports) = (Links::new(&config), Ports::new(&config));
        for front in config.fronts {
            let listen = front.listen;
            let bound = ports.open_front(front);
            bound.map_err(|source| BindError::Listen { listen, source })?;
        }
        let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
        let relay = Self {
            ports,
            links,
            commands,
            alarm: Alarm::new(),
            buffer: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
            stats: RelayStats::default(),
        };
        Ok((RelayHandle::new(commands_in), relay))
    }

    /// The address of each front, in the order of [`RelayConfig::fronts`].
    pub fn front_addresses(&self) -> Vec<SocketAddr> {
        let fronts = self.ports.fronts().iter();
        fronts.map(|front| front.listen).collect()
    }

    /// Relays until [`RelayHandle::shutdown`], or until every handle is dropped.
    ///
    /// # Errors
    /// [`RunError::Receive`].
    pub async fn run(mut self) -> Result<(), RunError> {
        loop {
            match self.next_event().await {
                Event::Asked(command) => {
                    if let Some(answer) = self.handle_command(command) {
                        // First the sockets, then the word that they are closed.
                        drop(self);
                        reply(answer, Ok(()));
                        return Ok(());
                    }
                }
                Event::Due => {
                    let now = self.now();
                    self.stats.flows_expired += self.ports.flows().expire(now) as u64;
                }
                Event::Readable(port, ready) => self.handle_readable(port, ready)?,
                Event::HandlesGone => return Ok(()),
            }
            self.send_due();
        }
    }

    async fn next_event(&mut self) -> Event {
        let deadlines = [self.links.next_deadline(), self.ports.next_sweep()];
        self.alarm.set(deadlines.into_iter().flatten().min());
        tokio::select! {
            biased;
            command = self.commands.recv() => command.map_or(Event::HandlesGone, Event::Asked),
            () = self.alarm.ring() => Event::Due,
            (port, ready) = self.ports.readable() => Event::Readable(port, ready),
        }
    }

    fn now(&self) -> Moment {
        self.alarm.now()
    }

    fn send_due(&mut self) {
        let now = self.now();
        while let Some(packet) = self.links.poll(now) {
            if packet.send().is_err() {
                self.stats.send_failed += 1;
            }
        }
    }

    /// Returns whoever waits for the relay's end.
    fn handle_command(&mut self, command: Command) -> Option<Answer<()>> {
        match command {
            Command::Set(pair, spec, answer) => reply(answer, self.links.set(&pair, spec)),
            Command::Cut(span, answer) => reply(answer, self.links.cut(span)),
            Command::Heal(span, answer) => reply(answer, self.links.heal(&span)),
            Command::Rebind(site, answer) => {
                let known = self.links.check_site(&site);
                self.ports.rebind(&site);
                reply(answer, known);
            }
            Command::Stats(answer) => {
                let mut stats = self.stats.clone();
                stats.links = self.links.counters();
                stats.flows = self.ports.flows_len();
                reply(answer, Ok(stats));
            }
            Command::Shutdown(answer) => return Some(answer),
        }
        None
    }

    fn handle_readable(&mut self, port: Port, ready: io::Result<()>) -> Result<(), RunError> {
        let result = ready.and_then(|()| match port {
            Port::Front(front) => self.read_front(front),
            Port::Flow(id) => self.read_flow(id),
        });
        match (result, port) {
            (Ok(()), _) => Ok(()),
            (Err(source), Port::Front(front)) => {
                let listen = self.ports.fronts()[front].listen;
                Err(RunError::Receive { listen, source })
            }
            // The client's next packet gets another.
            (Err(_), Port::Flow(id)) => {
                self.ports.flows().remove(id);
                Ok(())
            }
        }
    }

    /// From clients, towards the site.
    fn read_front(&mut self, front: usize) -> io::Result<()> {
        let socket = Arc::clone(&self.ports.fronts()[front].socket);
        for _ in 0..BATCH_PACKETS_MAX {
            let Some((len, client)) = socket::receive(&socket, &mut self.buffer)? else {
                break;
            };
            match self.way_of_client(front, client) {
                Ok((link, way)) => self.push(link, way, len),
                Err(Refusal::Unroutable) => self.stats.unroutable += 1,
                Err(Refusal::TooMany) => self.stats.flows_refused += 1,
                Err(Refusal::NoSocket) => self.stats.flows_failed += 1,
            }
        }
        Ok(())
    }

    fn way_of_client(
        &mut self,
        front: usize,
        client: SocketAddr,
    ) -> Result<(LinkId, Way), Refusal> {
        let (now, key) = (self.now(), (front, client));
        if let Some(flow) = self.ports.flows().touch_client(now, &key) {
            return Ok((flow.there, flow.way_there()));
        }
        let flow = self.ports.open_flow(now, key, &self.links)?;
        self.stats.flows_opened += 1;
        Ok((flow.there, flow.way_there()))
    }

    /// From the site, back to one client.
    fn read_flow(&mut self, id: FlowId) -> io::Result<()> {
        let now = self.now();
        let Some(((front, client), flow)) = self.ports.flows().touch(now, id) else {
            // Forgotten since it became readable.
            return Ok(());
        };
        let (upstream, link) = (Arc::clone(&flow.upstream), flow.back);
        let way: Way = (Arc::clone(&self.ports.fronts()[front].socket), client);
        for _ in 0..BATCH_PACKETS_MAX {
            let Some((len, _)) = socket::receive(&upstream, &mut self.buffer)? else {
                break;
            };
            self.push(link, way.clone(), len);
        }
        Ok(())
    }

    /// Gives the link the `len` bytes that were read last.
    fn push(&mut self, link: LinkId, (out, to): Way, len: usize) {
        let payload = Arc::from(&self.buffer[..len]);
        let packet = Packet { out, to, payload };
        let bytes = packet.wire_bytes();
        // The link counts what it drops.
        let _ = self.links.push(self.now(), link, bytes, packet);
    }
}

/// Whoever asked may have gone away.
fn reply<T>(answer: Answer<T>, result: Result<T, ControlError>) {
    let _ = answer.send(result);
}
