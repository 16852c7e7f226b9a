//! The relay's controls, from any task.

use std::collections::BTreeMap;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::config::{Pair, SiteId};
use super::links::Span;
use crate::counters::Counters;
use crate::spec::LinkSpec;

/// Controls a running [`Relay`](super::Relay). When the last handle is dropped,
/// the relay ends.
#[derive(Clone, Debug)]
pub struct RelayHandle {
    commands: mpsc::Sender<Command>,
}

/// What the relay has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Per direction, as the link counts.
    pub links: BTreeMap<Pair, Counters>,
    /// Flows at present.
    pub flows: usize,
    /// Flows made.
    pub flows_opened: u64,
    /// Flows forgotten because nobody used them.
    pub flows_expired: u64,
    /// Packets dropped because there were too many flows.
    pub flows_refused: u64,
    /// Packets dropped because no socket could be had for their flow.
    pub flows_failed: u64,
    /// Packets dropped because they came from no site's address, or from the
    /// very site they go to.
    pub unroutable: u64,
    /// Packets that crossed their link and that the kernel did not take.
    pub send_failed: u64,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// No such site.
    #[error("no site is called {0}")]
    UnknownSite(SiteId),
    /// No such link.
    #[error("there is no link {0}")]
    UnknownLink(Pair),
    /// The relay has ended.
    #[error("the relay has ended")]
    Ended,
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, ControlError>>;

/// What can be asked of a relay.
#[derive(Debug)]
pub(super) enum Command {
    Set(Pair, LinkSpec, Answer<()>),
    Cut(Span, Answer<()>),
    Heal(Span, Answer<()>),
    Rebind(SiteId, Answer<()>),
    Stats(Answer<RelayStats>),
    Shutdown(Answer<()>),
}

impl RelayHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    /// Changes what lies between two sites, in one direction. Packets under way
    /// keep their times.
    ///
    /// # Errors
    /// [`ControlError::UnknownLink`], [`ControlError::Ended`].
    pub async fn set(&self, pair: &Pair, spec: LinkSpec) -> Result<(), ControlError> {
        self.ask(|answer| Command::Set(pair.clone(), spec, answer))
            .await
    }

    /// Takes a site off the network, both ways.
    ///
    /// # Errors
    /// [`ControlError::UnknownSite`], [`ControlError::Ended`].
    pub async fn cut(&self, site: &SiteId) -> Result<(), ControlError> {
        self.ask(|answer| Command::Cut(Span::Site(site.clone()), answer))
            .await
    }

    /// Ends [`cut`](Self::cut); links cut by themselves stay so.
    ///
    /// # Errors
    /// As [`cut`](Self::cut).
    pub async fn heal(&self, site: &SiteId) -> Result<(), ControlError> {
        self.ask(|answer| Command::Heal(Span::Site(site.clone()), answer))
            .await
    }

    /// Cuts one direction between two sites.
    ///
    /// # Errors
    /// [`ControlError::UnknownLink`], [`ControlError::Ended`].
    pub async fn cut_link(&self, pair: &Pair) -> Result<(), ControlError> {
        self.ask(|answer| Command::Cut(Span::Pair(pair.clone()), answer))
            .await
    }

    /// Ends [`cut_link`](Self::cut_link); cuts of its sites stay.
    ///
    /// # Errors
    /// As [`cut_link`](Self::cut_link).
    pub async fn heal_link(&self, pair: &Pair) -> Result<(), ControlError> {
        self.ask(|answer| Command::Heal(Span::Pair(pair.clone()), answer))
            .await
    }

    /// Forgets the flows of a site's packets, as a NAT that restarts: its peers
    /// see the next ones come from another port.
    ///
    /// # Errors
    /// [`ControlError::UnknownSite`], [`ControlError::Ended`].
    pub async fn rebind(&self, site: &SiteId) -> Result<(), ControlError> {
        self.ask(|answer| Command::Rebind(site.clone(), answer))
            .await
    }

    /// Counts so far.
    ///
    /// # Errors
    /// [`ControlError::Ended`].
    pub async fn stats(&self) -> Result<RelayStats, ControlError> {
        self.ask(Command::Stats).await
    }

    /// Ends the relay and returns when its sockets are closed. Packets under way
    /// are lost.
    ///
    /// # Errors
    /// [`ControlError::Ended`] if it had ended before.
    pub async fn shutdown(&self) -> Result<(), ControlError> {
        self.ask(Command::Shutdown).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, ControlError> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(command(answer))
            .await
            .map_err(|_| ControlError::Ended)?;
        answered.await.unwrap_or(Err(ControlError::Ended))
    }
}
