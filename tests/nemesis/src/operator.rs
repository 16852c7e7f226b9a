//! An operator as a client of one gateway: what was done, what was refused for certain, and
//! what nobody knows are three answers. Nothing is ever sent twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Request, Status};
use weft_identity::{
    Bundle, BundleSource, Bundles, PeerRule, SigningKey, Svid, SvidSource, client_config,
};
use weft_model::{
    Author, ClusterName, Code, Command, FederationDomain, Generation, RequestId, RouteSpec,
    SignerEpoch, TrustDomain, UserName, code,
};
use weft_proto::api::admin_client::AdminClient;
use weft_proto::api::{AskRequest, Document, GetRequest, PutRequest, StatusRequest, SubmitRequest};
use weft_proxy::rpc::{self, ALPN_GRPC};
use weft_registry::{Draft, Proposal};

/// The namespace of everything that is written.
const NAMESPACE: &str = "nemesis";

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It was done.
    Done,
    /// It was not done, and never will be.
    Refused(String),
    /// It may have been done, or be done later.
    Unknown(String),
}

/// Who asks, as `weft cluster init` left it in the user's configuration.
#[derive(Debug)]
pub struct Credentials {
    domain: FederationDomain,
    user: UserName,
    epoch: SignerEpoch,
    key: Arc<SigningKey>,
    svid: SvidSource,
    bundles: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct File {
    contexts: BTreeMap<String, FileContext>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileContext {
    domain: FederationDomain,
    clusters: BTreeMap<String, FileMember>,
    user: UserName,
    certificate: String,
    key: String,
    signing_seed: String,
    signing_epoch: SignerEpoch,
}

#[derive(Deserialize)]
struct FileMember {
    bundle: String,
}

impl Credentials {
    /// Reads the one context of a configuration folder.
    ///
    /// # Errors
    /// There is none, or it does not read.
    pub fn load(folder: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(folder.join("config.yaml"))?;
        let file: File = serde_saphyr::from_str(&text)?;
        let context = file.contexts.into_values().next().context("no context")?;
        let seed = &context.signing_seed;
        let pairs = (0..seed.len()).step_by(2).map(|at| seed.get(at..at + 2));
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| u8::from_str_radix(pair?, 16).ok())
            .collect();
        let seed: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
        let chain = CertificateDer::pem_slice_iter(context.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(context.key.as_bytes())?;
        let key = zeroize::Zeroizing::new(key.secret_pkcs8_der().to_vec());
        let members = context.clusters.into_iter();
        Ok(Self {
            domain: context.domain,
            user: context.user,
            epoch: context.signing_epoch,
            key: Arc::new(SigningKey::from_seed(seed.context("a signing seed")?)),
            svid: SvidSource::new(Svid::from_der(chain, key)?),
            bundles: members
                .map(|(name, member)| (name, member.bundle))
                .collect(),
        })
    }

    /// Takes the bundles of all members from what a gateway says of them.
    ///
    /// # Errors
    /// It says something else.
    pub fn learn(&mut self, status: &Value) -> Result<()> {
        let clusters = status["clusters"].as_array().context("clusters")?;
        for cluster in clusters {
            let text = |key: &str| cluster[key].as_str().context("text").map(str::to_owned);
            self.bundles.insert(text("name")?, text("bundle")?);
        }
        Ok(())
    }

    /// Connects to a gateway of `cluster`.
    ///
    /// # Errors
    /// It is not there, or somebody else is.
    pub async fn connect(
        &self,
        cluster: &str,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<Operator> {
        let cluster: ClusterName = cluster.parse()?;
        let domain = TrustDomain::of_cluster(&cluster, &self.domain);
        let bundle = self.bundles.get(cluster.as_str()).context("a bundle")?;
        let certificates =
            CertificateDer::pem_slice_iter(bundle.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let bundle = Bundle::new(domain.clone(), certificates)?;
        let bundles = BundleSource::new(Bundles::from_iter([bundle]));
        let rule = PeerRule::GatewayOf(domain);
        let tls = client_config(&self.svid, &bundles, rule, &[ALPN_GRPC]);
        let channel = rpc::dial(address, tls, limit).await?;
        Ok(Operator {
            admin: AdminClient::new(channel),
            user: self.user.clone(),
            epoch: self.epoch,
            key: Arc::clone(&self.key),
            patience: PATIENCE,
        })
    }
}

/// How long an answer may take: longer than a gateway tries.
const PATIENCE: Duration = Duration::from_secs(12);

/// A connection to one gateway.
#[derive(Debug, Clone)]
pub struct Operator {
    admin: AdminClient<Channel>,
    user: UserName,
    epoch: SignerEpoch,
    key: Arc<SigningKey>,
    patience: Duration,
}

impl Operator {
    /// The same connection, less patient.
    #[must_use]
    pub fn within(&self, patience: Duration) -> Self {
        Self {
            patience,
            ..self.clone()
        }
    }

    /// The gateway's view of the federation.
    ///
    /// # Errors
    /// It did not answer.
    pub async fn status(mut self) -> Result<Value> {
        let request = self.request(StatusRequest { consistent: false });
        let document = self.admin.status(request).await?.into_inner();
        Ok(serde_json::from_slice(&document.json)?)
    }

    /// The gateway's view of its peers and their clocks.
    ///
    /// # Errors
    /// It did not answer.
    pub async fn netcheck(mut self) -> Result<Value> {
        self.ask("netcheck").await
    }

    /// The audit trail that its gateway keeps, judged again by it.
    ///
    /// # Errors
    /// It does not answer, or something in the trail does not hold.
    pub async fn audit(mut self) -> Result<Value> {
        let trail = self.ask("audit").await?;
        ensure!(
            trail["fault"].is_null() && trail["unproven"] == 0,
            "{trail}"
        );
        Ok(trail)
    }

    async fn ask(&mut self, question: &str) -> Result<Value> {
        let request = self.request(AskRequest {
            question: question.into(),
            json: "{}".into(),
        });
        let document = self.admin.ask(request).await?.into_inner();
        Ok(serde_json::from_slice(&document.json)?)
    }

    /// Writes a value to a record of the gateway's own cluster.
    pub async fn write(&mut self, key: &str, value: u64) -> Told {
        let resource = json!({
            "apiVersion": "weft.dev/v1",
            "kind": "ServiceExport",
            "metadata": { "namespace": NAMESPACE, "name": key },
            "spec": { "ports": [{ "name": format!("v{value}"), "port": 80 }] },
        });
        let request = self.request(PutRequest {
            kind: "ServiceExport".into(),
            resource_json: resource.to_string().into_bytes().into(),
            if_index: 0,
            dry_run: false,
        });
        told(self.admin.put(request).await.map(|_| ()))
    }

    /// The generation that the operator's next command must carry, as far as this gateway knows.
    ///
    /// # Errors
    /// It did not answer.
    pub async fn next_generation(&mut self) -> Result<u64> {
        let answer = self.ask("order").await?;
        answer["generation"].as_u64().context("a generation")
    }

    /// Writes a value to a record of the federation's, as the command of a generation.
    ///
    /// # Errors
    /// The record makes no sense.
    pub async fn write_as(&mut self, key: &str, generation: u64, value: u64) -> Result<Told> {
        let spec: RouteSpec = serde_json::from_value(json!({
            "parentRefs": [{ "name": key }],
            "rules": [{ "backendRefs": [{ "name": format!("v{value}") }] }],
        }))?;
        let draft = Draft {
            request: RequestId(rand::random()),
            author: Author::Operator(self.user.clone(), self.epoch),
            by_order_of: None,
            generation: Generation(generation),
            command: Command::PutRoute(NAMESPACE.parse()?, key.parse()?, Box::new(spec)),
        };
        let request = self.request(SubmitRequest {
            entry: Proposal::sign(&self.key, &draft).encode(),
            if_index: 0,
            dry_run: false,
        });
        Ok(told(self.admin.submit(request).await.map(|_| ())))
    }

    /// What a record of `cluster` holds, or one of the federation's if that is empty; and the
    /// log position of the answer.
    ///
    /// # Errors
    /// There was no answer, or one that makes no sense.
    pub async fn read(&mut self, key: &str, cluster: &str, how: Reading) -> Result<(u64, u64)> {
        let (kind, place) = match cluster.is_empty() {
            true => ("Route", "/spec/rules/0/backendRefs/0/name"),
            false => ("ServiceExport", "/spec/ports/0/name"),
        };
        let request = self.request(GetRequest {
            kind: kind.into(),
            namespace: NAMESPACE.into(),
            name: key.into(),
            cluster: cluster.into(),
            consistent: how == Reading::Linearizable,
            ..GetRequest::default()
        });
        let document: Document = self.admin.get(request).await?.into_inner();
        let found: Vec<Value> = serde_json::from_slice(&document.json)?;
        ensure!(found.len() <= 1, "{} records of one name", found.len());
        let value = match found.first() {
            None => 0,
            Some(record) => {
                let text = record.pointer(place).and_then(Value::as_str);
                let digits = text.and_then(|text| text.strip_prefix('v'));
                digits.context("a value")?.parse()?
            }
        };
        Ok((value, document.applied_index))
    }

    fn request<T>(&self, body: T) -> Request<T> {
        let mut request = Request::new(body);
        request.set_timeout(self.patience);
        request
    }
}

/// How a read is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// From the gateway's own replica, as it is.
    Local,
    /// After what is committed now.
    Linearizable,
}

/// Codes that promise that nothing was done and nothing will be.
const CERTAIN: [Code; 8] = [
    code::NO_LEADER,
    code::READ_ONLY,
    code::REFUSED,
    code::NOT_AUTHORISED,
    code::INVALID_RESOURCE,
    code::TOO_LARGE,
    code::STALE_INDEX,
    code::USAGE,
];

fn told(answer: Result<(), Status>) -> Told {
    let status = match answer {
        Ok(()) => return Told::Done,
        Err(status) => status,
    };
    let said = format!("{:?}: {}", status.code(), status.message());
    let code = status.metadata().get("weft-code");
    let code = code.and_then(|code| code.to_str().ok());
    match code.is_some_and(|code| CERTAIN.iter().any(|known| known.to_string() == code)) {
        true => Told::Refused(said),
        false => Told::Unknown(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: Option<Code>) -> Status {
        let mut status = Status::unavailable("no");
        if let Some(code) = code {
            let text = code.to_string().parse().unwrap();
            status.metadata_mut().insert("weft-code", text);
        }
        status
    }

    #[test]
    fn only_a_code_that_promises_it_is_a_refusal() {
        assert_eq!(told(Ok(())), Told::Done);
        let refused = |code| matches!(told(Err(status(code))), Told::Refused(_));
        assert!(refused(Some(code::NO_LEADER)));
        assert!(!refused(Some(code::OUTCOME_UNKNOWN)));
        assert!(!refused(Some(code::DISK)));
        // A connection that broke has no code of ours.
        assert!(!refused(None));
    }
}
