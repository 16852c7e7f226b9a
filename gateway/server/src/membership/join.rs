//! Joining a federation with a token, diagnosed in stages.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use tonic::Status;
use tonic::transport::Channel;
use weft_identity::{Authority, Bundle, JoinToken, Svid, client_config_pinned, new_csr};
use weft_model::{
    Author, ClusterRole, Command, GatewayRole, Generation, HostPort, NodeId, Redemption, RequestId,
    SignerEpoch, SpiffeId, TrustDomain, WallTime,
};
use weft_proto::identity::enrolment_client::EnrolmentClient;
use weft_proto::identity::{DescribeRequest, DescribeResponse, JoinRequest, JoinResponse};
use weft_proxy::rpc::{self, ALPN_GRPC, DialError};
use weft_registry::{Draft, Proposal};

use super::found::{cluster_spec, gateway_record};
use super::{Membership, MembershipError, UdpProbe, known_peers, probe_udp, refuse_existing};
use crate::config::GatewayConfigFile;

/// How long one address may take over one step.
const STEP: Duration = Duration::from_secs(5);
/// Certificates are backdated this far: clocks further apart break trust.
const SKEW_MAX: Duration = Duration::from_secs(300);

/// A stage that went well, for whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// What was found.
    pub found: String,
}

/// Why a join failed, by stage.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Our own side could not be prepared or kept.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// No gateway could be reached.
    #[error("no gateway of {addresses} could be reached")]
    Unreachable {
        /// The addresses tried.
        addresses: String,
        /// How the last one failed.
        #[source]
        source: DialError,
    },
    /// The clocks differ too much.
    #[error("this host's clock is {} s {} the gateway's", .by.as_secs(), if *.ahead { "ahead of" } else { "behind" })]
    ClockSkew {
        /// By how much.
        by: Duration,
        /// Whether ours is ahead.
        ahead: bool,
    },
    /// UDP does not get through.
    #[error("no QUIC packet came back from {0}/udp")]
    UdpBlocked(HostPort),
    /// The token is for another cluster or federation.
    #[error("the token is for {token}, {what} says {found}")]
    OtherTarget {
        /// What the token names.
        token: String,
        /// Who says otherwise.
        what: &'static str,
        /// What it says.
        found: String,
    },
    /// The federation refused.
    #[error("the federation refused: {}", .0.message())]
    Refused(#[source] Box<Status>),
    /// The answer makes no sense.
    #[error("the gateway's answer does not read: {0}")]
    Answer(String),
}

/// Redeems `token` and writes the membership. `clock` reads the wall clock; `seen` is told each
/// stage that went well. Nothing is spent before the last stage.
pub async fn join(
    config: &GatewayConfigFile,
    token: &JoinToken,
    address: Option<&str>,
    clock: impl Fn() -> WallTime,
    mut seen: impl FnMut(Stage),
) -> Result<Membership, JoinError> {
    refuse_existing(&config.spec.state_dir)?;
    check_target(config, token)?;
    let (at, channel) = reach(token, address, &mut seen).await?;
    let mut client = EnrolmentClient::new(channel);
    let described = client
        .describe(DescribeRequest {})
        .await
        .map_err(refused)?
        .into_inner();
    check_described(token, &described, clock(), &mut seen)?;
    check_udp(config.spec.tunnel.bind.ip(), at, &described, &mut seen).await?;
    let own = cluster_bundle(token, &described)?;
    if own.is_none() && config.spec.role == GatewayRole::Follower {
        let cluster = token.cluster.clone();
        return Err(MembershipError::FollowsNobody(cluster).into());
    }
    let prepared = Prepared::new(config, token, own, clock())?;
    let request = JoinRequest {
        entry: prepared.entry(token),
        csr: prepared.csr.clone(),
    };
    let answer = client.join(request).await.map_err(refused)?.into_inner();
    seen(Stage {
        name: "token",
        found: format!("redeemed; this gateway is node {}", answer.node),
    });
    let membership = prepared.member(config, token, &answer)?;
    membership.keep(&config.spec)?;
    seen(Stage {
        name: "membership",
        found: format!("written to {}", config.spec.state_dir.display()),
    });
    Ok(membership)
}

