//! What all gateways say, merged into one table. No clock, no socket.
//!
//! While some gateway of the cluster is settled, those that can be heard
//! decide. While none is, what others said last stands as well, so that a
//! sidecar whose gateways all restart goes on with what it knew; but for
//! endpoints that one that is heard says have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_decide::{
    ClusterView, EndpointView, Locality, Place, ReleaseView, ServiceRoutes, ServiceSpec,
    ServiceTable,
};
use weft_model::{ClusterName, Endpoint, EndpointId, Index, ServiceKey, TrustDomain};

use super::mirror::{Change, Mirror};
use super::record::{Record, RecordKey};
use super::releases::Releases;

/// One run of one gateway: its configured address and its stream.
pub(super) type Source = (String, [u8; 16]);

/// The CA certificates of every trust domain, DER.
pub type Bundles = BTreeMap<TrustDomain, Arc<Vec<Vec<u8>>>>;

/// Everything that gateways have said, and the table made of it.
#[derive(Debug)]
pub(super) struct Merge {
    place: Place,
    mirrors: BTreeMap<Source, (Contact, Mirror)>,
    routes: BTreeMap<ServiceKey, Arc<ServiceRoutes>>,
    releases: Releases,
    touched: Touched,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    Open,
    Lost,
}

#[derive(Debug)]
enum Touched {
    Services(BTreeSet<ServiceKey>),
    Everything,
}

