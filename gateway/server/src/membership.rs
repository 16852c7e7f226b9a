//! A gateway's membership: founding a federation, joining one, and what is kept of it on disk
//! before the log can be read.
//!
//! ```text
//! <stateDir>/member.pb     who it is, its certificates, the first peers
//! <stateDir>/keys/*.key    private keys, sealed
//! <stateDir>/registry/     the log
//! ```

mod found;
mod join;
mod peers;
mod probe;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prost::Message;
use rustls_pki_types::CertificateDer;
use weft_identity::{
    Authority, Bundle, BundleError, IssueError, KeyStore, KeyStoreError, Sealing, SigningKey, Svid,
    SvidError, TokenError,
};
use weft_model::{
    ClusterName, FederationDomain, GatewayName, GatewayRole, NameError, NodeId, SignerEpoch,
    TrustDomain,
};
use weft_proto::identity as wire;

use crate::config::{GatewayConfig, GatewayConfigFile};

pub use found::{Administrator, found};
pub use join::{JoinError, Stage, join};
pub use peers::KnownPeer;
pub(crate) use peers::{known_peers, peers};
pub use probe::{UdpProbe, probe_udp};

/// The form that is written; 1, which has no checksum, is read too.
const VERSION: u32 = 2;
const FILE: &str = "member.pb";

