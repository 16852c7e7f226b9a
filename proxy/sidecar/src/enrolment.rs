//! A sidecar's identity: the first one for a token, the next ones for the one before.
//!
//! Kept in the state folder, so that a restart needs no token and no gateway.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use rustls::pki_types::CertificateDer;
use tonic::Status;
use weft_identity::{
    Bundle, BundleSource, Bundles, EnrolmentToken, KeyStore, KeyStoreError, PeerRule, Sealing,
    Svid, SvidError, SvidSource, TokenError, client_config, client_config_pinned, new_csr,
};
use weft_model::{
    ClusterName, FederationDomain, NameError, RegionName, SpiffeId, TrustDomain, WallTime,
};
use weft_proto::identity::enrolment_client::EnrolmentClient;
use weft_proto::identity::{EnrolRequest, EnrolResponse};

use crate::catalog::{Connect, replace_file};
use crate::config::Config;
use crate::renewal::{Install, Renewal};
use crate::rpc::{self, ALPN_GRPC, DialError};

/// How long one gateway may take over one step.
const STEP: Duration = Duration::from_secs(5);
/// The private key's name in the key store.
const KEY: &str = "svid";
/// Its name while the record that belongs to it is being written.
const KEY_NEXT: &str = "svid-next";
/// The rest of the identity, beside the key store.
const RECORD: &str = "identity.pb";
/// How often an identity that the disk did not take is offered to it again.
const KEEP_RETRY: Duration = Duration::from_secs(10);