impl Merge {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            mirrors: BTreeMap::new(),
            routes: BTreeMap::new(),
            releases: Releases::default(),
            touched: Touched::Everything,
        }
    }

    /// The mirror of `source`.
    pub(super) fn mirror(&mut self, source: &Source) -> Option<&mut Mirror> {
        self.mirrors.get_mut(source).map(|(_, mirror)| mirror)
    }

    /// Where the stream of the gateway at `address` can be resumed.
    pub(super) fn resume(&self, address: &str) -> Option<([u8; 16], u64)> {
        let mut of_address = self.mirrors.iter().filter(|((a, _), _)| a == address);
        of_address.find_map(|((_, stream), (_, mirror))| Some((*stream, mirror.position()?)))
    }

    /// `source` can be heard. Another run of the same gateway is over.
    pub(super) fn open(&mut self, source: &Source, resumed: bool) {
        let (contact, mirror) = self
            .mirrors
            .entry(source.clone())
            .or_insert_with(|| (Contact::Open, Mirror::default()));
        *contact = Contact::Open;
        mirror.open(resumed);
        self.note(Change::Everything);
    }

    /// `source` can be heard no longer. A gateway that never runs for long enough to settle must
    /// not leave a mirror behind with each run: of its lost runs those stay that knew more.
    pub(super) fn lose(&mut self, source: &Source) {
        if let Some((contact, mirror)) = self.mirrors.get_mut(source) {
            *contact = Contact::Lost;
            let worth = mirror.worth();
            self.mirrors.retain(|other, (contact, mirror)| {
                let is_older_run = other.0 == source.0 && other != source;
                !is_older_run || *contact == Contact::Open || mirror.worth() > worth
            });
        }
        self.note(Change::Everything);
    }

    /// Takes in what was on disk.
    pub(super) fn restore(&mut self, (mirror, releases): (Mirror, Releases)) {
        self.releases = releases;
        let disk = (String::new(), [0; 16]);
        self.mirrors.insert(disk, (Contact::Lost, mirror));
        self.note(Change::Everything);
    }

    /// `source` has said everything up to some position: that it knows no release, or another one,
    /// may count from now on. Says whether it may.
    pub(super) fn marked(&mut self, source: &Source) -> bool {
        let Some((_, mirror)) = self.mirrors.get(source) else {
            return false;
        };
        let differs = |(service, known): &(&ServiceKey, &ReleaseView)| {
            let said = release_of(mirror, service).flatten();
            said.map(|said| said.generation) != Some(known.generation)
        };
        let differing = self.releases.iter().filter(differs);
        let differing: Vec<_> = differing.map(|(service, _)| service.clone()).collect();
        for service in &differing {
            self.note(Change::Service(service.clone()));
        }
        !differing.is_empty()
    }

    /// Something changed.
    pub(super) fn note(&mut self, change: Change) {
        match (change, &mut self.touched) {
            (Change::Nothing, _) | (_, Touched::Everything) => {}
            (Change::Service(key), Touched::Services(keys)) => {
                keys.insert(key);
            }
            (Change::Everything, touched) => *touched = Touched::Everything,
        }
    }

    /// The table as it is now; none if nothing changed since the last call.
    pub(super) fn table(&mut self) -> Option<ServiceTable> {
        let touched = std::mem::replace(&mut self.touched, Touched::Services(BTreeSet::new()));
        self.drop_outdated();
        let keys = match touched {
            Touched::Services(keys) if keys.is_empty() => return None,
            Touched::Services(keys) => keys,
            Touched::Everything => {
                self.routes.clear();
                self.services()
            }
        };
        let clusters = self.clusters();
        for key in keys {
            match self.routes_of(&key, &clusters) {
                Some(routes) => self.routes.insert(key, Arc::new(routes)),
                None => self.routes.remove(&key),
            };
        }
        let applied = self.heard().map(|mirror| mirror.applied()).max();
        let routes = self.routes.values().cloned();
        Some(ServiceTable::new(
            self.place.clone(),
            applied.unwrap_or(Index(0)),
            routes,
        ))
    }

    /// The bundles as they are now: of the source that has seen most of the log.
    pub(super) fn bundles(&self) -> Bundles {
        let best = self.heard().max_by_key(|mirror| mirror.applied());
        let records = best.into_iter().flat_map(Mirror::records);
        records
            .filter_map(|(key, record)| match (key, record) {
                (RecordKey::Bundle(domain), Record::Bundle(roots)) => {
                    Some((domain.clone(), Arc::clone(roots)))
                }
                _ => None,
            })
            .collect()
    }

    /// The mirror to keep on disk: the settled one that has seen most of the log.
    /// With it the last word on releases, of all gateways.
    pub(super) fn for_disk(&self) -> Option<(&Mirror, &Releases)> {
        let settled = self.heard().filter(|mirror| mirror.is_settled());
        let newest = settled.max_by_key(|mirror| mirror.applied())?;
        Some((newest, &self.releases))
    }

    fn is_settled(&self) -> bool {
        let open = |(contact, mirror): &(Contact, Mirror)| {
            *contact == Contact::Open && mirror.is_settled()
        };
        self.mirrors.values().any(open)
    }

    /// The mirrors that count.
    fn heard(&self) -> impl Iterator<Item = &Mirror> {
        let settled = self.is_settled();
        let counts = move |(contact, mirror): &&(Contact, Mirror)| {
            mirror.is_synced() && (*contact == Contact::Open || !settled)
        };
        self.mirrors
            .values()
            .filter(counts)
            .map(|(_, mirror)| mirror)
    }

    /// A lost run of a gateway is kept to resume by, or while nobody is settled;
    /// once another run of it is settled it is of no use.
    fn drop_outdated(&mut self) {
        let settled: BTreeSet<String> = self
            .mirrors
            .iter()
            .filter(|(_, (contact, m))| *contact == Contact::Open && m.is_settled())
            .map(|((address, _), _)| address.clone())
            .collect();
        self.mirrors.retain(|(address, _), (contact, _)| {
            let outdated = settled.contains(address) || (address.is_empty() && !settled.is_empty());
            *contact == Contact::Open || !outdated
        });
    }

    fn services(&self) -> BTreeSet<ServiceKey> {
        let records = self.heard().flat_map(Mirror::records);
        records
            .filter_map(|(key, _)| match key {
                RecordKey::Service(service) => Some(service.clone()),
                _ => None,
            })
            .collect()
    }

    fn routes_of(
        &mut self,
        key: &ServiceKey,
        clusters: &BTreeMap<ClusterName, Arc<ClusterView>>,
    ) -> Option<ServiceRoutes> {
        let mut spec = ServiceSpec::clone(self.spec(key)?);
        spec.release = self.release(key);
        let mut endpoints: BTreeMap<(&ClusterName, EndpointId), &Arc<Endpoint>> = BTreeMap::new();
        for endpoint in self.heard().flat_map(|mirror| mirror.endpoints_of(key)) {
            if self.has_ended(endpoint) {
                continue;
            }
            let at = (&endpoint.cluster, endpoint.id);
            let best = endpoints.entry(at).or_insert(endpoint);
            if supersedes(endpoint, best) {
                *best = endpoint;
            }
        }
        let view = |endpoint: &Arc<Endpoint>| {
            let seen = clusters.get(&endpoint.cluster).map(Arc::as_ref);
            let locality = Locality::of(&self.place, &endpoint.cluster, seen, &spec.stale);
            let endpoint = Endpoint::clone(endpoint);
            Arc::new(EndpointView { endpoint, locality })
        };
        let views: Vec<_> = endpoints.into_values().map(view).collect();
        Some(ServiceRoutes::new(spec, &self.place, views))
    }

    /// Whether a gateway that is heard says that the endpoint's owner ended it.
    fn has_ended(&self, endpoint: &Endpoint) -> bool {
        let mut mirrors = self.mirrors.values();
        mirrors.any(|(contact, mirror)| *contact == Contact::Open && mirror.has_ended(endpoint))
    }

    /// The release in effect, by all that is known.
    fn release(&mut self, service: &ServiceKey) -> Option<ReleaseView> {
        let mut releases = std::mem::take(&mut self.releases);
        let said = self.heard().filter_map(|mirror| {
            let release = release_of(mirror, service)?;
            Some((mirror.applied(), release))
        });
        let settled = releases.settle(service, said).cloned();
        self.releases = releases;
        settled
    }

    fn spec(&self, key: &ServiceKey) -> Option<&Arc<ServiceSpec>> {
        let at = RecordKey::Service(key.clone());
        let said = self.heard().filter_map(|m| match m.record(&at) {
            Some(Record::Service(spec)) => Some((m.applied(), spec)),
            _ => None,
        });
        said.max_by_key(|(applied, _)| *applied)
            .map(|(_, spec)| spec)
    }

    /// Each cluster with the best way that any gateway has to it. What an administrator says of it
    /// is told by whoever has seen most of the log.
    fn clusters(&self) -> BTreeMap<ClusterName, Arc<ClusterView>> {
        let mut known: BTreeMap<ClusterName, Arc<ClusterView>> = BTreeMap::new();
        let mut heard: Vec<&Mirror> = self.heard().collect();
        heard.sort_by_key(|mirror| std::cmp::Reverse(mirror.applied()));
        for (key, record) in heard.into_iter().flat_map(Mirror::records) {
            let (RecordKey::Cluster(cluster), Record::Cluster(record)) = (key, record) else {
                continue;
            };
            let rank = |view: &ClusterView| (view.rtt.is_none(), view.rtt);
            let newest = known
                .entry(cluster.clone())
                .or_insert_with(|| Arc::clone(record));
            if rank(record) < rank(newest) {
                Arc::make_mut(newest).rtt = record.rtt;
            }
        }
        known
    }
}

/// The release that a gateway says is in effect for a service; none if it does not know the service.
fn release_of<'m>(mirror: &'m Mirror, service: &ServiceKey) -> Option<Option<&'m ReleaseView>> {
    match mirror.record(&RecordKey::Service(service.clone())) {
        Some(Record::Service(spec)) => Some(spec.release.as_ref()),
        _ => None,
    }
}

/// An owner's later word supersedes; of one word, the gateway that believes it more.
fn supersedes(this: &Endpoint, that: &Endpoint) -> bool {
    (this.sequence, std::cmp::Reverse(this.health))
        > (that.sequence, std::cmp::Reverse(that.health))
}
