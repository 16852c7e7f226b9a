//! What the parts of a gateway share: who it is, its keys, the registry and the catalog.
//!
//! Built once when the gateway starts. Everything in it is a handle or immutable.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tonic::Status;
use weft_decide::{Place, ServiceTable};
use weft_identity::{Authority, Bundle, BundleSource, SigningKey, Svid, SvidSource};
use weft_model::{
    Author, ClusterName, Code, Command, Entry, Federation, FederationDomain, GatewayName,
    Generation, Index, NodeId, Refusal, ReleaseRefusal, RequestId, SignerEpoch, SpiffeId,
    TrustDomain, UserName, WallTime, code,
};
use weft_plan::Outlook;
use weft_plan::catalog::CatalogView;
use weft_registry::disk::Space;
use weft_registry::{Draft, Proposal, ProposeError, Registry};

use crate::api::refusal;
use crate::catalog::{CatalogHandle, LeaseKeeper};
use crate::clamps::{ClampKeeper, ClampSource};
use crate::config::GatewayConfig;
use crate::dns::ZonesSource;
use crate::membership::{Membership, MembershipError};
use crate::observe::{self, Observatory};
use crate::outlook::{Clock, outlook};
use crate::scene::{Scene, service_table};
use crate::tunnel::Tunnels;

/// How often a write that lost a race for its generation is signed anew.
const RACES_MAX: usize = 8;

