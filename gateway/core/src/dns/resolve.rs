//! From a question to its answer.

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_model::ServicePort;

use super::entry::{Addresses, Addressing, Entry};
use super::step::Trace;
use super::walk::{Found, walk};
use super::zones::{Content, Services, Zone};
use super::{
    Answer, Audience, ClientView, ExtendedError, Name, Question, RData, Record, RecordType, Scope,
    Srv, Step, Unknown, Verdict, Zones,
};

/// The version of the MCS DNS specification that names follow, and its TTL in seconds.
const SCHEMA_VERSION: (&str, u32) = ("1.0.0", 28_800);
/// TTL of the answer to ANY and of this gateway's own name, in seconds.
const OWN_TTL: u32 = 60;
/// SRV: one priority for all, since no cluster is preferred by name.
const SRV_PRIORITY: u16 = 0;
/// SRV: the weight of the one target of a virtual IP.
const SRV_WEIGHT: u16 = 100;

/// An answer and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The answer, as it is given.
    pub answer: Answer,
    /// The steps to it, in order.
    pub steps: Vec<Step>,
}

/// Answers a question.
pub fn answer(zones: &Zones, question: &Question, client: &ClientView) -> Answer {
    resolve(zones, question, client, &mut Trace::off())
}

/// Answers a question and says why, by the same steps as [`answer`].
pub fn explain(zones: &Zones, question: &Question, client: &ClientView) -> Explanation {
    let mut trace = Trace::on();
    let answer = resolve(zones, question, client, &mut trace);
    Explanation {
        answer,
        steps: trace.into_steps(),
    }
}

fn resolve(zones: &Zones, question: &Question, client: &ClientView, trace: &mut Trace) -> Answer {
    let Some((zone, labels)) = zones.locate(&question.name) else {
        trace.note(|| Step::OutsideZones);
        return Answer::bare(Verdict::NotOurs);
    };
    trace.note(|| Step::InZone(zone.name().clone()));
    let Content::Services(services) = &zones.content else {
        trace.note(|| Step::NoState);
        return Answer::bare(Verdict::CannotKnow(Unknown {
            error: ExtendedError::NotReady,
            why: "no state of the federation has arrived here yet".to_owned(),
        }));
    };
    let found = walk(services, zone, &labels, trace);
    let resolver = Resolver {
        zones,
        services,
        zone,
        question,
        client,
    };
    let mut answer = resolver.answer(&found, trace);
    if let Some(entry) = found.entry().filter(|entry| entry.is_partly_unknown()) {
        answer.wanted = Some(entry.key.clone());
        answer.audience = Audience::ThisClient;
    }
    answer
}

struct Resolver<'a> {
    zones: &'a Zones,
    services: &'a Services,
    zone: Zone<'a>,
    question: &'a Question,
    client: &'a ClientView,
}

/// The records at a name that a question selects, and what goes with them.
struct Selected {
    answers: Vec<Record>,
    additional: Vec<Record>,
    audience: Audience,
    /// Whether the name has records at all.
    bare: bool,
}

impl Selected {
    fn only(answers: Vec<Record>) -> Self {
        Self {
            answers,
            additional: Vec::new(),
            audience: Audience::Everyone,
            bare: false,
        }
    }
}

