//! The loop that reads two devices, asks the links, and writes what is due.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use thiserror::Error;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::device::Device;
use super::handle::{Command, Side, WireHandle, WireStats};
use super::sys;
use crate::alarm::Alarm;
use crate::link::Link;
use crate::spec::LinkSpec;

/// Commands waiting; they are rare.
const COMMANDS_MAX: usize = 16;
/// Packets read from one device before the other gets its turn.
const BATCH_PACKETS_MAX: usize = 64;
/// No IP packet is larger, jumbograms aside.
const PACKET_BYTES_MAX: usize = 65_535;

/// Two devices joined by a link in each direction; [`run`](Wire::run) it.
#[derive(Debug)]
pub struct Wire {
    a: End,
    b: End,
    commands: mpsc::Receiver<Command>,
    alarm: Alarm,
    buffer: Box<[u8]>,
    refused: u64,
}

/// A device and the link that its packets enter.
#[derive(Debug)]
struct End {
    file: AsyncFd<File>,
    name: String,
    away: Link<Arc<[u8]>>,
}

#[derive(Debug)]
enum Event {
    Asked(Command),
    Due,
    Readable(Side, io::Result<()>),
    HandlesGone,
}

/// Why a wire could not be made, or ended by itself.
#[derive(Debug, Error)]
pub enum WireError {
    /// A device cannot be waited on.
    #[error("cannot wait for packets of {name}")]
    Register {
        /// The interface.
        name: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A device's interface is gone.
    #[error("cannot read from {name}")]
    Read {
        /// The interface.
        name: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

impl Wire {
    /// Joins two devices by perfect links. Equal seeds decide equally.
    ///
    /// # Errors
    /// [`WireError::Register`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub fn new(a: Device, b: Device, seed: u64) -> Result<(WireHandle, Self), WireError> {
        let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
        let wire = Self {
            a: End::new(a, seed)?,
            // Both directions of one seed would lose the same packets.
            b: End::new(b, !seed)?,
            commands,
            alarm: Alarm::new(),
            buffer: vec![0; PACKET_BYTES_MAX].into_boxed_slice(),
            refused: 0,
        };
        Ok((WireHandle::new(commands_in), wire))
    }

    /// Carries packets until every handle is dropped.
    ///
    /// # Errors
    /// [`WireError::Read`].
    pub async fn run(mut self) -> Result<(), WireError> {
        loop {
            match self.next_event().await {
                Event::Asked(command) => self.handle_command(command),
                Event::Due => {}
                Event::Readable(side, ready) => {
                    let read = ready.and_then(|()| self.read(side));
                    read.map_err(|source| WireError::Read {
                        name: self.end(side).name.clone(),
                        source,
                    })?;
                }
                Event::HandlesGone => return Ok(()),
            }
            self.deliver_due();
        }
    }

    async fn next_event(&mut self) -> Event {
        let deadlines = [self.a.away.next_deadline(), self.b.away.next_deadline()];
        self.alarm.set(deadlines.into_iter().flatten().min());
        tokio::select! {
            biased;
            command = self.commands.recv() => command.map_or(Event::HandlesGone, Event::Asked),
            () = self.alarm.ring() => Event::Due,
            ready = self.a.file.readable() => Event::Readable(Side::A, ready.map(drop)),
            ready = self.b.file.readable() => Event::Readable(Side::B, ready.map(drop)),
        }
    }

    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// Puts what leaves through a device on its link, which counts what it drops.
    fn read(&mut self, side: Side) -> io::Result<()> {
        let now = self.alarm.now();
        let end = match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        };
        for _ in 0..BATCH_PACKETS_MAX {
            let Some(bytes) = end.receive(&mut self.buffer)? else {
                break;
            };
            let _ = end.away.push(now, bytes, Arc::from(&self.buffer[..bytes]));
        }
        Ok(())
    }

    fn deliver_due(&mut self) {
        let now = self.alarm.now();
        for side in [Side::A, Side::B] {
            while let Some(packet) = self.end(side).away.poll(now) {
                let mut far = self.end(side.opposite()).file.get_ref();
                // A TUN interface takes a packet whole or not at all.
                if far.write(&packet).is_err() {
                    self.refused += 1;
                }
            }
        }
    }

    /// Whoever asked may have gone away.
    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Set(side, spec, answer) => {
                self.end(side).away.set_spec(*spec);
                let _ = answer.send(());
            }
            Command::Cut(side, answer) => {
                self.end(side).away.cut();
                let _ = answer.send(());
            }
            Command::Heal(side, answer) => {
                self.end(side).away.heal();
                let _ = answer.send(());
            }
            Command::Stats(answer) => {
                let _ = answer.send(WireStats {
                    from_a: *self.a.away.counters(),
                    from_b: *self.b.away.counters(),
                    refused: self.refused,
                });
            }
        }
    }
}

impl End {
    fn new(device: Device, seed: u64) -> Result<Self, WireError> {
        let (file, name) = device.into_parts();
        let file = sys::register(file).map_err(|source| WireError::Register {
            name: name.clone(),
            source,
        })?;
        let away = Link::new(LinkSpec::default(), seed);
        Ok(Self { file, name, away })
    }

    /// The length of the next packet, if one is there.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let read = self
            .file
            .try_io(tokio::io::Interest::READABLE, |mut file| file.read(buffer));
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
