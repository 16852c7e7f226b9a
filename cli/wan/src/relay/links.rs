//! Every link between the sites, and which of them are cut.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Pair, RelayConfig, SiteId};
use super::handle::ControlError;
use crate::counters::Counters;
use crate::impairment::Verdict;
use crate::link::Link;
use crate::moment::Moment;
use crate::spec::LinkSpec;

/// One link per ordered pair of sites. A link is cut while either of its sites
/// is, or itself.
#[derive(Debug)]
pub(super) struct Links<T> {
    links: Vec<Link<T>>,
    ids: BTreeMap<Pair, LinkId>,
    sites: BTreeSet<SiteId>,
    sites_cut: BTreeSet<SiteId>,
    pairs_cut: BTreeSet<Pair>,
}

/// A link's place, so that packets need no look-up by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkId(usize);

/// What is cut or healed.
#[derive(Clone, Debug)]
pub(super) enum Span {
    /// All links of a site, both ways.
    Site(SiteId),
    /// One direction.
    Pair(Pair),
}

impl<T: Clone> Links<T> {
    pub(super) fn new(config: &RelayConfig) -> Self {
        let sites: BTreeSet<SiteId> = config.sites.iter().map(|site| site.id.clone()).collect();
        let mut links = Vec::new();
        let mut ids = BTreeMap::new();
        for from in &sites {
            for to in sites.iter().filter(|to| *to != from) {
                let pair = Pair::new(from.clone(), to.clone());
                let spec = config.links.get(&pair).copied().unwrap_or_default();
                let seed = seed_of(config.seed, &pair);
                ids.insert(pair, LinkId(links.len()));
                links.push(Link::new(spec, seed));
            }
        }
        Self {
            links,
            ids,
            sites,
            sites_cut: BTreeSet::new(),
            pairs_cut: BTreeSet::new(),
        }
    }

    pub(super) fn id(&self, pair: &Pair) -> Result<LinkId, ControlError> {
        let id = self.ids.get(pair).copied();
        id.ok_or_else(|| ControlError::UnknownLink(pair.clone()))
    }

    pub(super) fn check_site(&self, site: &SiteId) -> Result<(), ControlError> {
        let known = self.sites.contains(site);
        known
            .then_some(())
            .ok_or_else(|| ControlError::UnknownSite(site.clone()))
    }

    pub(super) fn push(&mut self, now: Moment, id: LinkId, bytes: usize, packet: T) -> Verdict {
        self.links[id.0].push(now, bytes, packet)
    }

    pub(super) fn set(&mut self, pair: &Pair, spec: LinkSpec) -> Result<(), ControlError> {
        let id = self.id(pair)?;
        self.links[id.0].set_spec(spec);
        Ok(())
    }

    pub(super) fn cut(&mut self, span: Span) -> Result<(), ControlError> {
        self.check(&span)?;
        match span {
            Span::Site(site) => self.sites_cut.insert(site),
            Span::Pair(pair) => self.pairs_cut.insert(pair),
        };
        self.settle();
        Ok(())
    }

    pub(super) fn heal(&mut self, span: &Span) -> Result<(), ControlError> {
        self.check(span)?;
        match span {
            Span::Site(site) => self.sites_cut.remove(site),
            Span::Pair(pair) => self.pairs_cut.remove(pair),
        };
        self.settle();
        Ok(())
    }

    fn check(&self, span: &Span) -> Result<(), ControlError> {
        match span {
            Span::Site(site) => self.check_site(site),
            Span::Pair(pair) => self.id(pair).map(|_| ()),
        }
    }

    fn settle(&mut self) {
        for (pair, id) in &self.ids {
            let cut = self.pairs_cut.contains(pair)
                || self.sites_cut.iter().any(|site| pair.touches(site));
            let link = &mut self.links[id.0];
            if cut { link.cut() } else { link.heal() }
        }
    }

    /// A packet that is due on any link.
    pub(super) fn poll(&mut self, now: Moment) -> Option<T> {
        self.links.iter_mut().find_map(|link| link.poll(now))
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.links.iter().filter_map(Link::next_deadline).min()
    }

    pub(super) fn counters(&self) -> BTreeMap<Pair, Counters> {
        self.ids
            .iter()
            .map(|(pair, id)| (pair.clone(), *self.links[id.0].counters()))
            .collect()
    }
}

/// FNV-1a over both names: a link's seed does not depend on which other sites
/// there are.
fn seed_of(seed: u64, pair: &Pair) -> u64 {
    let (from, to) = (pair.from.to_string(), pair.to.to_string());
    let bytes = from.bytes().chain([0]).chain(to.bytes());
    bytes.fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Links<u32> {
        let sites = ["a", "b", "c"].into_iter().zip(1..);
        let config = sites.fold(RelayConfig::new(1), |config, (id, port)| {
            config.site(id, ([127, 0, 0, 1], port).into())
        });
        Links::new(&config)
    }

    fn up(links: &mut Links<u32>) -> Vec<String> {
        let pairs: Vec<Pair> = links.ids.keys().cloned().collect();
        let mut arrives = |pair: &Pair| {
            let id = links.id(pair).unwrap();
            matches!(links.push(Moment::START, id, 1, 0), Verdict::Deliver { .. })
        };
        pairs
            .into_iter()
            .filter(|pair| arrives(pair))
            .map(|pair| pair.to_string())
            .collect()
    }

    #[test]
    fn a_cut_of_a_site_and_one_of_a_link_are_healed_apart() {
        let mut links = three();
        links.cut(Span::Site("a".into())).unwrap();
        links.cut(Span::Pair(Pair::new("a", "b"))).unwrap();
        links.cut(Span::Pair(Pair::new("b", "c"))).unwrap();
        assert_eq!(up(&mut links), ["c→b"]);
        links.heal(&Span::Site("a".into())).unwrap();
        assert_eq!(up(&mut links), ["a→c", "b→a", "c→a", "c→b"]);
        links.heal(&Span::Pair(Pair::new("a", "b"))).unwrap();
        links.heal(&Span::Pair(Pair::new("b", "c"))).unwrap();
        assert_eq!(up(&mut links).len(), 6);
    }

    #[test]
    fn every_link_has_a_seed_of_its_own() {
        let seeds: BTreeSet<u64> = three().ids.keys().map(|pair| seed_of(1, pair)).collect();
        assert_eq!(seeds.len(), 6);
    }

    #[test]
    fn unknown_names_are_refused() {
        let mut links = three();
        let nobody = Span::Site("x".into());
        let nowhere = Pair::new("a", "x");
        let unknown = ControlError::UnknownLink(nowhere.clone());
        assert_eq!(
            links.cut(nobody),
            Err(ControlError::UnknownSite("x".into()))
        );
        assert_eq!(
            links.heal(&Span::Pair(nowhere.clone())),
            Err(unknown.clone())
        );
        assert_eq!(links.set(&nowhere, LinkSpec::default()), Err(unknown));
    }
}
