//! The admin API's client: finds a gateway of the asked cluster, proves who the
//! operator is, and turns every failure into what, why and next step.

mod backup;
mod connect;
mod region;
mod tap;

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use weft_gateway::admin::view::StatusView;
use weft_identity::SigningKey;
use weft_model::{
    Author, ClusterName, ClusterRole, Code, Command, Generation, Kind, Namespace, NodeId,
    RegionName, RequestId, ServiceAccount, ServiceKey, TokenGrant, code,
};
use weft_proto::api::admin_client::AdminClient;
use weft_proto::api::{
    AskRequest, DeleteRequest, Document as ApiDocument, GetRequest, IssueWorkloadTokenRequest,
    PutRequest, StatusRequest, SubmitRequest, SubmitResponse, TransferLeaderRequest, WatchEvent,
    WatchRequest,
};
use weft_registry::{Draft, Proposal};

use crate::args::Global;
use crate::as_of::AsOf;
use crate::command::apply::{command_of, namespace_of, no_namespace};
use crate::context::{Context, Contexts};
use crate::document::Document;
use crate::problem::Problem;

pub(crate) use connect::dial_problem;

/// How often a command that lost a race for its generation is signed anew.
const RACES_MAX: usize = 5;
/// The most a sidecar's admin answer may hold, in bytes.
const FETCH_MAX: usize = 64 << 20;

/// A connection to one gateway, as one operator.
pub(crate) struct Client {
    admin: AdminClient<Channel>,
    context: Context,
    applied: u64,
    timeout: Duration,
    as_of: Option<AsOf>,
}

/// A join token as it is given out, and where to use it.
pub(crate) struct GrantedToken {
    pub(crate) text: String,
    pub(crate) address: String,
}

impl Client {
    /// Connects to a gateway of the asked cluster, trying each of its addresses.
    pub(crate) async fn connect(global: &Global) -> Result<Self, Problem> {
        let contexts = Contexts::load()?;
        let (name, context) = contexts.pick(global.context.as_deref())?;
        let cluster = global.cluster.as_ref().unwrap_or(&context.home);
        let context = match context.clusters.contains_key(cluster) {
            true => context.clone(),
            false => refresh(&contexts, name, global.timeout).await?,
        };
        let client = match Self::to(context, cluster, global.timeout).await {
            // Its gateways may be others by now.
            Err(problem) if problem.code == code::UNREACHABLE => {
                let known = refresh(&contexts, name, global.timeout).await;
                let known = known.map_err(|_| problem)?;
                Self::to(known, cluster, global.timeout).await?
            }
            other => other?,
        };
        Ok(Self {
            as_of: global.as_of,
            ..client
        })
    }

    /// Connects to the cluster that a join token for `joining` must come from: its own if it is a
    /// member already, since only its own CA makes it a further gateway; otherwise the one that
    /// `global` says, or the home.
    pub(crate) async fn connect_for(
        global: &Global,
        joining: &ClusterName,
    ) -> Result<Self, Problem> {
        let mut client = Self::connect(global).await?;
        let members = client.status(false).await?.clusters;
        match members.iter().any(|member| member.name == joining.as_str()) {
            true => {
                Self::connect(&Global {
                    cluster: Some(joining.clone()),
                    ..global.clone()
                })
                .await
            }
            false => Ok(client),
        }
    }

    async fn to(
        context: Context,
        cluster: &ClusterName,
        timeout: Duration,
    ) -> Result<Self, Problem> {
        let channel = connect::channel(&context, cluster, timeout).await?;
        let admin = AdminClient::new(channel).max_decoding_message_size(FETCH_MAX);
        Ok(Self {
            admin,
            context,
            applied: 0,
            timeout,
            as_of: None,
        })
    }

    /// The log position of the last answer.
    pub(crate) fn applied_index(&self) -> u64 {
        self.applied
    }

    /// The gateway's view of the federation.
    pub(crate) async fn status(&mut self, consistent: bool) -> Result<StatusView, Problem> {
        let request = self.request(StatusRequest { consistent });
        let document = self
            .admin
            .status(request)
            .await
            .map_err(|status| problem(&status))?
            .into_inner();
        self.read(document)
    }