/// The CA certificates of the cluster that gets a further gateway; none for a new cluster.
fn cluster_bundle(
    token: &JoinToken,
    described: &DescribeResponse,
) -> Result<Option<Bundle>, JoinError> {
    if described.cluster != token.cluster.as_str() {
        return Ok(None);
    }
    let trust_domain = TrustDomain::of_cluster(&token.cluster, &token.domain);
    let certificates = described
        .bundle
        .iter()
        .map(|der| CertificateDer::from(der.to_vec()));
    let bundle = Bundle::new(trust_domain, certificates).map_err(MembershipError::from)?;
    if bundle.hash() != token.bundle_hash {
        return Err(JoinError::Answer(
            "its bundle is not the one the token names".into(),
        ));
    }
    Ok(Some(bundle))
}

fn check_target(config: &GatewayConfigFile, token: &JoinToken) -> Result<(), JoinError> {
    let other = |token: String, found: String| {
        Err(JoinError::OtherTarget {
            token,
            what: "the configuration",
            found,
        })
    };
    let spec = &config.spec;
    if spec.cluster != token.cluster {
        return other(
            format!("cluster {}", token.cluster),
            format!("cluster {}", spec.cluster),
        );
    }
    if spec.region != token.region {
        return other(
            format!("region {}", token.region),
            format!("region {}", spec.region),
        );
    }
    Ok(())
}

/// Name, TCP and trust: the first address at which the pinned gateway answers.
async fn reach(
    token: &JoinToken,
    address: Option<&str>,
    seen: &mut impl FnMut(Stage),
) -> Result<(SocketAddr, Channel), JoinError> {
    let listed = token.addresses.iter().map(ToString::to_string);
    let hosts: Vec<String> = address
        .map(str::to_owned)
        .into_iter()
        .chain(listed)
        .collect();
    let tls = client_config_pinned(token.bundle_hash, &[ALPN_GRPC]);
    let mut last = DialError::Resolve {
        host: "nothing".into(),
        source: std::io::ErrorKind::AddrNotAvailable.into(),
    };
    for host in &hosts {
        let resolved = match rpc::resolve(host).await {
            Ok(resolved) => resolved,
            Err(error) => {
                last = error;
                continue;
            }
        };
        for address in resolved {
            match rpc::dial(address, tls.clone(), STEP).await {
                Ok(channel) => {
                    seen(Stage {
                        name: "name",
                        found: format!("{host} is {address}"),
                    });
                    seen(Stage {
                        name: "trust",
                        found: "its CA is the one the token names".into(),
                    });
                    return Ok((address, channel));
                }
                Err(error) => last = error,
            }
        }
    }
    Err(JoinError::Unreachable {
        addresses: hosts.join(", "),
        source: last,
    })
}

fn check_described(
    token: &JoinToken,
    described: &DescribeResponse,
    now: WallTime,
    seen: &mut impl FnMut(Stage),
) -> Result<(), JoinError> {
    if described.domain != token.domain.as_str() {
        return Err(JoinError::OtherTarget {
            token: format!("federation {}", token.domain),
            what: "the gateway",
            found: described.domain.clone(),
        });
    }
    let theirs = WallTime(described.time_ms);
    let (ahead, behind) = (now.since(theirs), theirs.since(now));
    if ahead.max(behind) > SKEW_MAX {
        return Err(JoinError::ClockSkew {
            by: ahead.max(behind),
            ahead: ahead > behind,
        });
    }
    seen(Stage {
        name: "clock",
        found: format!(
            "within {} ms of {}/{}",
            ahead.max(behind).as_millis(),
            described.cluster,
            described.gateway
        ),
    });
    Ok(())
}