/// Why a membership cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The folder holds no membership.
    #[error("{0} holds no membership")]
    None(PathBuf),
    /// The folder holds one already.
    #[error("{folder} holds the membership of {cluster}/{gateway} already")]
    Exists {
        /// The folder.
        folder: PathBuf,
        /// Whose.
        cluster: String,
        /// Whose.
        gateway: String,
    },
    /// The folder belongs to another gateway than the configuration names.
    #[error("{folder} belongs to {found}, the configuration is for {configured}")]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: String,
        /// Who was expected.
        configured: String,
    },
    /// The configuration asks for another role than the gateway joined in.
    #[error("this gateway joined as {joined}, and gateway.yaml makes it a {configured}")]
    Role {
        /// As it joined.
        joined: &'static str,
        /// As it is configured.
        configured: &'static str,
    },
    /// A follower would be the first gateway of its cluster.
    #[error("the first gateway of {0} cannot be a follower")]
    FollowsNobody(ClusterName),
    /// A file does not read back as it was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not read.
        what: String,
    },
    /// The disk said no.
    #[error("cannot use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The key store said no.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// An identity could not be issued.
    #[error("an identity could not be issued")]
    Issue(#[from] IssueError),
    /// An identity does not hold.
    #[error("an identity does not hold")]
    Svid(#[from] SvidError),
    /// A bundle does not hold.
    #[error("a bundle does not hold")]
    Bundle(#[from] BundleError),
    /// A token does not read.
    #[error("the token does not read")]
    Token(#[from] TokenError),
    /// A gateway that nobody can dial founds nothing.
    #[error("the first gateway needs addresses that others can dial: set {0}.advertise")]
    NotDiallable(&'static str),
}

/// What a gateway is, and its keys.
#[derive(Debug)]
pub struct Membership {
    /// The federation's domain.
    pub domain: FederationDomain,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name there.
    pub gateway: GatewayName,
    /// Its id in the log.
    pub node: NodeId,
    /// Which of its signing keys it holds.
    pub epoch: SignerEpoch,
    /// Its identity.
    pub svid: Svid,
    /// The key it signs entries with.
    pub signing: SigningKey,
    /// Its cluster's CA certificates.
    pub bundle: Bundle,
    /// Its cluster's CA, if this gateway holds it.
    pub authority: Option<Authority>,
    /// The operators' CA, if this gateway holds it.
    pub operators: Option<Authority>,
    /// The first entry, encoded, for the gateway that begins the log.
    pub founding: Option<Bytes>,
    /// Gateways to reach first.
    pub peers: Vec<KnownPeer>,
    /// Whether its log has been begun. One that is gone since then must not be begun again:
    /// this node may have voted, and acknowledged, what it would no longer know.
    pub started: bool,
    /// Its part in the registry, as it joined.
    pub role: GatewayRole,
}

impl Membership {
    /// Reads the membership in `config.state_dir`, and checks that it is this gateway's.
    pub fn open(config: &GatewayConfigFile) -> Result<Self, MembershipError> {
        let spec = &config.spec;
        let record =
            read(&spec.state_dir)?.ok_or_else(|| MembershipError::None(spec.state_dir.clone()))?;
        let found = format!("{}/{}", record.cluster, record.gateway);
        let configured = format!("{}/{}", spec.cluster, config.metadata.name);
        if found != configured {
            let folder = spec.state_dir.clone();
            return Err(MembershipError::Foreign {
                folder,
                found,
                configured,
            });
        }
        let membership = Self::assemble(record, &key_store(spec)?, &spec.state_dir)?;
        match membership.role == spec.role {
            true => Ok(membership),
            false => Err(MembershipError::Role {
                joined: membership.role.as_str(),
                configured: spec.role.as_str(),
            }),
        }
    }

    /// The trust domain of its cluster.
    pub fn trust_domain(&self) -> &TrustDomain {
        self.bundle.trust_domain()
    }

    /// Writes everything; the record last, so that a folder with a record is complete.
    pub fn keep(&self, config: &GatewayConfig) -> Result<(), MembershipError> {
        let keys = key_store(config)?;
        keys.put("svid", self.svid.key())?;
        keys.put("signing", &*self.signing.seed())?;
        for (name, authority) in [("ca", &self.authority), ("operators-ca", &self.operators)] {
            if let Some(authority) = authority {
                keys.put(name, &authority.key())?;
            }
        }
        write(&config.state_dir, &self.record())
    }

    fn record(&self) -> wire::Membership {
        let der = |certificates: &[CertificateDer<'static>]| -> Vec<Bytes> {
            certificates
                .iter()
                .map(|der| Bytes::copy_from_slice(der))
                .collect()
        };
        let bundle = |bundle: &Bundle| -> Vec<Bytes> {
            bundle
                .certificates()
                .map(|der| Bytes::copy_from_slice(der))
                .collect()
        };
        wire::Membership {
            version: VERSION,
            domain: self.domain.to_string(),
            cluster: self.cluster.to_string(),
            gateway: self.gateway.to_string(),
            node: self.node.0,
            signer_epoch: self.epoch.0,
            chain: der(self.svid.chain()),
            bundle: bundle(&self.bundle),
            operators: self
                .operators
                .as_ref()
                .map(|ca| bundle(ca.bundle()))
                .unwrap_or_default(),
            founding: self.founding.clone().unwrap_or_default(),
            started: self.started,
            checksum: Bytes::new(),
            follower: self.role == GatewayRole::Follower,
            peers: self
                .peers
                .iter()
                .map(|peer| wire::Peer {
                    node: peer.node.0,
                    cluster: peer.cluster.to_string(),
                    gateway: peer.gateway.to_string(),
                    tunnel: peer
                        .tunnel
                        .as_ref()
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                    api: String::new(),
                    bundle: bundle(&peer.bundle),
                    votes: peer.votes,
                })
                .collect(),
        }
    }

    fn assemble(
        record: wire::Membership,
        keys: &KeyStore,
        folder: &Path,
    ) -> Result<Self, MembershipError> {
        let path = folder.join(FILE);
        let damaged = |what: &str| MembershipError::Damaged {
            path: path.clone(),
            what: what.to_owned(),
        };
        let name = |error: NameError| damaged(&error.to_string());
        let domain: FederationDomain = record.domain.parse().map_err(name)?;
        let cluster: ClusterName = record.cluster.parse().map_err(name)?;
        let trust_domain = TrustDomain::of_cluster(&cluster, &domain);
        let seed = keys
            .load("signing")?
            .ok_or_else(|| damaged("the signing key is gone"))?;
        let seed: [u8; 32] = seed
            .as_slice()
            .try_into()
            .map_err(|_| damaged("the signing key has another length"))?;
        let authority = match (keys.load("ca")?, record.bundle.first()) {
            (Some(key), Some(root)) => Some(Authority::open(
                trust_domain.clone(),
                certificate(root),
                &key,
            )?),
            _ => None,
        };
        let operators = match (keys.load("operators-ca")?, record.operators.first()) {
            (Some(key), Some(root)) => Some(Authority::open(
                TrustDomain::of_operators(&domain),
                certificate(root),
                &key,
            )?),
            _ => None,
        };
        Ok(Self {
            bundle: Bundle::new(trust_domain, record.bundle.iter().map(certificate))?,
            svid: load_svid(keys, &record)?.ok_or_else(|| damaged("the identity's key is gone"))?,
            signing: SigningKey::from_seed(seed),
            gateway: record.gateway.parse().map_err(name)?,
            node: NodeId(record.node),
            epoch: SignerEpoch(record.signer_epoch),
            started: record.started,
            founding: (!record.founding.is_empty()).then_some(record.founding),
            peers: known_peers(&record.peers, &domain).map_err(|what| damaged(&what))?,
            role: match record.follower {
                true => GatewayRole::Follower,
                false => GatewayRole::Member,
            },
            domain,
            cluster,
            authority,
            operators,
        })
    }
}

/// The key that belongs to the record's chain. A crash while a renewed identity is kept leaves
/// either key beside either record.
fn load_svid(keys: &KeyStore, record: &wire::Membership) -> Result<Option<Svid>, MembershipError> {
    for name in ["svid", "svid-next"] {
        if let Some(key) = keys.load(name)?
            && let Ok(svid) = Svid::from_der(record.chain.iter().map(certificate).collect(), key)
        {
            return Ok(Some(svid));
        }
    }
    Ok(None)
}

/// The record is read, changed and written by several tasks: one at a time.
static CHANGING: Mutex<()> = Mutex::new(());

fn changing() -> MutexGuard<'static, ()> {
    // Nothing is half done in memory when a holder panics.
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers that the log has been begun, and forgets the entry that founded it.
pub(crate) fn keep_started(config: &GatewayConfig) -> Result<(), MembershipError> {
    let _alone = changing();
    let mut record =
        read(&config.state_dir)?.ok_or_else(|| MembershipError::None(config.state_dir.clone()))?;
    if !record.started {
        record.started = true;
        record.founding.clear();
        write(&config.state_dir, &record)?;
    }
    Ok(())
}

/// Remembers where the others are. Nothing is written if it is known.
pub(crate) fn keep_peers(
    config: &GatewayConfig,
    peers: &[wire::Peer],
) -> Result<(), MembershipError> {
    let _alone = changing();
    let mut record =
        read(&config.state_dir)?.ok_or_else(|| MembershipError::None(config.state_dir.clone()))?;
    if record.peers != peers {
        record.peers = peers.to_vec();
        write(&config.state_dir, &record)?;
    }
    Ok(())
}

/// Replaces the identity in a state folder: old or new, never a mixture.
pub(crate) fn keep_svid(config: &GatewayConfig, svid: &Svid) -> Result<(), MembershipError> {
    let _alone = changing();
    let keys = key_store(config)?;
    let mut record =
        read(&config.state_dir)?.ok_or_else(|| MembershipError::None(config.state_dir.clone()))?;
    keys.put("svid-next", svid.key())?;
    record.chain = svid
        .chain()
        .iter()
        .map(|der| Bytes::copy_from_slice(der))
        .collect();
    write(&config.state_dir, &record)?;
    Ok(keys.put("svid", svid.key())?)
}

fn certificate(der: &Bytes) -> CertificateDer<'static> {
    CertificateDer::from(der.to_vec())
}

fn key_store(config: &GatewayConfig) -> Result<KeyStore, MembershipError> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state_dir);
    made.map_err(|source| MembershipError::Io {
        path: config.state_dir.clone(),
        source,
    })?;
    Ok(KeyStore::open(
        &config.state_dir.join("keys"),
        Sealing::KeyFile(config.key_path()),
    )?)
}

fn read(folder: &Path) -> Result<Option<wire::Membership>, MembershipError> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(MembershipError::Io { path, source }),
    };
    match decode(&bytes) {
        Ok(record) => Ok(Some(record)),
        Err(what) => Err(MembershipError::Damaged { path, what }),
    }
}

