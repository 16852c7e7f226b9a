//! The clamps that a gateway knows: its own, and those that others told it. Pure.
//!
//! A set that only grows, and that the log alone prunes: in whatever order gateways, resumes and
//! restarts come, everybody ends with the same clamps, and no gateway's loss of its disk raises a
//! weight elsewhere.

use std::collections::BTreeMap;

use weft_model::{
    Clamp, ClampId, ClusterName, Federation, GatewayName, Percent, RegionName, ServiceKey,
};

/// The most clamps of one cluster's gateways that are kept: one region of each release there may
/// be in a bad hour. More would let one member fill everybody's disk.
pub const CLAMPS_MAX: usize = 256;

/// Clamps by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clamps {
    all: BTreeMap<ClampId, Clamp>,
}

/// Why a gateway does not make a clamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClampRefused {
    /// Too many of its cluster are there.
    #[error("{CLAMPS_MAX} clamps of this cluster are in force, the most there may be")]
    Full,
}

/// Why a clamp that a peer tells of is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeardRefused {
    /// It is neither of the gateway that tells of it, nor of the one that is told, by its cluster.
    #[error("it is not of the gateway that tells of it")]
    Foreign,
    /// It is for callers outside the region of its cluster.
    #[error("it is for another region than its cluster's")]
    Abroad,
    /// It has the id of another one.
    #[error("it has the id of another clamp")]
    Differs,
    /// Too many of that cluster are known.
    #[error("{CLAMPS_MAX} clamps of that cluster are known, the most there may be")]
    Full,
}

impl Clamps {
    /// What was kept on disk.
    pub fn restore(kept: impl IntoIterator<Item = Clamp>) -> Self {
        let all = kept.into_iter().map(|clamp| (clamp.id, clamp));
        Self { all: all.collect() }
    }

    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Clamp> {
        self.all.values()
    }

    /// What gateway `own` tells gateway `peer`: those it made, and those that `peer` made, if they
    /// are of one cluster. A disk that was full may have lost them.
    pub fn told_to<'a>(
        &'a self,
        own: (&'a ClusterName, &'a GatewayName),
        peer: (&'a ClusterName, &'a GatewayName),
    ) -> impl Iterator<Item = &'a Clamp> {
        self.iter().filter(move |clamp| {
            let maker = (&clamp.cluster, &clamp.gateway);
            maker == own || (maker == peer && own.0 == peer.0)
        })
    }

    /// Those for a release.
    pub fn of<'a>(&'a self, release: &'a ServiceKey) -> impl Iterator<Item = &'a Clamp> {
        self.iter().filter(move |clamp| clamp.release == *release)
    }

    /// One that is in force already and lowers as much, so that asking twice makes one.
    pub fn like(&self, wanted: &Clamp, federation: &Federation) -> Option<&Clamp> {
        let record = federation.release(&wanted.release)?;
        self.iter().find(|clamp| {
            clamp.region == wanted.region
                && clamp.weight <= wanted.weight
                && clamp.run == wanted.run
                && clamp.cluster == wanted.cluster
                && clamp.gateway == wanted.gateway
                && record.heeds(&wanted.release, clamp)
        })
    }

    /// Takes in a clamp of this gateway's own making.
    pub fn make(&mut self, clamp: Clamp) -> Result<(), ClampRefused> {
        if self.count(&clamp.cluster) >= CLAMPS_MAX {
            return Err(ClampRefused::Full);
        }
        self.all.insert(clamp.id, clamp);
        Ok(())
    }

    /// Takes in what gateway `peer`, whose cluster is in `region`, says to gateway `own` that it
    /// made, or that `own` made, if they are of one cluster; true if it is new. A member can so
    /// lower its own region, and no other.
    pub fn hear(
        &mut self,
        own: (&ClusterName, &GatewayName),
        peer: (&ClusterName, &GatewayName),
        region: &RegionName,
        clamp: Clamp,
    ) -> Result<bool, HeardRefused> {
        let (cluster, maker) = (peer.0, (&clamp.cluster, &clamp.gateway));
        if maker != peer && (maker != own || own.0 != cluster) {
            return Err(HeardRefused::Foreign);
        }
        if clamp.region != *region {
            return Err(HeardRefused::Abroad);
        }
        match self.all.get(&clamp.id) {
            Some(known) if *known == clamp => return Ok(false),
            Some(_) => return Err(HeardRefused::Differs),
            None if self.count(cluster) >= CLAMPS_MAX => return Err(HeardRefused::Full),
            None => {}
        }
        self.all.insert(clamp.id, clamp);
        Ok(true)
    }

    /// Forgets those that the log has done away with; true if there were any.
    pub fn prune(&mut self, federation: &Federation) -> bool {
        let before = self.all.len();
        self.all.retain(|_, clamp| is_needed(clamp, federation));
        before != self.all.len()
    }

    fn count(&self, cluster: &ClusterName) -> usize {
        self.iter()
            .filter(|clamp| clamp.cluster == *cluster)
            .count()
    }
}

