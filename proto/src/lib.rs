//! Wire types generated from the `.proto` files in this folder, and nothing else.
//!
//! Domain types live in `weft-model`; shells convert at the edge, so nothing here
//! reaches a decision.
