//! What a client's connection and its requests know of each other.

use std::cell::Cell;
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Link {
    streams: Cell<usize>,
    is_lost: Cell<bool>,
}

impl Link {
    pub(super) fn is_used(&self) -> bool {
        self.streams.get() > 0
    }

    /// The peer gave no sign of life for too long.
    pub(super) fn lose(&self) {
        self.is_lost.set(true);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.get()
    }
}

/// One direction of a stream; the connection is in use while there is any.
pub(crate) struct Used(Rc<Link>);

impl Used {
    pub(super) fn of(link: &Rc<Link>) -> Self {
        link.streams.set(link.streams.get() + 1);
        Self(Rc::clone(link))
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
    }
}
