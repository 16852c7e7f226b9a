//! A path between two gateways that a test can interfere with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;

/// A path to one address, for any number of diallers, that can be cut, and that
/// can change the address it sends from, as a NAT does.
pub(crate) struct Path {
    pub(crate) address: SocketAddr,
    pub(crate) cut: Arc<AtomicBool>,
    pub(crate) rebind: Arc<AtomicBool>,
}

impl Path {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let path = Self {
            address: near.local_addr().unwrap(),
            cut: Arc::default(),
            rebind: Arc::default(),
        };
        let (cut, rebind) = (Arc::clone(&path.cut), Arc::clone(&path.rebind));
        tokio::spawn(async move {
            let mut flows = std::collections::BTreeMap::new();
            let mut datagram = vec![0; 65536];
            while let Ok((length, from)) = near.recv_from(&mut datagram).await {
                if rebind.swap(false, Ordering::Relaxed) {
                    flows.clear();
                }
                let far = match flows.get(&from) {
                    Some(far) => Arc::clone(far),
                    None => back(target, from, &near, &cut).await,
                };
                if !cut.load(Ordering::Relaxed) {
                    // Refused while nobody listens there.
                    let _ = far.send(&datagram[..length]).await;
                }
                flows.insert(from, far);
            }
        });
        path
    }
}

/// The far socket of one dialler's flow; what arrives there goes back.
async fn back(
    target: SocketAddr,
    from: SocketAddr,
    near: &Arc<UdpSocket>,
    cut: &Arc<AtomicBool>,
) -> Arc<UdpSocket> {
    let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    far.connect(target).await.unwrap();
    let (near, cut, returning) = (Arc::clone(near), Arc::clone(cut), Arc::clone(&far));
    tokio::spawn(async move {
        let mut datagram = vec![0; 65536];
        // Refused datagrams (nobody listens) are errors of one call only.
        loop {
            if let Ok(length) = returning.recv(&mut datagram).await
                && !cut.load(Ordering::Relaxed)
            {
                let _ = near.send_to(&datagram[..length], from).await;
            }
        }
    });
    far
}