    /// A named question, JSON in and out.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &mut self,
        question: &str,
        arguments: impl Serialize,
    ) -> Result<T, Problem> {
        let mut arguments = json!(arguments);
        if let (Some(as_of), Some(fields)) = (self.as_of, arguments.as_object_mut()) {
            fields.insert("asOf".to_owned(), as_of.argument());
        }
        let json = arguments.to_string().into_bytes().into();
        let request = self.request(AskRequest {
            question: question.to_owned(),
            json,
        });
        let document = self
            .admin
            .ask(request)
            .await
            .map_err(|status| problem(&status))?
            .into_inner();
        self.read(document)
    }

    /// The log's entries after an index, as the gateway applies them.
    pub(crate) async fn watch(&mut self, after: u64) -> Result<Streaming<WatchEvent>, Problem> {
        // Without a time limit: what comes next comes when it comes.
        let request = Request::new(WatchRequest { from_index: after });
        let answer = self.admin.watch(request).await;
        Ok(answer.map_err(|status| problem(&status))?.into_inner())
    }

    /// The resources of a kind, or the one of a name.
    pub(crate) async fn resources(
        &mut self,
        global: &Global,
        kind: Kind,
        name: Option<&str>,
        consistent: bool,
    ) -> Result<Vec<Value>, Problem> {
        let request = self.request(GetRequest {
            kind: kind.to_string(),
            namespace: global
                .namespace
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            name: name.unwrap_or_default().to_owned(),
            cluster: global
                .cluster
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            consistent,
            as_of_index: match global.as_of {
                Some(AsOf::Index(index)) => index,
                _ => 0,
            },
            as_of_ms: match global.as_of {
                Some(AsOf::Time(time)) => time.0,
                _ => 0,
            },
        });
        let document = self
            .admin
            .get(request)
            .await
            .map_err(|status| problem(&status))?
            .into_inner();
        self.read(document)
    }

    /// Creates or changes a resource; answers with the log position.
    pub(crate) async fn put(
        &mut self,
        global: &Global,
        document: Document,
        if_index: Option<u64>,
        dry_run: bool,
    ) -> Result<u64, Problem> {
        if let Some(command) = command_of(&document, global.namespace.as_ref())? {
            return self.submit(command, if_index, dry_run).await;
        }
        let mut resource = json!(document);
        if resource.pointer("/metadata/namespace").is_none() {
            let namespace = namespace_of(&document, global.namespace.as_ref())?;
            resource["metadata"]["namespace"] = json!(namespace);
        }
        let request = self.request(PutRequest {
            kind: document.kind().to_string(),
            resource_json: resource.to_string().into_bytes().into(),
            if_index: if_index.unwrap_or(0),
            dry_run,
        });
        let answer = self
            .admin
            .put(request)
            .await
            .map_err(|status| problem(&status))?
            .into_inner();
        applied(answer)
    }

    /// Deletes a resource.
    pub(crate) async fn delete(
        &mut self,
        kind: Kind,
        namespace: Option<Namespace>,
        name: &str,
        if_index: Option<u64>,
    ) -> Result<u64, Problem> {
        let invalid =
            |error: weft_model::NameError| Problem::new(code::USAGE, format!("{name:?}: {error}"));
        let command = match kind {
            Kind::Cluster => Some(Command::RemoveCluster(
                ClusterName::new(name).map_err(invalid)?,
            )),
            Kind::RoleBinding => Some(Command::DeleteRoleBinding(name.parse().map_err(invalid)?)),
            Kind::Route | Kind::TrafficPolicy => {
                let namespace = namespace.clone().ok_or_else(|| no_namespace(kind))?;
                let name = name.parse().map_err(invalid)?;
                Some(match kind {
                    Kind::Route => Command::DeleteRoute(namespace, name),
                    _ => Command::DeleteTrafficPolicy(namespace, name),
                })
            }
            Kind::Release => {
                let namespace = namespace.clone().ok_or_else(|| no_namespace(kind))?;
                let key = ServiceKey::new(namespace, name.parse().map_err(invalid)?);
                Some(Command::DeleteRelease(key))
            }
            Kind::ServiceExport | Kind::WorkloadEntry => None,
        };
        if let Some(command) = command {
            return self.submit(command, if_index, false).await;
        }
        let request = self.request(DeleteRequest {
            kind: kind.to_string(),
            namespace: namespace.map(String::from).unwrap_or_default(),
            name: name.to_owned(),
            if_index: if_index.unwrap_or(0),
            dry_run: false,
        });
        let answer = self
            .admin
            .delete(request)
            .await
            .map_err(|status| problem(&status))?
            .into_inner();
        applied(answer)
    }

    /// Signs a command with the operator's key and has it committed, again if another of this
    /// operator's commands took the generation first.
    pub(crate) async fn submit(
        &mut self,
        command: Command,
        if_index: Option<u64>,
        dry_run: bool,
    ) -> Result<u64, Problem> {
        let key = self.signing_key()?;
        let mut tries = 0;
        loop {
            tries += 1;
            let order: Value = self.ask("order", json!({})).await?;
            let generation = order.get("generation").and_then(Value::as_u64).unwrap_or(1);
            let draft = Draft {
                request: RequestId(rand::random()),
                author: Author::Operator(self.context.user.clone(), self.context.signing_epoch),
                by_order_of: None,
                generation: Generation(generation),
                command: command.clone(),
            };
            let entry = Proposal::sign(&key, &draft).encode();
            let request = self.request(SubmitRequest {
                entry,
                if_index: if_index.unwrap_or(0),
                dry_run,
            });
            match self.admin.submit(request).await {
                Ok(answer) => return applied(answer.into_inner()),
                Err(status) if tries < RACES_MAX && lost_race(&status) => {}
                Err(status) => return Err(problem(&status)),
            }
        }
    }

    /// Makes a join token: its secret is made here and goes nowhere else.
    pub(crate) async fn grant_token(
        &mut self,
        cluster: ClusterName,
        region: RegionName,
        role: ClusterRole,
        ttl: Duration,
    ) -> Result<GrantedToken, Problem> {
        let key = SigningKey::generate();
        let expires = crate::clock::now().after(ttl);
        let grant = TokenGrant {
            key: key.public(),
            cluster: cluster.clone(),
            region: region.clone(),
            role,
            expires,
        };
        self.submit(Command::GrantToken(grant), None, false).await?;
        let asked = self.status(false).await?;
        connect::join_token(&self.context, &asked, &key, cluster, region)
    }

    /// A token that gives a sidecar its first identity.
    pub(crate) async fn workload_token(
        &mut self,
        namespace: Namespace,
        account: ServiceAccount,
        ttl: Duration,
    ) -> Result<String, Problem> {
        let request = self.request(IssueWorkloadTokenRequest {
            namespace: namespace.into(),
            account: account.into(),
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        });
        let answer = self
            .admin
            .issue_workload_token(request)
            .await
            .map_err(|status| problem(&status))?;
        Ok(answer.into_inner().token)
    }

    /// Takes the asked cluster out of the federation, by its own gateway's word.
    pub(crate) async fn leave(&mut self) -> Result<u64, Problem> {
        let answer: Value = self.ask("leave", json!({})).await?;
        Ok(answer
            .get("index")
            .and_then(Value::as_u64)
            .unwrap_or(self.applied))
    }

    /// Hands leadership over.
    pub(crate) async fn transfer(&mut self, to: NodeId) -> Result<(), Problem> {
        let request = self.request(TransferLeaderRequest { node: to.0 });
        self.admin
            .transfer_leader(request)
            .await
            .map_err(|status| problem(&status))?;
        Ok(())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    fn read<T: DeserializeOwned>(&mut self, document: ApiDocument) -> Result<T, Problem> {
        self.applied = document.applied_index;
        serde_json::from_slice(&document.json).map_err(|error| {
            Problem::new(code::UNREACHABLE, "the gateway's answer does not read")
                .detail(error)
                .next("Its version may differ from this one's: compare `weft version` there.")
        })
    }

    fn signing_key(&self) -> Result<SigningKey, Problem> {
        let seed = &self.context.signing_seed;
        let bytes: Option<Vec<u8>> = (0..seed.len())
            .step_by(2)
            .map(|at| {
                seed.get(at..at + 2)
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            })
            .collect();
        let seed: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
        seed.map(SigningKey::from_seed).ok_or_else(|| {
            Problem::new(
                code::KEY_UNREADABLE,
                "the context's signing seed is damaged",
            )
        })
    }
}

