//! A founded federation for tests: three clusters in three regions, four exports.
//!
//! Built by applying entries, as every gateway does. Keys and certificates are
//! made-up bytes: what needs real ones founds its own.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use crate::{
    AppProtocol, Author, ClusterName, ClusterRole, ClusterSpec, Command, DnsSpec, Entry,
    ExportSpec, ExportTo, Federation, FormatLevel, Founding, GatewayRecord, GatewayRole,
    Generation, Index, NodeId, OnStale, PublicKey, Redemption, RelayConsent, ReleaseSpec,
    RequestId, RouteSpec, ServiceKey, ServicePort, ServiceType, SignerEpoch, TokenGrant, TokenId,
    TrafficPolicySpec, TransportProtocol, VirtualIpRanges, WallTime, spec_from_json,
};

/// The federation's domain.
pub const DOMAIN: &str = "fed.example.org";
/// Clusters and their regions, in the order in which they joined: nodes 1, 2 and 3.
pub const CLUSTERS: [(&str, &str); 3] = [
    ("us-east-1", "us-east"),
    ("eu-west-1", "eu-west"),
    ("ap-south-1", "ap-south"),
];
/// The administrator.
pub const ADMIN: &str = "ana";
/// The stamp of the first entry.
pub const TIME: WallTime = WallTime(1_750_000_000_000);

/// Parses a name that the test knows to be valid.
///
/// # Panics
/// If it is not.
pub fn name<N: std::str::FromStr>(text: &str) -> N
where
    N::Err: std::fmt::Display,
{
    text.parse().unwrap_or_else(|why| panic!("{why}"))
}

/// Three clusters, with these services:
///
/// | service | by | to | ports |
/// |---|---|---|---|
/// | shop/checkout | us-east-1, eu-west-1 | everyone | http 80 |
/// | shop/payments | eu-west-1 | everyone | http 80 |
/// | data/orders, headless | us-east-1 | everyone | postgres 5432 (tcp) |
pub fn federation() -> Federation {
    let mut log = Log::founded();
    for (node, (cluster, _)) in (2..).zip(&CLUSTERS[1..]) {
        log.join(node, cluster);
    }
    let http = export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
    let postgres = export(ServiceType::Headless, "postgres", AppProtocol::Tcp, 5432);
    log.export(1, "shop/checkout", &http);
    log.export(2, "shop/checkout", &http);
    log.export(2, "shop/payments", &http);
    log.export(1, "data/orders", &postgres);
    log.state
}

/// An offer of one port to everyone.
pub fn export(kind: ServiceType, port: &str, spoken: AppProtocol, number: u16) -> ExportSpec {
    ExportSpec {
        service_type: kind,
        ports: vec![ServicePort {
            name: Some(name(port)),
            protocol: TransportProtocol::Tcp,
            app_protocol: spoken,
            port: NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN),
        }],
        export_to: ExportTo::Everyone,
        identities: BTreeSet::new(),
        on_stale: OnStale::Serve,
        dns: DnsSpec::default(),
    }
}

/// A cluster with `virtual_ips` inside 240.0.0.0/4 and a ULA range.
pub fn cluster_spec(region: &str) -> ClusterSpec {
    ClusterSpec {
        region: name(region),
        role: ClusterRole::Voter,
        relay: RelayConsent::Deny,
        drain: false,
        max_share: None,
        namespaces: BTreeSet::new(),
        virtual_ips: VirtualIpRanges {
            ipv4: name("240.0.0.0/12"),
            ipv6: Some(name("fd00:77:65:66::/64")),
        },
    }
}

/// The record of a cluster's gateway number `node`: `gw`, at 192.0.2.`node`.
pub fn gateway(node: u8) -> GatewayRecord {
    GatewayRecord {
        name: name("gw"),
        tunnel: Some(name(&format!("192.0.2.{node}:7443"))),
        api: Some(name(&format!("192.0.2.{node}:7444"))),
        key: PublicKey([node; 32]),
        format: FormatLevel::FIRST,
        role: GatewayRole::Member,
    }
}

