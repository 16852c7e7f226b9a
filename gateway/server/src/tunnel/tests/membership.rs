//! Who is no member has no connection.

use std::time::{Duration, Instant};

use weft_identity::fixture;
use weft_model::NodeId;

use super::{dial, hello, links, tls};
use crate::testing::{World, eventually, gateway_id, now, pair, within};
use crate::tunnel::close::Close;
use crate::tunnel::hello::Purpose;
use crate::tunnel::tls::Tls;

#[tokio::test]
async fn a_removed_peer_is_cut_at_once() {
    let world = World::new();
    let (a, b) = pair(&world, 2).await;
    let control = a.tunnels.control(b.node()).unwrap();
    let removed = Instant::now();
    a.tunnels.set_peers(Vec::new());
    within("the control connection's end", control.closed()).await;
    eventually("no connections", || links(&a, b.node()).is_empty()).await;
    assert!(removed.elapsed() < NO_TIMEOUT);
    // b keeps dialling and is refused; nothing comes back.
    let refused = a.tunnels.metrics().refused.clone();
    let not_a_member = refused.with_label_values(&["NotAMember"]);
    eventually("b is refused", || not_a_member.get() > 2).await;
    assert!(links(&a, b.node()).is_empty());
    // Once it is a member again it need not do anything.
    a.tunnels.set_peers(vec![b.undialled()]);
    a.until_up(&b, 2).await;
}

#[tokio::test]
async fn a_removed_bundle_cuts_who_relied_on_it() {
    let world = World::new();
    let (a, b) = pair(&world, 1).await;
    let control = a.tunnels.control(b.node()).unwrap();
    let removed = Instant::now();
    let rest = [world.authority("a"), world.authority("c")];
    a.bundles
        .replace(fixture::bundles(&rest).current().iter().cloned().collect());
    within("the control connection's end", control.closed()).await;
    eventually("no connections", || links(&a, b.node()).is_empty()).await;
    assert!(removed.elapsed() < NO_TIMEOUT);
}

#[tokio::test]
async fn a_newcomer_is_admitted_once_the_list_has_it() {
    let world = World::new();
    let (a, b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 1));
    // b knows a, but a's state has not caught up.
    b.tunnels.set_peers(vec![a.target.clone()]);
    eventually("b's dials are refused", || {
        b.tunnels.metrics().dials_failed.get() > 1
    })
    .await;
    a.tunnels.set_peers(vec![b.undialled()]);
    a.until_up(&b, 1).await;
    b.until_up(&a, 1).await;
}

/// What dialling `to` by hand ends in.
async fn refusal(
    from: &crate::testing::Gateway,
    tls: &Tls,
    to: &crate::testing::Gateway,
    node: u64,
) -> Option<Close> {
    let mut hello = hello(from, Purpose::Control, 0);
    hello.node = NodeId(node);
    let refused = within("a refusal", dial(from, tls, to, &hello)).await;
    match refused {
        Ok(_) => None,
        Err(error) => {
            let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(cause) = source {
                if let Some(closed) = cause.downcast_ref::<quinn::ConnectionError>() {
                    return Close::of(closed);
                }
                source = cause.source();
            }
            panic!("not closed by the peer: {error:?}")
        }
    }
}

#[tokio::test]
async fn a_claimed_node_must_match_the_certificate() {
    let world = World::new();
    let (a, b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 1));
    let c = world.gateway(3, "c", 1);
    a.tunnels.set_peers(vec![b.undialled(), c.undialled()]);
    let with = tls(&b);
    assert_eq!(refusal(&b, &with, &a, 3).await, Some(Close::WrongIdentity));
    assert_eq!(refusal(&b, &with, &a, 9).await, Some(Close::NotAMember));
    assert_eq!(refusal(&b, &with, &a, 1).await, Some(Close::NotAMember));
    assert_eq!(a.tunnels.metrics().connected(), 0);
    assert_eq!(refusal(&b, &with, &a, 2).await, None, "the control");
    // A gateway of the right domain under another name.
    let other = fixture::svid(world.authority("b"), &gateway_id("b", 8), now());
    b.svid.replace(other);
    assert_eq!(refusal(&b, &with, &a, 2).await, Some(Close::WrongIdentity));
}

/// Well before the idle timeout: what ended was cut.
const NO_TIMEOUT: Duration = Duration::from_secs(5);