/// Learns the members that the context does not know yet from its home, and keeps them.
async fn refresh(contexts: &Contexts, name: &str, timeout: Duration) -> Result<Context, Problem> {
    let (_, context) = contexts.pick(Some(name))?;
    let mut client = Client::to(context.clone(), &context.home, timeout).await?;
    let status = client.status(false).await?;
    let context = context.clone().with_members(status.clusters);
    let mut contexts = contexts.clone();
    contexts.contexts.insert(name.to_owned(), context.clone());
    contexts.save()?;
    Ok(context)
}

fn applied(answer: SubmitResponse) -> Result<u64, Problem> {
    match Code::find(&answer.code) {
        None => Ok(answer.index),
        Some(code) => Err(Problem::new(*code, answer.outcome)),
    }
}

/// Whether another write of ours came first: the registry asks to read again and retry.
fn lost_race(status: &Status) -> bool {
    status.message().contains("a replay, or a lost race")
}

/// A gateway's refusal, with the code it sends along.
pub(crate) fn problem(status: &Status) -> Problem {
    let named = status
        .metadata()
        .get("weft-code")
        .and_then(|code| code.to_str().ok());
    let code = named
        .and_then(Code::find)
        .copied()
        .unwrap_or(match status.code() {
            tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => code::OUTCOME_UNKNOWN,
            tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => code::NOT_AUTHORISED,
            tonic::Code::InvalidArgument => code::INVALID_RESOURCE,
            tonic::Code::FailedPrecondition => code::REFUSED,
            _ => code::UNREACHABLE,
        });
    Problem::new(code, status.message())
}

/// Reads a page of a sidecar's or gateway's HTTP port.
pub(crate) async fn fetch(
    target: SocketAddr,
    path: &str,
    limit: Duration,
) -> Result<Bytes, Problem> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Problem::new(code::UNREACHABLE, format!("{target} does not answer")).detail(error)
    };
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(target).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = hyper::Request::get(path)
            .header(hyper::header::HOST, target.to_string())
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let body = Limited::new(response.into_body(), FETCH_MAX)
            .collect()
            .await?
            .to_bytes();
        driver.abort();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(body)
    };
    match tokio::time::timeout(limit, exchange).await {
        Ok(result) => result.map_err(failed),
        Err(elapsed) => Err(failed(elapsed.into())),
    }
}