impl Resolver<'_> {
    fn answer(&self, found: &Found<'_>, trace: &mut Trace) -> Answer {
        let selected = match found {
            Found::Nothing => return self.denial(Verdict::NoName),
            Found::Unknown(entry) => return cannot_know(entry),
            Found::Between => return self.denial(Verdict::NoData),
            Found::Service(entry) | Found::Port(entry, _) if has_no_address(entry) => {
                return cannot_know(entry);
            }
            Found::Apex(zone) => self.at_apex(*zone),
            Found::Server => self.at_server(),
            Found::SchemaVersion => self.at_schema_version(),
            Found::Service(entry) => self.at_service(entry),
            Found::Host(entry, addresses) => self.addresses(addresses, entry.ttl),
            Found::Port(entry, port) => self.at_port(entry, port),
        };
        if self.question.record_type == RecordType::ANY && !selected.bare {
            trace.note(|| Step::AnyIsMinimal);
            return self.found(Selected::only(vec![
                self.record(OWN_TTL, RData::Hinfo("RFC8482")),
            ]));
        }
        if selected.answers.is_empty() {
            trace.note(|| Step::NoRecord(self.question.record_type));
            return self.denial(Verdict::NoData);
        }
        self.found(selected)
    }

    fn found(&self, selected: Selected) -> Answer {
        Answer {
            answers: selected.answers,
            additional: selected.additional,
            audience: selected.audience,
            ..Answer::bare(Verdict::Found)
        }
    }

    fn denial(&self, verdict: Verdict) -> Answer {
        let zone = self.zone.name();
        Answer::denial(verdict, self.zones.soa(zone).in_denial(zone))
    }

    fn record(&self, ttl: u32, data: RData) -> Record {
        Record {
            owner: self.question.name.clone(),
            ttl,
            data,
        }
    }

    fn at_apex(&self, zone: Zone<'_>) -> Selected {
        let name = zone.name();
        let soa = self.zones.soa(name);
        match self.question.record_type {
            RecordType::SOA => Selected::only(vec![soa.in_answer(name)]),
            RecordType::NS => {
                let mut additional = Vec::new();
                self.server_addresses(&soa.primary, &mut additional);
                Selected {
                    additional,
                    ..Selected::only(vec![soa.name_server(name)])
                }
            }
            _ => Selected::only(Vec::new()),
        }
    }

    fn at_server(&self) -> Selected {
        let mut all = Vec::new();
        self.server_addresses(&self.question.name, &mut all);
        let bare = all.is_empty();
        all.retain(|record| record.data.record_type() == self.question.record_type);
        Selected {
            bare,
            ..Selected::only(all)
        }
    }

    fn server_addresses(&self, owner: &Name, into: &mut Vec<Record>) {
        let ipv4 = self.services.servers_v4.iter().map(|v4| RData::A(*v4));
        let ipv6 = self.services.servers_v6.iter().map(|v6| RData::Aaaa(*v6));
        into.extend(ipv4.chain(ipv6).map(|data| Record {
            owner: owner.clone(),
            ttl: OWN_TTL,
            data,
        }));
    }

    fn at_schema_version(&self) -> Selected {
        let (version, ttl) = SCHEMA_VERSION;
        let asked = self.question.record_type == RecordType::TXT;
        let record = || self.record(ttl, RData::Txt(version));
        Selected::only(asked.then(record).into_iter().collect())
    }

    fn at_service(&self, entry: &Entry) -> Selected {
        match &entry.addressing {
            Addressing::Virtual(addresses) => self.addresses(addresses.as_slice(), entry.ttl),
            Addressing::Headless(clusters) => {
                let all: Vec<Addresses> = clusters
                    .iter()
                    .flat_map(|cluster| cluster.answering().map(|(_, addresses)| addresses))
                    .collect();
                self.addresses(&all, entry.ttl)
            }
        }
    }

    /// Address records of the question's type, beginning at the client's turn.
    fn addresses(&self, all: &[Addresses], ttl: u32) -> Selected {
        let mut data: Vec<RData> = match self.question.record_type {
            RecordType::A => sorted(all.iter().filter_map(|a| a.ipv4))
                .map(RData::A)
                .collect(),
            RecordType::AAAA => sorted(all.iter().filter_map(|a| a.ipv6))
                .map(RData::Aaaa)
                .collect(),
            _ => Vec::new(),
        };
        let audience = match data.len() {
            0 | 1 => Audience::Everyone,
            several => {
                data.rotate_left(self.client.turn as usize % several);
                Audience::ThisClient
            }
        };
        Selected {
            audience,
            ..Selected::only(
                data.into_iter()
                    .map(|data| self.record(ttl, data))
                    .collect(),
            )
        }
    }

    fn at_port(&self, entry: &Entry, port: &ServicePort) -> Selected {
        if self.question.record_type != RecordType::SRV {
            return Selected::only(Vec::new());
        }
        let mut selected = Selected::only(Vec::new());
        let mut point = |target: Option<Name>, weight: u16, addresses: Addresses| {
            // A target too long to be a name cannot be asked for either.
            let Some(target) = target else { return };
            let srv = Srv {
                priority: SRV_PRIORITY,
                weight,
                port: port.port.get(),
                target: target.clone(),
            };
            selected
                .answers
                .push(self.record(entry.ttl, RData::Srv(srv)));
            selected
                .additional
                .extend(address_records(&target, addresses, entry.ttl));
        };
        match &entry.addressing {
            Addressing::Virtual(None) => {}
            Addressing::Virtual(Some(addresses)) => {
                point(self.service_name(entry), SRV_WEIGHT, *addresses);
            }
            Addressing::Headless(clusters) => {
                for cluster in clusters {
                    for (endpoint, addresses) in cluster.answering() {
                        let name = self.host_name(entry, cluster.cluster.as_str(), &endpoint.label);
                        point(name, endpoint.weight, addresses);
                    }
                }
            }
        }
        selected.answers.dedup();
        selected
    }

    /// The name under which the entry itself stands.
    fn service_name(&self, entry: &Entry) -> Option<Name> {
        let (name, namespace) = (entry.key.name.as_str(), entry.key.namespace.as_str());
        let own = &self.zones.own;
        match &entry.scope {
            Scope::Federation => Name::under(&[name, namespace, "svc"], &self.zones.clusterset),
            Scope::Cluster(c) => Name::under(&[name, namespace, "svc", c.as_str(), "cluster"], own),
            Scope::Region(r) => Name::under(&[name, namespace, "svc", r.as_str(), "region"], own),
        }
    }

    /// The name of one endpoint: MCS's in the federation, ours elsewhere.
    fn host_name(&self, entry: &Entry, cluster: &str, host: &str) -> Option<Name> {
        let (name, namespace) = (entry.key.name.as_str(), entry.key.namespace.as_str());
        match &entry.scope {
            Scope::Federation => Name::under(
                &[host, cluster, name, namespace, "svc"],
                &self.zones.clusterset,
            ),
            Scope::Cluster(_) | Scope::Region(_) => Name::under(
                &[host, name, namespace, "svc", cluster, "cluster"],
                &self.zones.own,
            ),
        }
    }
}

fn has_no_address(entry: &Entry) -> bool {
    matches!(entry.addressing, Addressing::Virtual(None))
}

fn sorted<T: Ord>(addresses: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let mut all: Vec<T> = addresses.collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
}

fn address_records(owner: &Name, addresses: Addresses, ttl: u32) -> impl Iterator<Item = Record> {
    let ipv4 = addresses.ipv4.map(|v4: Ipv4Addr| RData::A(v4));
    let ipv6 = addresses.ipv6.map(|v6: Ipv6Addr| RData::Aaaa(v6));
    ipv4.into_iter().chain(ipv6).map(move |data| Record {
        owner: owner.clone(),
        ttl,
        data,
    })
}

fn cannot_know(entry: &Entry) -> Answer {
    let (key, scope) = (&entry.key, &entry.scope);
    let (error, why) = if entry.is_partly_unknown() {
        let why = format!("the endpoints of {key} are not known here yet");
        (ExtendedError::NotReady, why)
    } else {
        let why = format!("no virtual IP is left for {key} in {scope}");
        (ExtendedError::Other, why)
    };
    Answer::bare(Verdict::CannotKnow(Unknown { error, why }))
}
