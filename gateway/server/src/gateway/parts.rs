//! The parts of a gateway, each started from its piece of the configuration.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use weft_identity::{Bundles, Svid, new_csr};
use weft_model::{GatewayRole, SpiffeId};
use weft_plan::catalog::{Interest, Timing};
use weft_plan::dns::Name;
use weft_registry::disk::Bounds;
use weft_registry::{Proposal, Registry, RegistryConfig, Start};

use super::{GatewayError, directory, heard, peers};
use crate::api::UsedTokens;
use crate::catalog::{CatalogConfig, CatalogHandle, RelayGrant, RelayGrants, Surroundings};
use crate::clamps::ClampKeeper;
use crate::config::GatewayConfig;
use crate::control::TunnelTransport;
use crate::hub::{Hub, wall_clock};
use crate::membership::{Membership, MembershipError, keep_started};
use crate::relay::{Limits, Local, Relay, RelayConfig, SessionId, Sessions};
use crate::standin::{self, Clients, FrontAddress, Issue, StandIn, StandInConfig, StandInParts};
use crate::tunnel::IncomingRelay;
use crate::workers::Workers;

/// How long a write may take: less than the CLI waits by default, so that the answer says why.
const PROPOSE: Duration = Duration::from_secs(8);
/// What a follower keeps of history, beside the newest snapshot's worth.
const HISTORY_IN_MEMORY: Bounds = Bounds {
    entries: 10_000,
    bytes: 8 * 1024 * 1024,
};
/// A relayed connection that carries nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(3600);

pub(super) fn own_zone(config: &GatewayConfig) -> Result<Name, GatewayError> {
    let zone = &config.dns.zone;
    Name::parse(zone).map_err(|source| GatewayError::Zone {
        zone: zone.clone(),
        source,
    })
}

pub(super) async fn bind_console(config: &GatewayConfig) -> Result<TcpListener, GatewayError> {
    let address = config.console.bind;
    TcpListener::bind(address)
        .await
        .map_err(|source| GatewayError::Console { address, source })
}

pub(super) fn start_workers(config: &GatewayConfig) -> Result<Workers, GatewayError> {
    let count = NonZeroUsize::new(config.worker_count()).unwrap_or(NonZeroUsize::MIN);
    Workers::start(count).map_err(|source| GatewayError::Io {
        what: "worker threads".into(),
        source,
    })
}

/// Our own bundle and those of the peers we were told when we joined; the log knows more.
pub(super) fn first_bundles(membership: &Membership) -> Bundles {
    let peers = membership.peers.iter().map(|peer| peer.bundle.clone());
    let operators = membership.operators.iter().map(|ca| ca.bundle().clone());
    peers
        .chain(operators)
        .chain([membership.bundle.clone()])
        .collect()
}

pub(super) fn start_registry(
    config: &GatewayConfig,
    membership: &mut Membership,
    transport: TunnelTransport,
) -> Result<Registry, GatewayError> {
    let folder = config.state_dir.join("registry");
    let expected = weft_registry::disk::Folder {
        domain: membership.domain.clone(),
        node: membership.node,
    };
    let begun = weft_registry::disk::exists(&folder);
    let follows = membership.role == GatewayRole::Follower;
    let start = match membership.founding.take() {
        _ if follows => Start::Follow {
            node: expected.node,
            domain: expected.domain,
            heeds: peers::believed(&membership.peers),
        },
        _ if begun => Start::Resume(Some(expected)),
        _ if membership.started => {
            let what = "the log that this gateway began is gone".into();
            return Err(MembershipError::Damaged { path: folder, what }.into());
        }
        Some(founding) => Start::Found(Proposal::decode(founding)?),
        None => Start::Join {
            node: expected.node,
            domain: expected.domain,
        },
    };
    let mut registry_config = RegistryConfig {
        propose_timeout: PROPOSE,
        silent_before: heard::ago(&config.state_dir).unwrap_or_default(),
        ..RegistryConfig::new(folder, start)
    };
    if follows {
        registry_config.history = HISTORY_IN_MEMORY;
    }
    let registry = Registry::start(registry_config, transport)?;
    keep_started(config)?;
    Ok(registry)
}