fn decode(bytes: &[u8]) -> Result<wire::Membership, String> {
    let mut record = wire::Membership::decode(bytes).map_err(|error| error.to_string())?;
    let stored = std::mem::take(&mut record.checksum);
    match record.version {
        1 if stored.is_empty() => Ok(record),
        1 | VERSION if stored == checksum(&record) => Ok(record),
        1 | VERSION => Err("its checksum is wrong".into()),
        other => Err(format!(
            "its version is {other}, this program reads up to {VERSION}"
        )),
    }
}

/// Of the record without its checksum.
fn checksum(record: &wire::Membership) -> Bytes {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &record.encode_to_vec());
    Bytes::copy_from_slice(digest.as_ref())
}

fn write(folder: &Path, record: &wire::Membership) -> Result<(), MembershipError> {
    let path = folder.join(FILE);
    let mut record = wire::Membership {
        version: VERSION,
        checksum: Bytes::new(),
        ..record.clone()
    };
    record.checksum = checksum(&record);
    let written = weft_proxy::catalog::replace_file(&path, &record.encode_to_vec());
    written.map_err(|source| MembershipError::Io { path, source })
}

/// Refuses a folder that holds a membership.
fn refuse_existing(folder: &Path) -> Result<(), MembershipError> {
    match read(folder)? {
        None => Ok(()),
        Some(record) => Err(MembershipError::Exists {
            folder: folder.to_owned(),
            cluster: record.cluster,
            gateway: record.gateway,
        }),
    }
}

#[cfg(test)]
mod mutants;
