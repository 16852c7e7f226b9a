//! Certificates that nobody may accept, in both directions of a QUIC handshake.

use weft_identity::fixture::{self, Corpus, Hostile};
use weft_identity::{BundleSource, SvidSource};
use weft_model::{NodeId, SpiffeId};

use super::{SERVER_NAME, Tls};
use crate::testing::{Gateway, World, now, within};
use crate::tunnel::PeerTarget;
use crate::tunnel::hello::{self, Hello, Purpose};

/// A victim: an honest gateway that trusts what the corpus's victims trust, and
/// whose peers are the corpus's good gateway as node 7.
struct Victim {
    gateway: Gateway,
    tls: Tls,
    good: SpiffeId,
}

impl Victim {
    fn new(world: &World, corpus: &Corpus) -> Self {
        let gateway = world.gateway(1, "a", 1);
        let honest = fixture::svid(&corpus.authority, VICTIM, now());
        gateway.svid.replace(honest.clone());
        gateway
            .bundles
            .replace(corpus.bundles.current().iter().cloned().collect());
        let good = corpus.good.id().clone();
        gateway.tunnels.set_peers(vec![PeerTarget {
            node: NodeId(7),
            cluster: "eu-west-1".parse().unwrap(),
            gateway: "gw-1".parse().unwrap(),
            id: good.clone(),
            address: None,
            key: None,
            relays: false,
        }]);
        let tls = tls(SvidSource::new(honest), &corpus.bundles);
        Self { gateway, tls, good }
    }

    /// Whether the victim admits who dials it with `svid` and says to be node 7.
    async fn admits(
        &self,
        from: &quinn::Endpoint,
        svid: SvidSource,
        bundles: &BundleSource,
    ) -> bool {
        let config = tls(svid, bundles).client(&VICTIM.parse().unwrap()).unwrap();
        let address = self.gateway.address();
        let dialled = async {
            let connecting = from.connect_with(config, address, SERVER_NAME).unwrap();
            let connection = connecting.await?;
            hello::offer(&connection, &claim()).await
        };
        within("the victim's answer", dialled).await.is_ok()
    }

    /// Whether the victim, dialling, believes a server that presents `svid`.
    async fn believes(&self, svid: SvidSource, bundles: &BundleSource) -> bool {
        let config = tls(svid, bundles).server().unwrap();
        let server = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = server.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            let connection = server.accept().await?.await.ok()?;
            // The victim's view counts: if it does not believe, it closes.
            let offered = hello::accept(&connection).await.ok()?;
            offered.answer(&claim()).await.ok()?;
            connection.closed().await;
            Some(())
        });
        let config = self.tls.client(&self.good).unwrap();
        let dialler = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let dialled = async {
            let connecting = dialler.connect_with(config, address, SERVER_NAME).unwrap();
            let connection = connecting.await?;
            hello::offer(&connection, &claim()).await
        };
        let believed = within("the server's answer", dialled).await.is_ok();
        accepting.abort();
        believed
    }
}

#[tokio::test]
async fn no_hostile_certificate_opens_a_tunnel() {
    let (world, corpus) = (World::new(), fixture::hostile(now()));
    let victim = Victim::new(&world, &corpus);
    let from = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut admitted = Vec::new();
    for hostile in &corpus.hostile {
        if victim
            .admits(&from, hostile.source(), &corpus.bundles)
            .await
        {
            admitted.push(hostile.name);
        }
    }
    assert!(admitted.is_empty(), "admitted: {admitted:?}");
    assert!(corpus.hostile.len() >= 45);
    assert_eq!(victim.gateway.tunnels.metrics().connected(), 0);

    let good = SvidSource::new(corpus.good.clone());
    assert!(
        victim.admits(&from, good, &corpus.bundles).await,
        "the control"
    );
}

#[tokio::test]
async fn no_hostile_certificate_is_believed_when_dialled() {
    let (world, corpus) = (World::new(), fixture::hostile(now()));
    let victim = Victim::new(&world, &corpus);
    let believed = |hostile: &Hostile| {
        let source = hostile.source();
        let name = hostile.name;
        let (victim, bundles) = (&victim, &corpus.bundles);
        async move { victim.believes(source, bundles).await.then_some(name) }
    };
    let mut all = Vec::new();
    for hostile in &corpus.hostile {
        all.extend(believed(hostile).await);
    }
    assert!(all.is_empty(), "believed: {all:?}");
    let good = SvidSource::new(corpus.good.clone());
    assert!(victim.believes(good, &corpus.bundles).await, "the control");
}

#[tokio::test]
async fn a_workload_or_operator_is_no_peer() {
    let (world, corpus) = (World::new(), fixture::hostile(now()));
    let victim = Victim::new(&world, &corpus);
    let from = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    for path in [
        "ns/shop/sa/web",
        "user/ada",
        "gateway/gw-1/for/ns/shop/sa/web",
    ] {
        let id = format!("spiffe://eu-west-1.fed.example.org/{path}");
        let svid = SvidSource::new(fixture::svid(&corpus.authority, &id, now()));
        assert!(!victim.admits(&from, svid, &corpus.bundles).await, "{path}");
    }
}

fn tls(svid: SvidSource, bundles: &BundleSource) -> Tls {
    let transport = crate::tunnel::Tuning::default().transport();
    Tls::new(svid, bundles.clone(), transport)
}

fn claim() -> Hello {
    Hello {
        node: NodeId(7),
        gateway: "gw-1".parse().unwrap(),
        incarnation: 1,
        purpose: Purpose::Control,
        worker: 0,
    }
}

const VICTIM: &str = "spiffe://eu-west-1.fed.example.org/gateway/victim";
