//! Data-plane decisions: route, balance, eject, limit. Pure.
