//! What is known of the way that an open connection takes.

use tokio_util::sync::CancellationToken;

use crate::stream::BoxStream;

/// The way of one connection, for as long as it is held.
pub trait Way {
    /// Cancelled once the way is about to end: what runs may finish, nothing new
    /// should begin on it. None: it never is.
    fn leaving(&self) -> Option<CancellationToken>;

    /// Nothing comes back by it: where there are others, they are to be preferred.
    fn doubt(&self);
}

/// A byte stream to an endpoint of another cluster.
pub struct Line {
    /// The bytes.
    pub stream: BoxStream,
    /// The way they take.
    pub way: Box<dyn Way>,
}

/// Straight to the endpoint: no process between could go away.
pub(crate) struct Direct;

impl Way for Direct {
    fn leaving(&self) -> Option<CancellationToken> {
        None
    }

    fn doubt(&self) {}
}
