//! The vocabulary of a weft federation and its replicated state.
//!
//! Pure: no clock, no socket, no runtime, no wire type.
