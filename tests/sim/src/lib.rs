//! The seeded simulation of the registry.
