//! Link impairment: a pure engine and a UDP relay.