async fn check_udp(
    local: IpAddr,
    api: SocketAddr,
    described: &DescribeResponse,
    seen: &mut impl FnMut(Stage),
) -> Result<(), JoinError> {
    if described.tunnel.is_empty() {
        seen(Stage {
            name: "udp",
            found: "not tried: that gateway only dials out".into(),
        });
        return Ok(());
    }
    let tunnel: HostPort = described
        .tunnel
        .parse()
        .map_err(|error| JoinError::Answer(format!("{error}")))?;
    let resolved = rpc::resolve(tunnel.as_str()).await;
    let resolved = resolved.map_err(|source| JoinError::Unreachable {
        addresses: tunnel.to_string(),
        source,
    })?;
    for address in resolved {
        if let Ok(UdpProbe::Open) = probe_udp(local, address, STEP).await {
            let found = format!("{address} answers, with 1200 bytes to a packet");
            seen(Stage { name: "udp", found });
            return Ok(());
        }
    }
    tracing::debug!(%api, %tunnel, "the API answers, the tunnel port does not");
    Err(JoinError::UdpBlocked(tunnel))
}

fn refused(status: Status) -> JoinError {
    JoinError::Refused(Box::new(status))
}

/// Everything of ours that the redemption speaks of.
struct Prepared {
    authority: Option<Authority>,
    bundle: Bundle,
    key: zeroize::Zeroizing<Vec<u8>>,
    csr: Bytes,
    signing: weft_identity::SigningKey,
    redemption: Redemption,
    now: WallTime,
}

impl Prepared {
    fn new(
        config: &GatewayConfigFile,
        token: &JoinToken,
        own: Option<Bundle>,
        now: WallTime,
    ) -> Result<Self, MembershipError> {
        let trust_domain = TrustDomain::of_cluster(&token.cluster, &token.domain);
        let (authority, bundle) = match own {
            Some(bundle) => (None, bundle),
            None => {
                let lifetime = config.spec.identity.ca_lifetime;
                let authority = Authority::create(trust_domain, lifetime, now)?;
                let bundle = authority.bundle().clone();
                (Some(authority), bundle)
            }
        };
        let (gateway, signing) = gateway_record(config)?;
        let (key, csr) = new_csr();
        let redemption = Redemption {
            token: token.id(),
            bundle: bundle.certificates().map(|der| der.to_vec()).collect(),
            // Region and role come from the grant; what is said here of the role is not looked at.
            spec: cluster_spec(config, ClusterRole::Member),
            gateway,
        };
        Ok(Self {
            authority,
            bundle,
            key,
            csr: csr.into(),
            signing,
            redemption,
            now,
        })
    }

    fn entry(&self, token: &JoinToken) -> Bytes {
        let draft = Draft {
            request: RequestId(rand::random()),
            author: Author::Token(token.id()),
            by_order_of: None,
            generation: Generation(1),
            command: Command::RedeemToken(Box::new(self.redemption.clone())),
        };
        Proposal::sign(&token.key(), &draft).encode()
    }

    fn member(
        self,
        config: &GatewayConfigFile,
        token: &JoinToken,
        answer: &JoinResponse,
    ) -> Result<Membership, JoinError> {
        let trust_domain = TrustDomain::of_cluster(&token.cluster, &token.domain);
        let peers = known_peers(&answer.peers, &token.domain).map_err(JoinError::Answer)?;
        let id = SpiffeId::gateway(trust_domain, config.metadata.name.clone());
        let chain = match &self.authority {
            Some(authority) => authority
                .issue(&self.csr, &id, config.spec.identity.leaf_lifetime, self.now)
                .map_err(MembershipError::from)?,
            None => answer
                .chain
                .iter()
                .map(|der| CertificateDer::from(der.to_vec()))
                .collect(),
        };
        let svid = Svid::from_der(chain, self.key).map_err(MembershipError::from)?;
        if *svid.id() != id {
            return Err(JoinError::Answer(format!(
                "it made us {}, not {id}",
                svid.id()
            )));
        }
        Ok(Membership {
            domain: token.domain.clone(),
            cluster: token.cluster.clone(),
            gateway: config.metadata.name.clone(),
            node: NodeId(answer.node),
            epoch: SignerEpoch(1),
            svid,
            signing: self.signing,
            bundle: self.bundle,
            authority: self.authority,
            operators: None,
            founding: None,
            peers,
            started: false,
            role: config.spec.role,
        })
    }
}