/// Whether the clamp may still lower something. One of a run that this replica has not seen start
/// may: it is behind the gateway that made it.
fn is_needed(clamp: &Clamp, federation: &Federation) -> bool {
    if clamp.run > federation.applied() {
        return true;
    }
    let record = federation.release(&clamp.release);
    record.is_some_and(|record| record.heeds(&clamp.release, clamp))
}

/// What a local abort allows: nothing.
pub const ABORTED: Percent = Percent::NONE;

#[cfg(test)]
mod tests {
    use weft_model::fixture::{Log, name, release};
    use weft_model::{Command, FormatLevel, Index, ReleaseEnd, WallTime};

    use super::*;

    const KEY: &str = "shop/v2";

    fn started() -> Log {
        let mut log = Log::founded();
        log.raise(FormatLevel::RELEASES);
        let spec = Box::new(release("checkout"));
        log.accept(log.admin(), Command::PutRelease(name(KEY), spec));
        log
    }

    fn run(log: &Log) -> Index {
        log.state.release(&name(KEY)).unwrap().created
    }

    fn clamp(log: &Log, id: u8) -> Clamp {
        Clamp {
            id: ClampId([id; 16]),
            release: name(KEY),
            run: run(log),
            region: name("eu-west"),
            cluster: name("eu-west-1"),
            gateway: name("gw-1"),
            weight: ABORTED,
            made: WallTime(7),
            by: name("ana"),
        }
    }

    fn hear(clamps: &mut Clamps, clamp: Clamp) -> Result<bool, HeardRefused> {
        hear_of(clamps, ("us-east-1", "gw-1"), ("eu-west-1", "gw-1"), clamp)
    }

    fn hear_of(
        clamps: &mut Clamps,
        own: (&str, &str),
        peer: (&str, &str),
        clamp: Clamp,
    ) -> Result<bool, HeardRefused> {
        let (own, peer) = (gateway(own), gateway(peer));
        clamps.hear(
            (&own.0, &own.1),
            (&peer.0, &peer.1),
            &name("eu-west"),
            clamp,
        )
    }

    fn gateway((cluster, gateway): (&str, &str)) -> (ClusterName, GatewayName) {
        (name(cluster), name(gateway))
    }

    fn resume(log: &mut Log, lifts: &[u8]) {
        let lifts = lifts.iter().map(|id| ClampId([*id; 16])).collect();
        log.accept(log.admin(), Command::ResumeRelease(name(KEY), lifts));
    }

    #[test]
    fn a_member_lowers_its_own_region_alone() {
        let (log, mut clamps) = (started(), Clamps::default());
        let abroad = Clamp {
            region: name("us-east"),
            ..clamp(&log, 1)
        };
        let foreign = Clamp {
            cluster: name("us-east-1"),
            ..clamp(&log, 1)
        };
        let passed_on = Clamp {
            gateway: name("gw-2"),
            ..clamp(&log, 1)
        };
        assert_eq!(hear(&mut clamps, abroad), Err(HeardRefused::Abroad));
        assert_eq!(hear(&mut clamps, foreign), Err(HeardRefused::Foreign));
        assert_eq!(hear(&mut clamps, passed_on), Err(HeardRefused::Foreign));
        assert_eq!(clamps, Clamps::default());
        assert_eq!(hear(&mut clamps, clamp(&log, 1)), Ok(true));
        assert_eq!(hear(&mut clamps, clamp(&log, 1)), Ok(false));
        let raised = Clamp {
            weight: Percent::ALL,
            ..clamp(&log, 1)
        };
        assert_eq!(hear(&mut clamps, raised), Err(HeardRefused::Differs));
    }

    #[test]
    fn a_gateway_that_lost_its_clamp_is_told_it_by_its_own_cluster_alone() {
        let log = started();
        let maker = ("eu-west-1", "gw-1");
        let mut sibling = Clamps::default();
        hear_of(&mut sibling, ("eu-west-1", "gw-2"), maker, clamp(&log, 1)).unwrap();
        let told = |own, peer| {
            let (own, peer) = (gateway(own), gateway(peer));
            let told = sibling.told_to((&own.0, &own.1), (&peer.0, &peer.1));
            told.cloned().collect::<Vec<_>>()
        };
        assert_eq!(told(("eu-west-1", "gw-2"), maker), [clamp(&log, 1)]);
        assert_eq!(told(("eu-west-1", "gw-2"), ("eu-west-1", "gw-3")), []);
        assert_eq!(told(("us-east-1", "gw-1"), maker), []);
        let mut lost = Clamps::default();
        let mut hear = |peer| hear_of(&mut lost, maker, peer, clamp(&log, 1));
        // Else a member could say of anybody that he lowers.
        assert_eq!(hear(("us-east-1", "gw-1")), Err(HeardRefused::Foreign));
        assert_eq!(hear(("eu-west-1", "gw-2")), Ok(true));
        assert_eq!(hear(("eu-west-1", "gw-2")), Ok(false));
        let other = ("eu-west-1", "gw-3");
        let passed_on = hear_of(
            &mut Clamps::default(),
            other,
            ("eu-west-1", "gw-2"),
            clamp(&log, 1),
        );
        assert_eq!(passed_on, Err(HeardRefused::Foreign));
    }