/// Why a sidecar has no identity.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// There is none yet, and no token to get one.
    #[error("there is no identity in {0} and no enrolment token to get one")]
    NoToken(PathBuf),
    /// The token's file cannot be read.
    #[error("the token file {path} cannot be read")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The token does not parse.
    #[error("the enrolment token does not read")]
    Token(#[from] TokenError),
    /// The token is for another workload than the configuration names.
    #[error("the token is for {token}, the configuration for {configured}")]
    OtherWorkload {
        /// Whom the token makes.
        token: String,
        /// Whom the configuration wants.
        configured: String,
    },
    /// No gateway could be asked.
    #[error("no gateway answered")]
    Dial(#[source] Box<DialError>),
    /// The gateway refused.
    #[error("the gateway refused: {}", .0.message())]
    Refused(#[source] Box<Status>),
    /// What the gateway sent is no identity.
    #[error("the gateway's answer is no identity")]
    Svid(#[from] SvidError),
    /// The gateway's bundle is no bundle.
    #[error("the gateway's bundle does not read")]
    Bundle(#[from] weft_identity::BundleError),
    /// A name in the answer is none.
    #[error("the gateway's answer has a name that is none")]
    Name(#[from] NameError),
    /// The key store refused.
    #[error("the key store refused")]
    KeyStore(#[from] KeyStoreError),
    /// The state folder refused.
    #[error("the state folder refused {path}")]
    State {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}

/// Who this sidecar is, where, and whom it trusts to begin with.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Its SVID, renewed in place.
    pub svid: SvidSource,
    /// Bundles by trust domain: its own cluster's at first, more from the catalog.
    pub bundles: BundleSource,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its region.
    pub region: RegionName,
    /// The federation's domain.
    pub domain: FederationDomain,
}

impl Enrolled {
    /// The identity kept in the state folder if it is still good at `now`, otherwise a new one
    /// for the token.
    pub async fn obtain(config: &Config, now: WallTime) -> Result<Self, EnrolmentError> {
        let keys = key_store(&config.state_dir)?;
        if let Some(kept) = load(&config.state_dir, &keys)?
            && kept.svid.expires() > now
        {
            return Ok(kept);
        }
        enrol(config).await
    }

    /// Opens channels to this cluster's gateways under the present identity.
    pub fn connect(&self) -> Connect {
        let domain = self.svid.current().id().trust_domain.clone();
        let tls = client_config(
            &self.svid,
            &self.bundles,
            PeerRule::GatewayOf(domain),
            &[ALPN_GRPC],
        );
        Arc::new(move |address: String| {
            let tls = Arc::clone(&tls);
            Box::pin(async move { Ok(first_channel(&[address], tls).await?) })
        })
    }

    /// Renewal at half life; each new identity is kept before it is used, if the disk takes it.
    pub fn renewal(
        &self,
        config: &Config,
        clock: impl Fn() -> WallTime + Send + Sync + 'static,
    ) -> Renewal {
        let (due, kept) = (self.svid.clone(), self.svid.clone());
        let state = config.state_dir.clone();
        let seed = rand::random();
        Renewal {
            gateways: config.gateways.clone(),
            connect: self.connect(),
            due: Box::new(move || due.current().renew_at(seed).since(clock())),
            request: Box::new(move || {
                let (key, csr) = new_csr();
                let (svid, state) = (kept.clone(), state.clone());
                let install: Install =
                    Box::new(move |chain| Ok(install(&svid, &state, key, chain)?));
                Ok((csr, install))
            }),
        }
    }
}

fn install(
    source: &SvidSource,
    state: &Path,
    key: zeroize::Zeroizing<Vec<u8>>,
    chain: Vec<Vec<u8>>,
) -> Result<(), EnrolmentError> {
    let mut record = read_record(state)?.unwrap_or_default();
    record.chain = chain.into_iter().map(bytes::Bytes::from).collect();
    let svid = Svid::from_der(certificates(&record.chain), key)?;
    keep_or_retry(state, record, source, svid.clone());
    source.replace(svid);
    Ok(())
}

/// Keeps an identity on disk. If the disk does not take it (it is full, say), traffic must not
/// suffer: the identity is used all the same, and kept as soon as that is possible.
fn keep_or_retry(state: &Path, record: EnrolResponse, source: &SvidSource, svid: Svid) {
    let state = state.to_owned();
    let try_to =
        move |record: &EnrolResponse, svid: &Svid| keep(&state, &key_store(&state)?, record, svid);
    let Err(error) = try_to(&record, &svid) else {
        return;
    };
    tracing::error!(%error, "the identity is not kept on disk; trying again");
    let source = source.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(KEEP_RETRY).await;
            if source.current().chain() != svid.chain() {
                // A newer one has taken its place.
                return;
            }
            if try_to(&record, &svid).is_ok() {
                tracing::info!("the identity is kept on disk");
                return;
            }
        }
    });
}

fn key_store(state: &Path) -> Result<KeyStore, EnrolmentError> {
    Ok(KeyStore::open(
        &state.join("keys"),
        Sealing::KeyFile(state.join("keys/sealing.key")),
    )?)
}

async fn enrol(config: &Config) -> Result<Enrolled, EnrolmentError> {
    let text = token_text(config)?;
    let token: EnrolmentToken = text.parse()?;
    let claims = token.claims();
    let configured = SpiffeId::workload(
        claims.trust_domain.clone(),
        config.namespace.clone(),
        config.account.clone(),
    );
    if claims.spiffe_id() != configured {
        return Err(EnrolmentError::OtherWorkload {
            token: claims.spiffe_id().to_string(),
            configured: configured.to_string(),
        });
    }
    let mut addresses = config.gateways.clone();
    addresses.extend(claims.addresses.iter().map(ToString::to_string));
    let channel = first_channel(
        &addresses,
        client_config_pinned(claims.bundle_hash, &[ALPN_GRPC]),
    )
    .await?;
    let (key, csr) = new_csr();
    let request = EnrolRequest {
        token: text.trim().to_owned(),
        csr: csr.into(),
    };
    let answer = EnrolmentClient::new(channel).enrol(request).await;
    let record = answer
        .map_err(|status| EnrolmentError::Refused(Box::new(status)))?
        .into_inner();
    let svid = Svid::from_der(certificates(&record.chain), key)?;
    let enrolled = assemble(&record, svid.clone())?;
    // The token is spent: to fail now would lose the identity it bought.
    keep_or_retry(&config.state_dir, record, &enrolled.svid, svid);
    Ok(enrolled)
}

fn token_text(config: &Config) -> Result<String, EnrolmentError> {
    let source = config.enrolment.as_ref();
    if let Some(token) = source.and_then(|source| source.token.clone()) {
        return Ok(token);
    }
    let path = source
        .and_then(|source| source.token_file.clone())
        .ok_or_else(|| EnrolmentError::NoToken(config.state_dir.clone()))?;
    fs::read_to_string(&path).map_err(|source| EnrolmentError::TokenFile { path, source })
}

async fn first_channel(
    addresses: &[String],
    tls: Arc<rustls::ClientConfig>,
) -> Result<tonic::transport::Channel, EnrolmentError> {
    let mut last = None;
    for address in addresses {
        let resolved = match rpc::resolve(address).await {
            Ok(resolved) => resolved,
            Err(error) => {
                last = Some(error);
                continue;
            }
        };
        for address in resolved {
            match rpc::dial(address, Arc::clone(&tls), STEP).await {
                Ok(channel) => return Ok(channel),
                Err(error) => last = Some(error),
            }
        }
    }
    Err(EnrolmentError::Dial(Box::new(last.unwrap_or_else(|| {
        DialError::Resolve {
            host: String::new(),
            source: io::ErrorKind::AddrNotAvailable.into(),
        }
    }))))
}

fn certificates(chain: &[bytes::Bytes]) -> Vec<CertificateDer<'static>> {
    chain
        .iter()
        .map(|der| CertificateDer::from(der.to_vec()))
        .collect()
}

fn assemble(record: &EnrolResponse, svid: Svid) -> Result<Enrolled, EnrolmentError> {
    let own: TrustDomain = svid.id().trust_domain.clone();
    let bundle = Bundle::new(own, certificates(&record.bundle))?;
    Ok(Enrolled {
        svid: SvidSource::new(svid),
        bundles: BundleSource::new(Bundles::from_iter([bundle])),
        cluster: record.cluster.parse()?,
        region: record.region.parse()?,
        domain: record.domain.parse()?,
    })
}

fn read_record(state: &Path) -> Result<Option<EnrolResponse>, EnrolmentError> {
    let path = state.join(RECORD);
    match fs::read(&path) {
        // A record that does not read is as good as none: the token makes a new one.
        Ok(bytes) => Ok(EnrolResponse::decode(&*bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(EnrolmentError::State { path, source }),
    }
}

fn load(state: &Path, keys: &KeyStore) -> Result<Option<Enrolled>, EnrolmentError> {
    let Some(record) = read_record(state)? else {
        return Ok(None);
    };
    // A crash while keeping a renewed identity leaves either key beside either record.
    for name in [KEY, KEY_NEXT] {
        if let Some(key) = keys.load(name)?
            && let Ok(svid) = Svid::from_der(certificates(&record.chain), key)
        {
            return assemble(&record, svid).map(Some);
        }
    }
    Ok(None)
}

fn keep(
    state: &Path,
    keys: &KeyStore,
    record: &EnrolResponse,
    svid: &Svid,
) -> Result<(), EnrolmentError> {
    keys.put(KEY_NEXT, svid.key())?;
    let path = state.join(RECORD);
    replace_file(&path, &record.encode_to_vec())
        .map_err(|source| EnrolmentError::State { path, source })?;
    Ok(keys.put(KEY, svid.key())?)
}