/// A registry without a leader for this long is not about to get one: an election is over sooner.
const LEADERLESS: Duration = Duration::from_secs(2);
/// How often the leader is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// The shared parts of one gateway.
pub struct Hub {
    config: GatewayConfig,
    domain: FederationDomain,
    cluster: ClusterName,
    gateway: GatewayName,
    node: NodeId,
    epoch: SignerEpoch,
    trust_domain: TrustDomain,
    signing: SigningKey,
    authority: Option<Authority>,
    svid: SvidSource,
    bundles: BundleSource,
    registry: Registry,
    tunnels: Tunnels,
    catalog: CatalogHandle,
    clamps: ClampSource,
    zones: ZonesSource,
    leases: LeaseKeeper,
    clock: Clock,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("cluster", &self.cluster)
            .field("gateway", &self.gateway)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// The running parts a hub is made of.
pub struct Parts {
    /// Its identity, renewed in place.
    pub svid: SvidSource,
    /// Everybody's bundles, kept up to date.
    pub bundles: BundleSource,
    /// The registry.
    pub registry: Registry,
    /// The tunnels.
    pub tunnels: Tunnels,
    /// The catalog.
    pub catalog: CatalogHandle,
    /// The clamps that it knows.
    pub clamps: ClampSource,
    /// The newest DNS zones.
    pub zones: ZonesSource,
    /// The origin of its moments.
    pub clock: Clock,
}

impl Hub {
    /// Takes the membership apart and joins it with the running parts.
    pub fn new(config: GatewayConfig, membership: Membership, parts: Parts) -> Self {
        let Parts {
            svid,
            bundles,
            registry,
            tunnels,
            catalog,
            clamps,
            zones,
            clock,
        } = parts;
        let membership_cluster = membership.cluster.clone();
        Self {
            trust_domain: membership.bundle.trust_domain().clone(),
            domain: membership.domain,
            cluster: membership.cluster,
            gateway: membership.gateway,
            node: membership.node,
            epoch: membership.epoch,
            signing: membership.signing,
            authority: membership.authority,
            config,
            svid,
            bundles,
            registry,
            tunnels,
            leases: LeaseKeeper::new(membership_cluster),
            catalog,
            clamps,
            zones,
            clock,
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &GatewayConfig {
        &self.config
    }

    /// The federation's domain.
    pub fn domain(&self) -> &FederationDomain {
        &self.domain
    }

    /// Its cluster.
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Its name.
    pub fn gateway(&self) -> &GatewayName {
        &self.gateway
    }

    /// Its id.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Its cluster's trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The tunnels.
    pub fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// The newest catalog view.
    pub fn catalog(&self) -> Arc<CatalogView> {
        self.catalog.view()
    }

    /// The newest DNS zones.
    pub fn zones(&self) -> Arc<weft_plan::dns::Zones> {
        self.zones.load_full()
    }

    /// The catalog.
    pub(crate) fn catalog_handle(&self) -> &CatalogHandle {
        &self.catalog
    }

    /// What this gateway's sources reported.
    pub(crate) fn observatory(&self) -> &Observatory {
        self.catalog.observatory()
    }

    /// The leases, ours and, while we lead, everybody's.
    pub(crate) fn leases(&self) -> &LeaseKeeper {
        &self.leases
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        Place {
            cluster: self.cluster.clone(),
            region: self.config.region.clone(),
            zone: self.config.zone.clone(),
        }
    }

    /// The table that a sidecar or stand-in of this cluster decides on, as of now.
    pub(crate) fn service_table(&self) -> ServiceTable {
        let surroundings = self.catalog.surroundings();
        let (state, catalog, place) = (self.registry.state(), self.catalog(), self.place());
        let scene = Scene {
            federation: &state,
            catalog: &catalog,
            reach: &surroundings.reach,
            silence: surroundings.silence,
            clamps: &self.clamps.load(),
            place: &place,
        };
        service_table(&scene, None)
    }

    /// The clamps that it knows.
    pub fn clamps(&self) -> &ClampSource {
        &self.clamps
    }

    /// What keeps them.
    pub(crate) fn clamp_keeper(&self) -> &ClampKeeper {
        self.catalog.clamps()
    }

    /// How it sees the other clusters now.
    pub fn outlook(&self) -> Outlook {
        let silence = self.registry.applied().silence();
        let (state, paths) = (self.registry.state(), self.tunnels.paths());
        outlook(&self.cluster, &state, &paths, silence, &self.clock)
    }

    /// The origin of its moments.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Its identity.
    pub fn svid(&self) -> &SvidSource {
        &self.svid
    }

    /// Everybody's bundles.
    pub fn bundles(&self) -> &BundleSource {
        &self.bundles
    }

    /// The wall clock.
    pub fn now(&self) -> WallTime {
        wall_clock()
    }

    /// Its cluster's CA certificates, DER.
    pub fn bundle_der(&self) -> Vec<Bytes> {
        let bundles = self.bundles.current();
        let own: Option<&Bundle> = bundles.of(&self.trust_domain);
        own.map(|bundle| {
            bundle
                .certificates()
                .map(|der| Bytes::copy_from_slice(der))
                .collect()
        })
        .unwrap_or_default()
    }

    /// The key it signs entries and enrolment tokens with.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// A certificate for `id`, if this gateway holds the cluster's CA.
    pub fn issue(&self, csr: &[u8], id: &SpiffeId) -> Result<Vec<Bytes>, Status> {
        let authority = self.authority.as_ref().ok_or_else(|| {
            refusal(
                code::NOT_ISSUER,
                format!(
                    "{}/{} does not hold the cluster's CA",
                    self.cluster, self.gateway
                ),
            )
        })?;
        let lifetime = self.config.identity.leaf_lifetime;
        let chain = authority
            .issue(csr, id, lifetime, self.now())
            .map_err(|error| {
                refusal(
                    code::INVALID_RESOURCE,
                    format!("no certificate for {id}: {error}"),
                )
            })?;
        Ok(chain
            .into_iter()
            .map(|der| Bytes::from(der.to_vec()))
            .collect())
    }

    /// Whether this gateway holds the cluster's CA.
    pub fn holds_authority(&self) -> bool {
        self.authority.is_some()
    }

    /// Writes a renewed identity to the state folder.
    pub(crate) fn keep_svid(&self, svid: &Svid) -> Result<(), MembershipError> {
        crate::membership::keep_svid(&self.config, svid)
    }

    /// Has a signed entry committed and applied here.
    pub async fn propose(&self, proposal: Proposal) -> Result<Index, Status> {
        self.check_room()?;
        self.await_leader().await?;
        self.registry
            .propose(proposal)
            .await
            .map_err(|error| propose_status(&error))
    }

    /// Refuses what could not be applied here: for want of room on the disk, or of a sound state.
    fn check_room(&self) -> Result<(), Status> {
        if self.registry.status().agreement.fenced.is_some() {
            return Err(propose_status(&ProposeError::Fenced));
        }
        if let Some(outranked) = self.registry.status().raft.outranked {
            let recovered = outranked.at();
            return Err(propose_status(&ProposeError::Outranked { recovered }));
        }
        match self.shortage() {
            None => Ok(()),
            Some(what) => Err(refusal(
                code::READ_ONLY,
                format!("{what}; nothing was written"),
            )),
        }
    }

    /// Why this gateway only reads, in words; none if it writes.
    pub(crate) fn shortage(&self) -> Option<String> {
        let room = self.registry.room();
        let left = match room.free {
            Some(free) => format!("{} KiB left", free / 1024),
            None => "no room left".to_owned(),
        };
        let disk = format!("the disk of {}/{}", self.cluster, self.gateway);
        match room.space {
            Space::Enough => None,
            Space::Low => Some(format!("{disk} is nearly full, with {left}")),
            Space::Full => Some(format!("{disk} is full, with {left}")),
        }
    }

    /// Says at once that nothing can be written, rather than after a write's whole time.
    async fn await_leader(&self) -> Result<(), Status> {
        let begun = tokio::time::Instant::now();
        while self.registry.status().raft.leadership.leader.is_none() {
            if begun.elapsed() > LEADERLESS {
                let what = "the registry has no leader; nothing was written";
                return Err(refusal(code::NO_LEADER, what));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Signs a command as this gateway and has it committed, again if another write of this
    /// cluster took the generation first.
    pub async fn write(&self, command: Command, order: Option<UserName>) -> Result<Index, Status> {
        self.check_room()?;
        self.await_leader().await?;
        let mut lost = None;
        for _ in 0..RACES_MAX {
            let generation = self.registry.state().next_generation(&self.cluster);
            let proposal = Proposal::sign(
                &self.signing,
                &self.draft(command.clone(), order.clone(), generation),
            );
            match self.registry.propose(proposal).await {
                Err(ProposeError::Refused(refused @ Refusal::StaleGeneration { .. })) => {
                    lost = Some(refused);
                }
                result => return result.map_err(|error| propose_status(&error)),
            }
        }
        Err(refusal(
            code::REFUSED,
            lost.map(|refused| refused.to_string()).unwrap_or_default(),
        ))
    }

    /// What `command` would come to if it were applied now, changing nothing.
    pub fn rehearse(&self, command: Command, order: Option<UserName>) -> Result<(), Status> {
        let state = self.registry.state();
        let generation = state.next_generation(&self.cluster);
        let draft = self.draft(command, order, generation);
        let entry = Entry {
            request: draft.request,
            author: draft.author,
            by_order_of: draft.by_order_of,
            generation,
            time: self.now(),
            authentic: true,
            command: draft.command,
        };
        rehearse(&state, &entry)
    }

    fn draft(&self, command: Command, order: Option<UserName>, generation: Generation) -> Draft {
        Draft {
            request: RequestId(rand::random()),
            author: Author::Gateway(self.node, self.epoch),
            by_order_of: order,
            generation,
            command,
        }
    }
}

/// Applies `entry` to a copy of the state: the same function as the real thing.
pub(crate) fn rehearse(state: &Federation, entry: &Entry) -> Result<(), Status> {
    let mut copy = state.clone();
    let next = Index(state.applied().0 + 1);
    match copy.apply(next, entry).outcome {
        Ok(_) => Ok(()),
        Err(refused) => Err(refused_status(&refused)),
    }
}

/// The wall clock, read in one place.
pub(crate) fn wall_clock() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A failed proposal as its caller sees it.
pub(crate) fn propose_status(error: &ProposeError) -> Status {
    let code = match error {
        ProposeError::Refused(refused) => return refused_status(refused),
        ProposeError::NoLeader { .. } => code::NO_LEADER,
        ProposeError::Timeout { .. } => code::OUTCOME_UNKNOWN,
        ProposeError::TooLarge { .. } => code::TOO_LARGE,
        ProposeError::Overloaded { .. } | ProposeError::Shutdown => code::NO_LEADER,
        ProposeError::Unreadable { .. } => code::QUARANTINED,
        ProposeError::NoRoom { .. } => code::READ_ONLY,
        ProposeError::Fenced => code::DIVERGED,
        ProposeError::Outranked { .. } => code::OUTRANKED,
        ProposeError::Disk(_) => code::DISK,
    };
    refusal(code, error.to_string())
}

/// The federation's refusal as its caller sees it.
fn refused_status(refused: &Refusal) -> Status {
    let code = match refused {
        Refusal::Signature | Refusal::NotOwner { .. } | Refusal::Namespace { .. } => {
            code::NOT_AUTHORISED
        }
        Refusal::Token(weft_model::token::USED) => code::TOKEN_USED,
        Refusal::Token(weft_model::token::EXPIRED) => code::TOKEN_EXPIRED,
        Refusal::Token(weft_model::token::REVOKED) => code::TOKEN_REVOKED,
        Refusal::Invalid { .. } => code::INVALID_RESOURCE,
        Refusal::Release { why, .. } => release_code(why),
        Refusal::Format { .. } => code::EARLY,
        _ => code::REFUSED,
    };
    refusal(code, refused.to_string())
}

fn release_code(why: &ReleaseRefusal) -> Code {
    match why {
        ReleaseRefusal::Unknown => code::RELEASE_UNKNOWN,
        ReleaseRefusal::OtherUnderWay { .. } => code::RELEASE_OTHER,
        ReleaseRefusal::Moved { .. } | ReleaseRefusal::OtherRun { .. } => code::RELEASE_MOVED,
        ReleaseRefusal::Phase { .. } => code::RELEASE_PHASE,
        ReleaseRefusal::Fixed => code::RELEASE_FIXED,
        ReleaseRefusal::Superseded { .. } => code::RELEASE_SUPERSEDED,
        ReleaseRefusal::NoWave(_) | ReleaseRefusal::NoStage { .. } => code::RELEASE_PLACE,
    }
}

impl crate::control::Questions for Hub {
    fn answer(&self, question: &crate::tunnel::Question) -> Result<Bytes, String> {
        if question.method == crate::gateway::METHOD_RENEW {
            let state = self.registry.state();
            let (cluster, _) = state
                .cluster_of(&question.peer.trust_domain)
                .ok_or_else(|| format!("{} is of no member", question.peer))?;
            self.leases.renewed(cluster.clone());
            return Ok(Bytes::new());
        }
        if question.method == crate::gateway::METHOD_PEERS {
            return crate::gateway::answer_peers(self, question);
        }
        let observed = observe::answer(self, question);
        observed.unwrap_or_else(|| Err(format!("there is no method {:?}", question.method)))
    }
}
