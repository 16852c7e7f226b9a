//! What another cluster's gateways may not say.

use weft_model::EndpointId;

use super::*;

#[test]
fn remote_endpoints_carry_no_address_and_foreign_ones_are_refused() {
    let eu = running(1..=1, at(100));
    let mut us = catalog(US, GATEWAY, 9, at(0));
    Link::open(&eu, EU, GATEWAY, &mut us, at(100)).deliver(&eu, &mut us, 10, at(100));
    let (view, touched) = us.refresh();
    assert_eq!(touched, BTreeSet::from([checkout()]));
    assert_eq!(
        view.service(&checkout()).unwrap().endpoints[0].address,
        None
    );
    let (cluster, epoch): (ClusterName, _) = (name(EU), Epoch([1; 16]));
    assert!(
        !us.peer_attests(&cluster, epoch, endpoint(US, 7, 1)),
        "not its cluster"
    );
    us.open_peer(
        &name("ap-south-1"),
        &name(GATEWAY),
        Epoch([3; 16]),
        false,
        at(100),
    );
    let copied = us.peer_attests(
        &name("ap-south-1"),
        Epoch([3; 16]),
        endpoint("ap-south-1", 1, 9),
    );
    assert!(!copied, "the id is another cluster's");
    // Nor under an id that is bound to one of which nobody has heard.
    for (owner, is_taken) in [("sa-east-1", false), ("ap-south-1", true)] {
        let id = EndpointId::of_cluster(&name(owner), [1; EndpointId::RANDOM]);
        let bound = Endpoint {
            id,
            ..endpoint("ap-south-1", 1, 9)
        };
        let taken = us.peer_attests(&name("ap-south-1"), Epoch([3; 16]), bound);
        assert_eq!(taken, is_taken, "an id of {owner}");
    }
}
