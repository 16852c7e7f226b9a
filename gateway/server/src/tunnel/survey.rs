//! What is known of each peer's connection at one moment: for people, not for decisions.

use std::net::SocketAddr;
use std::time::Duration;

use weft_model::{ClusterName, GatewayName, NodeId};

use super::Tunnels;
use super::link::{Dialled, Link};
use super::path::{PathState, PeerPath};
use super::shared::canonical;
use crate::sys::SocketFacts;

/// One peer gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSurvey {
    /// Its node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub gateway: GatewayName,
    /// Whether it can be reached.
    pub state: PathState,
    /// The cluster that carries the control connection, if it does not go directly.
    pub through: Option<ClusterName>,
    /// For how long that has been so.
    pub lasting: Duration,
    /// QUIC packets sent on all connections, also those that have ended.
    pub sent: u64,
    /// Of those, packets declared lost.
    pub lost: u64,
    /// Data connections in use, dialled from either side.
    pub data_connections: usize,
    /// The control connection; none while there is none.
    pub control: Option<ConnectionSurvey>,
}

/// One QUIC connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSurvey {
    /// Where the peer's packets come from.
    pub address: SocketAddr,
    /// Whether this gateway dialled it.
    pub dialled_here: bool,
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// The largest UDP payload that the path is known to carry, in bytes.
    pub mtu: u16,
    /// The congestion window, in bytes.
    pub congestion_window: u64,
    /// How often packets of the size in use stopped arriving at once.
    pub black_holes: u64,
    /// From the first packet to the judged hello.
    pub handshake: Duration,
}

/// What surrounds the tunnels on this side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSurvey {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What its socket was granted.
    pub socket: SocketFacts,
}

impl Tunnels {
    /// Every peer, in the order of their nodes.
    pub fn survey(&self) -> Vec<PeerSurvey> {
        let links = self.shared.links.load();
        let paths = self.paths();
        let peer = |(node, path): (&NodeId, &PeerPath)| PeerSurvey {
            node: *node,
            cluster: path.cluster.clone(),
            gateway: path.gateway.clone(),
            state: path.state,
            through: path.through.clone(),
            lasting: path.since.elapsed(),
            sent: path.sent,
            lost: path.lost,
            data_connections: path.data_connections,
            control: links
                .control(self.shared.node, *node)
                .map(|link| connection(link)),
        };
        paths.peers.iter().map(peer).collect()
    }

    /// This side.
    ///
    /// # Errors
    /// The socket cannot say where it listens.
    pub fn survey_local(&self) -> std::io::Result<LocalSurvey> {
        Ok(LocalSurvey {
            listen: self.local_addr()?,
            socket: self.shared.socket,
        })
    }
}

fn connection(link: &Link) -> ConnectionSurvey {
    let path = link.connection.stats().path;
    ConnectionSurvey {
        address: canonical(link.connection.remote_address()),
        dialled_here: link.origin.dialled == Dialled::Here,
        rtt: link.connection.rtt(),
        mtu: path.current_mtu,
        congestion_window: path.cwnd,
        black_holes: path.black_holes_detected,
        handshake: link.origin.handshake,
    }
}
