//! Clients: each has one signed request under way and repeats it until it is answered.

use rand::Rng;
use rand::rngs::SmallRng;
use weft_identity::SigningKey;
use weft_model::fixture::{cluster_spec, export, name};
use weft_model::{
    AppProtocol, Author, ClusterName, ClusterRole, Command, Founding, GatewayRecord, GatewayRole,
    Generation, Index, NodeId, Outcome, Redemption, RequestId, ServiceKey, ServiceType,
    SignerEpoch, TokenGrant, TokenId, WallTime,
};
use weft_registry::wire::FORMAT_SUPPORTED;
use weft_registry::{Draft, Proposal};

/// The number of cluster 1's second gateway, which follows; the first of each has its cluster's.
pub(crate) const FOLLOWER: u8 = 9;

/// The cluster of a gateway.
fn home(gateway: u8) -> u8 {
    match gateway {
        FOLLOWER => 1,
        first => first,
    }
}

/// A name for a cluster by its number.
pub(crate) fn cluster(number: u8) -> ClusterName {
    name(&format!("c{number}"))
}

/// A gateway's signing key.
pub(crate) fn gateway_key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32])
}

fn admin_key() -> SigningKey {
    SigningKey::from_seed([250; 32])
}

fn token_key(number: u8) -> SigningKey {
    SigningKey::from_seed([100 + number; 32])
}

fn gateway(number: u8) -> GatewayRecord {
    let (gateway, role) = match number {
        FOLLOWER => ("gw-2", GatewayRole::Follower),
        _ => ("gw", GatewayRole::Member),
    };
    GatewayRecord {
        name: name(gateway),
        tunnel: Some(name(&format!("192.0.2.{number}:7443"))),
        api: None,
        key: gateway_key(number).public(),
        format: FORMAT_SUPPORTED,
        role,
    }
}

fn region(number: u8) -> String {
    format!("r{number}")
}

/// The signed first entry of cluster 1.
pub(crate) fn founding() -> Proposal {
    let founding = Founding {
        domain: name("fed.example.org"),
        cluster: cluster(1),
        spec: cluster_spec(&region(1)),
        bundle: vec![b"ca 1".to_vec()],
        operators: vec![b"operators".to_vec()],
        gateway: gateway(1),
        admin: (name("ana"), admin_key().public()),
    };
    let draft = Draft {
        request: RequestId([0xF0; 16]),
        author: Author::Founder,
        by_order_of: None,
        generation: Generation(0),
        command: Command::Found(Box::new(founding)),
    };
    Proposal::sign(&gateway_key(1), &draft)
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) proposal: Proposal,
    pub(crate) again_at: u64,
    pub(crate) what: Aim,
}

/// What a request is for, as far as the world must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Aim {
    Write {
        generation: Generation,
    },
    Raise,
    /// A release, or a step of it. Who asks may know less than the log.
    Release,
    Grant {
        number: u8,
    },
    Redeem {
        number: u8,
    },
    Remove {
        number: u8,
    },
}

/// Writes its own cluster's exports through its own node, one after the other.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) number: u8,
    pub(crate) home: NodeId,
    pub(crate) pending: Option<Pending>,
    key: SigningKey,
    generation: Generation,
}

impl Writer {
    pub(crate) fn new(number: u8, home: NodeId) -> Self {
        Self {
            number,
            home,
            pending: None,
            key: gateway_key(number),
            generation: Generation(0),
        }
    }

    /// Begins the next request.
    pub(crate) fn begin(&mut self, now: u64, rng: &mut SmallRng) {
        let key = name(&format!("shop/s{}", rng.random_range(0..4)));
        let command = if rng.random_bool(0.15) {
            Command::DeleteExport(cluster(self.number), key)
        } else {
            let port = rng.random_range(1..9999);
            let spec = export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, port);
            Command::PutExport(cluster(self.number), key, Box::new(spec))
        };
        let generation = self.generation.next();
        self.ask(now, rng, command, Aim::Write { generation });
    }

    /// Offers the service that workloads serve.
    pub(crate) fn offer(&mut self, now: u64, rng: &mut SmallRng, service: ServiceKey) {
        let spec = export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
        let command = Command::PutExport(cluster(self.number), service, Box::new(spec));
        let generation = self.generation.next();
        self.ask(now, rng, command, Aim::Write { generation });
    }

    /// Puts the newest format level in force.
    pub(crate) fn raise(&mut self, now: u64, rng: &mut SmallRng) {
        self.ask(now, rng, Command::RaiseFormat(FORMAT_SUPPORTED), Aim::Raise);
    }

    fn ask(&mut self, now: u64, rng: &mut SmallRng, command: Command, what: Aim) {
        self.generation = self.generation.next();
        let draft = Draft {
            request: RequestId(rng.random()),
            author: Author::Gateway(self.home, SignerEpoch::FIRST),
            by_order_of: None,
            generation: self.generation,
            command,
        };
        self.pending = Some(Pending {
            proposal: Proposal::sign(&self.key, &draft),
            again_at: now,
            what,
        });
    }
}

/// Lets clusters and a follower join, and removes clusters, through whatever node runs.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    pub(crate) pending: Option<Pending>,
    orders: Generation,
}

impl Admin {
    pub(crate) fn grant(&mut self, now: u64, rng: &mut SmallRng, number: u8, time: WallTime) {
        let grant = TokenGrant {
            key: token_key(number).public(),
            cluster: cluster(home(number)),
            region: name(&region(home(number))),
            role: ClusterRole::Voter,
            expires: WallTime(time.0 + 10 * 3600 * 1000),
        };
        self.order(now, rng, Command::GrantToken(grant), Aim::Grant { number });
    }

    pub(crate) fn remove(&mut self, now: u64, rng: &mut SmallRng, number: u8) {
        let command = Command::RemoveCluster(cluster(number));
        self.order(now, rng, command, Aim::Remove { number });
    }

    /// Begins a release, or goes on with it.
    pub(crate) fn release(&mut self, now: u64, rng: &mut SmallRng, command: Command) {
        self.order(now, rng, command, Aim::Release);
    }

    pub(crate) fn redeem(&mut self, now: u64, rng: &mut SmallRng, number: u8) {
        let key = token_key(number);
        let token = TokenId::of(&key.public());
        let redemption = Redemption {
            token,
            bundle: vec![format!("ca {}", home(number)).into_bytes()],
            spec: cluster_spec(&region(home(number))),
            gateway: gateway(number),
        };
        let draft = Draft {
            request: RequestId(rng.random()),
            author: Author::Token(token),
            by_order_of: None,
            generation: Generation(0),
            command: Command::RedeemToken(Box::new(redemption)),
        };
        self.pending = Some(Pending {
            proposal: Proposal::sign(&key, &draft),
            again_at: now,
            what: Aim::Redeem { number },
        });
    }

    fn order(&mut self, now: u64, rng: &mut SmallRng, command: Command, what: Aim) {
        self.orders = self.orders.next();
        let draft = Draft {
            request: RequestId(rng.random()),
            author: Author::Operator(name("ana"), SignerEpoch::FIRST),
            by_order_of: None,
            generation: self.orders,
            command,
        };
        self.pending = Some(Pending {
            proposal: Proposal::sign(&admin_key(), &draft),
            again_at: now,
            what,
        });
    }
}

/// An answer that a client was given.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) request: RequestId,
    pub(crate) cluster: Option<u8>,
    pub(crate) what: Aim,
    pub(crate) outcome: Outcome,
}

impl Acknowledged {
    /// Where it took effect.
    pub(crate) fn index(&self) -> Option<Index> {
        self.outcome.as_ref().ok().copied()
    }
}