/// A route of `service` that has one of everything.
pub fn route(service: &str) -> RouteSpec {
    let text = format!(
        r#"{{"parentRefs": [{{"name": "{service}", "port": 80}}], "rules": [{{
            "matches": [{{"path": {{"type": "PathPrefix", "value": "/v2"}}, "method": "GET",
                "headers": [{{"name": "x-beta", "value": "1"}}],
                "queryParams": [{{"name": "q", "value": "1"}}]}}],
            "filters": [
                {{"type": "RequestHeaderModifier",
                  "requestHeaderModifier": {{"set": [{{"name": "x-a", "value": "1"}}]}}}},
                {{"type": "ResponseHeaderModifier",
                  "responseHeaderModifier": {{"remove": ["x-b"]}}}},
                {{"type": "URLRewrite", "urlRewrite": {{"path":
                  {{"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}}}},
                {{"type": "RequestMirror", "requestMirror": {{"backendRef": {{"name": "shadow"}}}}}}
            ],
            "backendRefs": [{{"name": "{service}", "weight": 9}}, {{"name": "canary", "weight": 1}}],
            "timeouts": {{"request": "2s", "backendRequest": "500ms"}},
            "retry": {{"codes": [503], "attempts": 2, "backoff": "10ms"}}
        }}]}}"#
    );
    spec_from_json(text.as_bytes()).expect("the fixture reads")
}

/// A policy of `service` that sets everything.
pub fn traffic_policy(service: &str) -> TrafficPolicySpec {
    let text = format!(
        r#"{{"targetRef": {{"name": "{service}"}},
            "connectionPool": {{"tcp": {{"maxConnections": 100}},
                "http": {{"http2MaxRequests": 200, "http1MaxPendingRequests": 50}}}},
            "outlierDetection": {{"consecutive5xxErrors": 3, "consecutiveLocalOriginFailures": 2,
                "baseEjectionTime": "10s", "maxEjectionPercent": 50}},
            "loadBalancer": {{"warmup": "30s"}},
            "retryBudget": {{"percent": 10, "minRetriesPerSecond": 5}}}}"#
    );
    spec_from_json(text.as_bytes()).expect("the fixture reads")
}

/// A release of `service` to the beta testers of eu-west, then to everybody's.
pub fn release(service: &str) -> ReleaseSpec {
    let text = format!(
        r#"{{"service": "{service}", "stable": "v1", "canary": "v2",
            "audience": {{"match": [{{"headers": [{{"name": "x-beta", "value": "1"}}]}}],
                "stickiness": {{"by": "Header", "name": "x-user-id"}}}},
            "waves": [
                {{"name": "west-europe", "regions": ["eu-west"],
                  "steps": [{{"setWeight": 5}}, {{"pause": {{}}}}, {{"setWeight": 50}}, {{"setWeight": 100}}]}},
                {{"name": "world", "regions": ["*"], "steps": [{{"setWeight": 25}}, {{"setWeight": 100}}]}}
            ]}}"#
    );
    spec_from_json(text.as_bytes()).expect("the fixture reads")
}

/// A log and the state it makes, for tests that write on.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The state so far.
    pub state: Federation,
    /// The entries so far, from index 1.
    pub entries: Vec<Entry>,
}

impl Log {
    /// A federation of one cluster: the first of [`CLUSTERS`], with node 1.
    pub fn founded() -> Self {
        let (cluster, region) = CLUSTERS[0];
        let mut log = Self::default();
        let founding = Founding {
            domain: name(DOMAIN),
            cluster: name(cluster),
            spec: cluster_spec(region),
            bundle: vec![cluster.into()],
            operators: vec![DOMAIN.into()],
            gateway: gateway(1),
            admin: (name(ADMIN), PublicKey([200; 32])),
        };
        log.accept(Author::Founder, Command::Found(Box::new(founding)));
        log
    }

    /// Lets one of [`CLUSTERS`] join by a token, as voter; its gateway becomes `node`.
    pub fn join(&mut self, node: u8, cluster: &str) {
        let region = CLUSTERS.iter().find(|(known, _)| *known == cluster);
        let region = region.map_or("eu-west", |(_, region)| region);
        let key = PublicKey([100 + node; 32]);
        let grant = TokenGrant {
            key,
            cluster: name(cluster),
            region: name(region),
            role: ClusterRole::Voter,
            expires: WallTime(self.state.time().0 + 600_000),
        };
        self.accept(self.admin(), Command::GrantToken(grant));
        let redemption = Redemption {
            token: TokenId::of(&key),
            bundle: vec![cluster.into()],
            spec: cluster_spec(region),
            gateway: gateway(node),
        };
        let token = Author::Token(redemption.token);
        self.accept(token, Command::RedeemToken(Box::new(redemption)));
    }