    #[test]
    fn only_a_resume_that_names_it_lifts_a_clamp() {
        let (mut log, mut clamps) = (started(), Clamps::default());
        for id in [1, 2] {
            hear(&mut clamps, clamp(&log, id)).unwrap();
        }
        log.accept(log.admin(), Command::PauseRelease(name(KEY)));
        resume(&mut log, &[]);
        assert!(!clamps.prune(&log.state));
        resume(&mut log, &[1]);
        assert!(clamps.prune(&log.state));
        let left: Vec<ClampId> = clamps.iter().map(|clamp| clamp.id).collect();
        assert_eq!(left, [ClampId([2; 16])]);
    }

    #[test]
    fn a_peer_that_comes_late_revives_nothing_for_long() {
        let (mut log, mut clamps) = (started(), Clamps::default());
        resume(&mut log, &[1]);
        // It was away while its clamp was lifted, and tells of it still.
        assert_eq!(hear(&mut clamps, clamp(&log, 1)), Ok(true));
        let record = log.state.release(&name(KEY)).unwrap();
        assert!(!record.heeds(&name(KEY), &clamp(&log, 1)));
        assert!(clamps.prune(&log.state));
        assert_eq!(clamps, Clamps::default());
    }

    #[test]
    fn a_replica_that_is_behind_keeps_what_it_does_not_know_yet() {
        let ahead = started();
        let behind = Log::founded();
        let mut clamps = Clamps::default();
        hear(&mut clamps, clamp(&ahead, 1)).unwrap();
        assert!(run(&ahead) > behind.state.applied());
        assert!(!clamps.prune(&behind.state));
        assert!(!clamps.prune(&ahead.state));
        // A run that never was, at a place in the log that has been applied, is none.
        let unknown = Clamp {
            run: Index(1),
            ..clamp(&ahead, 2)
        };
        hear(&mut clamps, unknown).unwrap();
        assert!(clamps.prune(&ahead.state));
        assert_eq!(clamps.iter().count(), 1);
    }

    #[test]
    fn a_clamp_is_over_with_its_run() {
        let (mut log, mut clamps) = (started(), Clamps::default());
        hear(&mut clamps, clamp(&log, 1)).unwrap();
        log.accept(
            log.admin(),
            Command::EndRelease(name(KEY), ReleaseEnd::Abort),
        );
        assert!(!clamps.prune(&log.state), "it still says why");
        let mut next = release("checkout");
        next.waves.pop();
        log.accept(log.admin(), Command::PutRelease(name(KEY), Box::new(next)));
        assert!(clamps.prune(&log.state));
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let log = started();
        let (mut one, mut other) = (Clamps::default(), Clamps::default());
        for id in 1..=20 {
            hear(&mut one, clamp(&log, id)).unwrap();
            hear(&mut other, clamp(&log, 21 - id)).unwrap();
        }
        assert_eq!(one, other);
        assert_eq!(Clamps::restore(one.iter().cloned()), one);
    }

    #[test]
    fn one_member_fills_nobodys_disk() {
        let (log, mut clamps) = (started(), Clamps::default());
        for number in 0..CLAMPS_MAX {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let clamp = Clamp {
                id: ClampId(id),
                ..clamp(&log, 0)
            };
            hear(&mut clamps, clamp).unwrap();
        }
        assert_eq!(hear(&mut clamps, clamp(&log, 9)), Err(HeardRefused::Full));
        assert_eq!(clamps.make(clamp(&log, 9)), Err(ClampRefused::Full));
        let elsewhere = Clamp {
            cluster: name("us-east-1"),
            region: name("us-east"),
            ..clamp(&log, 9)
        };
        clamps.make(elsewhere).unwrap();
    }

    #[test]
    fn asking_twice_makes_one() {
        let (mut log, mut clamps) = (started(), Clamps::default());
        clamps.make(clamp(&log, 1)).unwrap();
        let again = clamp(&log, 2);
        let like = clamps.like(&again, &log.state);
        assert_eq!(like.map(|clamp| clamp.id), Some(ClampId([1; 16])));
        resume(&mut log, &[1]);
        assert_eq!(clamps.like(&again, &log.state), None);
    }
}
