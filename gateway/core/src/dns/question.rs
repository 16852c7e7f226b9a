//! What is asked, and by whom.

use super::{Name, RecordType};

/// A question of class IN. Other classes do not get this far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    pub record_type: RecordType,
}

/// What an answer depends on beside the question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientView {
    /// Where an answer of several addresses begins. Most clients take the first:
    /// a shell that counts this up spreads them.
    pub turn: u32,
}
