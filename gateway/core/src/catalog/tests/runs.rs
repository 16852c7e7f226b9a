//! Gateways that begin anew, over and over.

use super::super::cluster_set::ClusterSet;
use super::*;

#[test]
fn a_gateway_with_many_runs_is_few_witnesses_and_loses_nothing() {
    let (mut set, gateway) = (ClusterSet::new(Timing::default()), name(GATEWAY));
    // It dies and starts a hundred times, and never says that it has recovered.
    for n in 1..=100 {
        let epoch = Epoch([n; 16]);
        set.open(epoch, &gateway, true, at(n.into()));
        set.begin_snapshot(epoch, Interest::Everything);
        assert!(set.attest(epoch, Arc::new(endpoint(EU, n.into(), 1))));
        set.poll(at(n.into()));
    }
    assert!(set.witnesses().count() < 12, "{}", set.witnesses().count());
    let listed = |set: &ClusterSet| set.endpoints_of(&checkout()).count();
    assert_eq!(listed(&set), 100);
    // Once it is heard to have recovered, what it does not attest goes.
    let last = Epoch([100; 16]);
    set.open(last, &gateway, false, at(101));
    let hash = set.hash(last);
    assert_eq!(set.mark(last, hash, at(101)), Ok(()));
    for now in 102..200 {
        set.poll(at(now));
    }
    assert_eq!(listed(&set), 1);
}