pub(super) fn start_catalog(
    config: &GatewayConfig,
    membership: &Membership,
    surroundings: Surroundings,
    sessions: &Arc<Sessions>,
    clamps: ClampKeeper,
) -> CatalogHandle {
    let (granted, revoked) = (Arc::clone(sessions), Arc::clone(sessions));
    let grants = RelayGrants {
        grant: Arc::new(move |grant: RelayGrant| {
            let RelayGrant {
                session,
                key,
                identity,
                leave,
            } = grant;
            granted.insert(SessionId(session), &key, identity, leave);
        }),
        revoke: Arc::new(move |session| revoked.remove(SessionId(session))),
    };
    let config = CatalogConfig {
        cluster: config.cluster.clone(),
        region: config.region.clone(),
        gateway: membership.gateway.clone(),
        relay: config.relay.advertised(),
        // Without names the last view is of no use: a follower begins without either.
        state_file: (membership.role == GatewayRole::Member)
            .then(|| config.state_dir.join("catalog.pb")),
        interest: Interest::Everything,
        timing: Timing::default(),
        clamps,
    };
    CatalogHandle::start(config, grants, surroundings)
}

pub(super) fn start_relay(
    hub: &Arc<Hub>,
    incoming: Vec<mpsc::Receiver<IncomingRelay>>,
    sessions: Arc<Sessions>,
    directory: &directory::Shared,
) -> Result<Arc<Relay>, GatewayError> {
    let listen = hub.config().relay.bind;
    // Where everything shares one machine, as in development, sidecars are on loopback too.
    let local = if listen.ip().is_loopback() {
        Local::Allow
    } else {
        Local::Refuse
    };
    let (near, far) = (Arc::clone(directory), Arc::clone(directory));
    Ok(Relay::start(RelayConfig {
        listen,
        tunnels: hub.tunnels().clone(),
        incoming,
        sessions,
        authorise: Arc::new(move |_, wanted| near.load().authorise(wanted)),
        deliver: Arc::new(move |peer, wanted| far.load().deliver(peer, wanted, local)),
        limits: Limits::default(),
        idle: IDLE,
    })?)
}

pub(super) fn start_stand_in(hub: &Arc<Hub>) -> Result<Arc<StandIn>, GatewayError> {
    let config = hub.config();
    let inbound = config.stand_in.inbound;
    let front = inbound.advertised().map(|advertised| FrontAddress {
        bind: inbound.bind.ip(),
        advertised: advertised.ip(),
    });
    let settings = StandInConfig {
        place: hub.place(),
        gateway: hub.gateway().clone(),
        epoch: hub.catalog_handle().epoch(),
        recovery: Timing::default().recovery,
        clients: match (config.stand_in.clients, config.stand_in.capture) {
            (true, Some(capture)) => Clients::Captured(capture.port),
            (true, None) => Clients::Answer,
            (false, _) => Clients::Ignore,
        },
        front: front.filter(|_| hub.holds_authority()),
    };
    let issuer = Arc::clone(hub);
    let issue: Issue = Arc::new(move |id: &SpiffeId| {
        let (key, csr) = new_csr();
        let chain = issuer
            .issue(&csr, id)
            .map_err(|status| status.message().to_owned())?;
        let chain = chain
            .iter()
            .map(|der| CertificateDer::from(der.to_vec()))
            .collect();
        Ok(Svid::from_der(chain, key)?)
    });
    let session = hub
        .catalog_handle()
        .own_session(hub.svid().current().id().clone());
    let parts = StandInParts {
        workers: hub.tunnels().workers().clone(),
        connectors: standin::through(hub.tunnels().clone()),
        svid: hub.svid().clone(),
        bundles: hub.bundles().clone(),
        issue: hub.holds_authority().then_some(issue),
        tell: standin::tell(session),
        now: wall_clock,
        metrics: weft_proxy::Metrics::new()?,
    };
    Ok(Arc::new(StandIn::start(settings, parts)?))
}

pub(super) fn open_used(state: &Path) -> Result<UsedTokens, GatewayError> {
    let path = state.join("used-tokens");
    UsedTokens::open(&path).map_err(|source| GatewayError::Io {
        what: path.display().to_string(),
        source,
    })
}
