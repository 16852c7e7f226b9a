//! Founding a federation: its first cluster, CAs, gateway and administrator.

use weft_identity::{Authority, SigningKey, Svid, new_csr};
use weft_model::{
    Author, ClusterRole, ClusterSpec, Command, FederationDomain, Founding, GatewayRecord,
    GatewayRole, Generation, NodeId, RelayConsent, RequestId, SignerEpoch, SpiffeId, TrustDomain,
    UserName, WallTime,
};
use weft_registry::wire::FORMAT_SUPPORTED;
use weft_registry::{Draft, Proposal};

use super::{Membership, MembershipError, refuse_existing};
use crate::config::GatewayConfigFile;

/// What the first administrator needs to act.
#[derive(Debug)]
pub struct Administrator {
    /// Their name.
    pub user: UserName,
    /// Their identity.
    pub svid: Svid,
    /// The key they sign commands with.
    pub signing: SigningKey,
}

/// Makes everything a first gateway needs and writes it to its state folder.
/// The log itself begins when the gateway first runs.
pub fn found(
    config: &GatewayConfigFile,
    domain: FederationDomain,
    admin: UserName,
    now: WallTime,
) -> Result<(Membership, Administrator), MembershipError> {
    let spec = &config.spec;
    refuse_existing(&spec.state_dir)?;
    if spec.role == GatewayRole::Follower {
        return Err(MembershipError::FollowsNobody(spec.cluster.clone()));
    }
    let gateway = gateway_record(config)?;
    if gateway.0.tunnel.is_none() {
        return Err(MembershipError::NotDiallable("tunnel"));
    }
    let trust_domain = TrustDomain::of_cluster(&spec.cluster, &domain);
    let lifetimes = spec.identity;
    let authority = Authority::create(trust_domain.clone(), lifetimes.ca_lifetime, now)?;
    let operators = Authority::create(
        TrustDomain::of_operators(&domain),
        lifetimes.ca_lifetime,
        now,
    )?;
    let issue = |ca: &Authority, id: &SpiffeId, lifetime| -> Result<Svid, MembershipError> {
        let (key, csr) = new_csr();
        Ok(Svid::from_der(ca.issue(&csr, id, lifetime, now)?, key)?)
    };
    let svid = issue(
        &authority,
        &SpiffeId::gateway(trust_domain, config.metadata.name.clone()),
        lifetimes.leaf_lifetime,
    )?;
    let administrator = Administrator {
        // An operator renews by hand, so this one lives as long as the CA.
        svid: issue(
            &operators,
            &SpiffeId::user(&domain, admin.clone()),
            lifetimes.ca_lifetime,
        )?,
        signing: SigningKey::generate(),
        user: admin,
    };
    let (record, signing) = gateway;
    let founding = Founding {
        domain: domain.clone(),
        cluster: spec.cluster.clone(),
        spec: cluster_spec(config, ClusterRole::Voter),
        bundle: vec![authority.root().to_vec()],
        operators: vec![operators.root().to_vec()],
        gateway: record,
        admin: (administrator.user.clone(), administrator.signing.public()),
    };
    let draft = Draft {
        request: RequestId(rand::random()),
        author: Author::Founder,
        by_order_of: None,
        generation: Generation(1),
        command: Command::Found(Box::new(founding)),
    };
    let membership = Membership {
        founding: Some(Proposal::sign(&signing, &draft).encode()),
        domain,
        cluster: spec.cluster.clone(),
        gateway: config.metadata.name.clone(),
        node: NodeId(1),
        epoch: SignerEpoch(1),
        svid,
        signing,
        bundle: authority.bundle().clone(),
        authority: Some(authority),
        operators: Some(operators),
        peers: Vec::new(),
        started: false,
        role: GatewayRole::Member,
    };
    membership.keep(spec)?;
    Ok((membership, administrator))
}

/// What this gateway says of itself, with a new signing key.
pub(super) fn gateway_record(
    config: &GatewayConfigFile,
) -> Result<(GatewayRecord, SigningKey), MembershipError> {
    let signing = SigningKey::generate();
    let api = config
        .spec
        .api
        .advertised()
        .ok_or(MembershipError::NotDiallable("api"))?;
    let record = GatewayRecord {
        name: config.metadata.name.clone(),
        tunnel: config.spec.tunnel.advertised(),
        api: Some(api),
        key: signing.public(),
        format: FORMAT_SUPPORTED,
        role: config.spec.role,
    };
    Ok((record, signing))
}

/// What is said of this gateway's cluster when it becomes a member.
pub(super) fn cluster_spec(config: &GatewayConfigFile, role: ClusterRole) -> ClusterSpec {
    ClusterSpec {
        region: config.spec.region.clone(),
        role,
        relay: RelayConsent::Deny,
        drain: false,
        max_share: None,
        namespaces: Default::default(),
        virtual_ips: config.spec.virtual_ips,
    }
}
