//! The wire's controls, from any task.

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::counters::Counters;
use crate::spec::LinkSpec;

/// An end of a wire; of a direction, the end that packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first device.
    A,
    /// The second device.
    B,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What a wire has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireStats {
    /// Of packets that left through the first device.
    pub from_a: Counters,
    /// Of packets that left through the second device.
    pub from_b: Counters,
    /// Packets that crossed and that the kernel did not take: the far interface is down.
    pub refused: u64,
}

/// The wire has ended; nothing can be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the wire has ended")]
pub struct WireEnded;

/// Controls a running [`Wire`](super::Wire). When the last handle is dropped,
/// the wire ends.
#[derive(Clone, Debug)]
pub struct WireHandle {
    commands: mpsc::Sender<Command>,
}

/// What can be asked of a wire.
#[derive(Debug)]
pub(super) enum Command {
    Set(Side, Box<LinkSpec>, oneshot::Sender<()>),
    Cut(Side, oneshot::Sender<()>),
    Heal(Side, oneshot::Sender<()>),
    Stats(oneshot::Sender<WireStats>),
}

impl WireHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    /// Changes what packets from `side` meet. Those under way keep their times.
    ///
    /// # Errors
    /// [`WireEnded`]; so have all others.
    pub async fn set(&self, side: Side, spec: LinkSpec) -> Result<(), WireEnded> {
        self.ask(|answer| Command::Set(side, Box::new(spec), answer))
            .await
    }

    /// Loses whatever comes from `side` until [`heal`](Self::heal); the other
    /// direction goes on.
    ///
    /// # Errors
    /// [`WireEnded`].
    pub async fn cut(&self, side: Side) -> Result<(), WireEnded> {
        self.ask(|answer| Command::Cut(side, answer)).await
    }

    /// Ends a [`cut`](Self::cut).
    ///
    /// # Errors
    /// [`WireEnded`].
    pub async fn heal(&self, side: Side) -> Result<(), WireEnded> {
        self.ask(|answer| Command::Heal(side, answer)).await
    }

    /// Counts so far.
    ///
    /// # Errors
    /// [`WireEnded`].
    pub async fn stats(&self) -> Result<WireStats, WireEnded> {
        self.ask(Command::Stats).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, WireEnded> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(command(answer)).await;
        sent.map_err(|_| WireEnded)?;
        answered.await.map_err(|_| WireEnded)
    }
}
