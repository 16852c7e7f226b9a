//! Through a third cluster: who is carried, and who is not.

use tokio::time::timeout;
use weft_model::{NodeId, WallTime};
use weft_proto::peer::stream_header::Kind;
use weft_proto::peer::{RelayStream, StreamHeader, ThroughStream};

use crate::testing::{Gateway, PATIENCE, World, eventually, now, signing, within};
use crate::tunnel::through::Refused;
use crate::tunnel::through::ticket::Ticket;
use crate::tunnel::{PathState, PeerTarget};

/// Gateways 1 of `a` and 2 of `b`, neither of which knows where the other is, and 3 of `c`, which
/// both reach. `carried` is what `a` takes the consent of `c` for.
async fn apart(world: &World, carried: bool) -> (Gateway, Gateway, Gateway) {
    let (a, b, c) = (
        world.gateway(1, "a", 1),
        world.gateway(2, "b", 1),
        world.gateway(3, "c", 1),
    );
    let third = |relays| PeerTarget {
        relays,
        ..c.target.clone()
    };
    a.tunnels.set_peers(vec![b.undialled(), third(carried)]);
    b.tunnels.set_peers(vec![a.undialled(), third(true)]);
    c.tunnels
        .set_peers(vec![a.target.clone(), b.target.clone()]);
    a.until_up(&c, 2).await;
    b.until_up(&c, 2).await;
    (a, b, c)
}

/// Through whom `from` reaches `to` now, if through anybody.
fn through(from: &Gateway, to: &Gateway) -> Option<String> {
    let paths = from.tunnels.paths();
    let path = paths.peers.get(&to.node())?;
    let up = path.state == PathState::Up && path.data_connections > 0;
    path.through
        .as_ref()
        .filter(|_| up)
        .map(ToString::to_string)
}

#[tokio::test]
async fn two_that_cannot_reach_each_other_go_through_a_third_and_back() {
    let world = World::new();
    let (a, mut b, c) = apart(&world, true).await;
    c.tunnels.set_consent(true);
    for (from, to) in [(&a, &b), (&b, &a)] {
        eventually("through c", || through(from, to).as_deref() == Some("c")).await;
    }

    // The other side sees who asks, not who carries.
    let header = RelayStream {
        port: 80,
        ..RelayStream::default()
    };
    let opened = a.tunnels.open_relay(0, &b.target.cluster, header).await;
    let mut stream = opened.unwrap();
    let mut relay = within("the stream", b.relays[0].recv()).await.unwrap();
    assert_eq!(
        (relay.peer.clone(), relay.cluster.as_str()),
        (a.target.id.clone(), "a")
    );
    let sent = vec![7; 1 << 20];
    let (sending, arrived) = tokio::join!(
        async {
            stream.send.write_all(&sent).await.unwrap();
            stream.send.finish().unwrap();
        },
        within("all bytes", relay.recv.read_to_end(2 << 20)),
    );
    let () = sending;
    assert!(arrived.unwrap() == sent);
    drop((stream, relay));
    assert!(c.tunnels.metrics().detoured.get() > 1 << 20);

    // The direct path is there: the detour ends.
    a.tunnels
        .set_peers(vec![b.target.clone(), c.target.clone()]);
    for (from, to) in [(&a, &b), (&b, &a)] {
        eventually("directly, by direct connections alone", || {
            let links = from.tunnels.shared.links.load();
            let live: Vec<_> = links
                .of(to.node())
                .iter()
                .filter(|l| l.is_alive())
                .collect();
            live.len() >= 2 && live.iter().all(|link| link.is_direct())
        })
        .await;
        assert_eq!(through(from, to), None);
    }
}

#[tokio::test]
async fn a_detour_ends_with_the_consent() {
    let world = World::new();
    let (a, b, c) = apart(&world, true).await;
    let refused = |gateway: &Gateway, why: &str| {
        let refused = &gateway.tunnels.metrics().detours_refused;
        refused.with_label_values(&[why]).get()
    };
    eventually("c refuses", || refused(&c, "Consent") > 0).await;
    assert_eq!(through(&a, &b), None);
    c.tunnels.set_consent(true);
    eventually("through c", || through(&a, &b).is_some()).await;
    c.tunnels.set_consent(false);
    eventually("no longer", || a.state(&b) == Some(PathState::Down)).await;
}

/// What is wrong with a ticket.
type Change = fn(&mut Ticket);

/// What `to` answers to a ticket that `from` shows it.
async fn ask(from: &Gateway, to: &Gateway, header: ThroughStream) -> u8 {
    let link = from.tunnels.shared.direct_data(to.node()).unwrap();
    let kind = Some(Kind::Through(header));
    let mut stream = link.open(&StreamHeader { kind }).await.unwrap();
    let mut byte = [0];
    let answered = timeout(PATIENCE, stream.recv.read_exact(&mut byte)).await;
    answered.unwrap().unwrap();
    byte[0]
}

#[tokio::test]
async fn tickets_that_do_not_hold_carry_nobody() {
    let world = World::new();
    // a does not try by itself.
    let (a, b, c) = apart(&world, false).await;
    c.tunnels.set_consent(true);
    let mut nonce = 0;
    let mut ticket = || {
        nonce += 1;
        Ticket {
            from: a.node(),
            via: c.node(),
            to: b.node(),
            nonce: [nonce; 16],
            issued: now(),
        }
    };
    let refused = Refused::Ticket as u8;
    let key = signing(1);
    let good = ticket().sign(&key);
    assert_eq!(ask(&a, &c, good.clone()).await, 0, "it is carried");
    assert_eq!(ask(&a, &c, good.clone()).await, Refused::Spent as u8);
    // c shows it once more than it was told to.
    assert_eq!(ask(&c, &b, good.clone()).await, Refused::Spent as u8);
    let forged = ticket().sign(&signing(3));
    assert_eq!(ask(&a, &c, forged.clone()).await, refused, "signed by c");
    assert_eq!(ask(&c, &b, forged).await, refused, "signed by c itself");
    assert_eq!(
        ask(&b, &c, ticket().sign(&key)).await,
        refused,
        "b shows a's"
    );
    let changed = |change: Change, mut ticket: Ticket| {
        change(&mut ticket);
        ticket.sign(&key)
    };
    let cases: [(&str, Change); 5] = [
        ("for c itself", |t| t.to = NodeId(3)),
        ("back to a", |t| t.to = NodeId(1)),
        ("for nobody", |t| t.to = NodeId(9)),
        ("through another", |t| t.via = NodeId(2)),
        ("of last week", |t| {
            t.issued = WallTime(t.issued.0 - 7 * 86_400_000);
        }),
    ];
    for (what, change) in cases {
        let header = changed(change, ticket());
        assert_eq!(ask(&a, &c, header.clone()).await, refused, "{what}, at c");
        assert_eq!(ask(&c, &b, header).await, refused, "{what}, at b");
    }
    let nonsense = ThroughStream {
        ticket: vec![0xff; 40].into(),
        signature: vec![1; 3].into(),
    };
    assert_eq!(ask(&a, &c, nonsense).await, refused);
    c.tunnels.set_consent(false);
    assert_eq!(
        ask(&a, &c, ticket().sign(&key)).await,
        Refused::Consent as u8
    );
}
