//! The registry node: the Raft driver, its log and snapshots on disk, membership and watches.