    /// Lets every gateway understand a format level, and puts it into force.
    pub fn raise(&mut self, level: FormatLevel) {
        let nodes: Vec<_> = self.state.nodes().map(|(id, _)| id.0).collect();
        for node in nodes {
            let record = self.state.node(NodeId(node)).expect("it was just listed");
            let mut record = record.gateway.clone();
            record.format = level;
            self.accept(self.gateway(node), Command::PutGateway(record));
        }
        self.accept(self.gateway(1), Command::RaiseFormat(level));
    }

    /// Lets the cluster of gateway `node` offer a service.
    pub fn export(&mut self, node: u64, key: &str, spec: &ExportSpec) {
        let cluster = self.cluster_of(node);
        let put = Command::PutExport(cluster, name::<ServiceKey>(key), Box::new(spec.clone()));
        self.accept(self.gateway(node), put);
    }

    /// The cluster of gateway `node`.
    ///
    /// # Panics
    /// If there is no such gateway.
    pub fn cluster_of(&self, node: u64) -> ClusterName {
        let node = self.state.node(NodeId(node)).expect("the gateway is there");
        node.cluster.clone()
    }

    /// The administrator, with its current key.
    pub fn admin(&self) -> Author {
        self.operator(ADMIN)
    }

    /// An operator, with its current key.
    pub fn operator(&self, user: &str) -> Author {
        let signer = self.state.signer(&name(user));
        let epoch = signer.map_or(SignerEpoch::FIRST, |signer| signer.epoch);
        Author::Operator(name(user), epoch)
    }

    /// A gateway, with its current key.
    pub fn gateway(&self, node: u64) -> Author {
        let record = self.state.node(NodeId(node));
        let epoch = record.map_or(SignerEpoch::FIRST, |node| node.epoch);
        Author::Gateway(NodeId(node), epoch)
    }

    /// An entry as `author` would write it now: authentic, a fresh request, the
    /// next generation, a second after the one before.
    pub fn entry(&self, author: Author, command: Command) -> Entry {
        let number = self.entries.len() as u64 + 1;
        let mut request = [0; 16];
        request[..8].copy_from_slice(&number.to_be_bytes());
        let generation = match &author {
            Author::Gateway(node, _) => {
                let node = self.state.node(*node);
                let next = |cluster| self.state.next_generation(cluster);
                node.map_or(Generation(1), |node| next(&node.cluster))
            }
            Author::Operator(user, _) => self.state.next_order(user),
            Author::Founder | Author::Token(_) => Generation(0),
        };
        Entry {
            request: RequestId(request),
            author,
            by_order_of: None,
            generation,
            time: TIME.after(std::time::Duration::from_secs(number)),
            authentic: true,
            command,
        }
    }

    /// Appends an entry and applies it.
    pub fn append(&mut self, entry: Entry) -> crate::Applied {
        let index = Index(self.entries.len() as u64 + 1);
        let applied = self.state.apply(index, &entry);
        self.entries.push(entry);
        applied
    }

    /// Appends what `author` would write now.
    pub fn write(&mut self, author: Author, command: Command) -> crate::Applied {
        self.append(self.entry(author, command))
    }

    /// Appends what `author` would write now, which must be accepted.
    ///
    /// # Panics
    /// If it is refused.
    pub fn accept(&mut self, author: Author, command: Command) -> Vec<crate::Event> {
        let applied = self.write(author, command);
        if let Err(refusal) = applied.outcome {
            panic!("refused: {refusal}");
        }
        applied.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixture_is_what_it_says() {
        let state = federation();
        assert_eq!(state.clusters().count(), 3);
        assert_eq!(state.nodes().count(), 3);
        let services: Vec<_> = state
            .services()
            .map(|s| (s.key.to_string(), s.index.0, s.exporters.len()))
            .collect();
        let expected = [
            ("data/orders", 3, 1),
            ("shop/checkout", 1, 2),
            ("shop/payments", 2, 1),
        ];
        assert_eq!(
            services,
            expected.map(|(key, index, by)| (key.to_owned(), index, by))
        );
    }
}
