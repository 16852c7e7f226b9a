//! The state of a lossy wire.

use crate::chance::{Chance, Stream};
use crate::counters::DropReason;
use crate::spec::Loss;

/// Decides packet by packet what the wire loses.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    state: State,
    chance: Chance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    Bad,
}

impl Wire {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: State::Good,
            chance: Chance::new(seed, Stream::Loss),
        }
    }

    /// Begins another model in its good state.
    pub(crate) fn reset(&mut self) {
        self.state = State::Good;
    }

    /// Why the next packet is lost, if it is.
    pub(crate) fn lose(&mut self, loss: &Loss) -> Option<DropReason> {
        match loss {
            Loss::None => None,
            Loss::Independent(probability) => self
                .chance
                .happens(*probability)
                .then_some(DropReason::Loss),
            Loss::Bursts(model) => {
                let (leave, other) = match self.state {
                    State::Good => (model.good_to_bad, State::Bad),
                    State::Bad => (model.bad_to_good, State::Good),
                };
                if self.chance.happens(leave) {
                    self.state = other;
                }
                let probability = match self.state {
                    State::Good => model.loss_good,
                    State::Bad => model.loss_bad,
                };
                self.chance
                    .happens(probability)
                    .then_some(DropReason::BurstLoss)
            }
        }
    }
}
