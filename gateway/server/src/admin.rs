//! The admin API: what operators see and change through a gateway.
//!
//! Reads come from the local replica and the catalog view, with their age. Writes of what the
//! federation owns arrive signed by the operator; writes of what this cluster owns are
//! signed here, naming the operator who ordered them.

mod authorise;
mod backup;
mod events;
mod explain;
mod history;
mod observe;
mod paths;
mod read;
mod release;
mod revert;
mod status;
mod tap;
pub mod view;
mod write;

use history::Past;
pub(crate) use paths::own_peers;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tonic::{Request, Response, Status};
use weft_identity::{EnrolmentClaims, EnrolmentToken, bundle_hash};
use weft_model::{Index, NodeId, Role, code};
use weft_proto::api::admin_server::Admin;
use weft_proto::api::{
    AskRequest, BackupRequest, DeleteRequest, Document, GetRequest, IssueWorkloadTokenRequest,
    IssueWorkloadTokenResponse, PutRequest, StatusRequest, SubmitRequest, SubmitResponse,
    TapRequest, TransferLeaderRequest, WatchEvent, WatchRequest,
};

use crate::api::refusal;
use crate::hub::Hub;

/// The service.
#[derive(Debug, Clone)]
pub struct AdminService {
    hub: Arc<Hub>,
}

type Events = Pin<Box<dyn tokio_stream::Stream<Item = Result<WatchEvent, Status>> + Send>>;

impl AdminService {
    /// The admin API of this gateway.
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    async fn catch_up(&self, consistent: bool) -> Result<(), Status> {
        if consistent {
            self.hub
                .registry()
                .read_index()
                .await
                .map_err(|error| refusal(code::NO_LEADER, error.to_string()))?;
        }
        Ok(())
    }

    /// Questions that the log alone answers, about a moment of the past.
    async fn ask_past(
        &self,
        question: &str,
        arguments: &serde_json::Value,
        past: &Past,
    ) -> Result<Response<Document>, Status> {
        let (hub, state) = (&self.hub, &*past.state);
        match question {
            "status" => self.document(&status::past(hub, past)),
            "services" => self.document(&read::services_past(hub, state)),
            "tokens" => self.document(&read::tokens(hub, Some(past))),
            "events" => self.document(&events::recent(hub, arguments, Some(past)).await?),
            "history" => self.document(&history::revisions(hub, arguments, Some(past)).await?),
            "releases" => self.document(&release::list(hub, arguments, Some(state))),
            "release" => self.document(&release::one(hub, arguments, past)?),
            "release-explain" => self.document(&release::explain(hub, arguments, Some(state))?),
            "release-who" => self.document(&release::who(hub, arguments, Some(state))?),
            "route-explain" => self.document(&explain::route(hub, arguments, Some(past))?),
            other => Err(refusal(
                code::AS_OF_LIVE,
                format!("{other:?} is answered from what is live, not from the log"),
            )),
        }
    }

    fn document(&self, value: &impl Serialize) -> Result<Response<Document>, Status> {
        let json =
            serde_json::to_vec(value).map_err(|error| Status::internal(error.to_string()))?;
        let fresh = status::freshness(&self.hub);
        Ok(Response::new(Document {
            json: Bytes::from(json),
            applied_index: fresh.applied_index,
            age_ms: fresh.age_ms,
        }))
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<Document>, Status> {
        authorise::needs(&self.hub, &request, Role::Viewer)?;
        self.catch_up(request.get_ref().consistent).await?;
        self.document(&status::view(&self.hub))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Document>, Status> {
        authorise::needs(&self.hub, &request, Role::Viewer)?;
        self.catch_up(request.get_ref().consistent).await?;
        let moment = history::Moment::of(request.get_ref());
        let state = history::state(&self.hub, moment).await?;
        self.document(&read::resources(&state, request.get_ref())?)
    }

    async fn submit(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<SubmitResponse>, Status> {
        let user = authorise::needs(&self.hub, &request, Role::Operator)?;
        write::submit(&self.hub, &user, request.into_inner())
            .await
            .map(done)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<SubmitResponse>, Status> {
        let user = authorise::needs(&self.hub, &request, Role::Operator)?;
        write::put(&self.hub, user, request.into_inner())
            .await
            .map(done)
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<SubmitResponse>, Status> {
        let user = authorise::needs(&self.hub, &request, Role::Operator)?;
        write::delete(&self.hub, user, request.into_inner())
            .await
            .map(done)
    }

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<Document>, Status> {
        let user = authorise::needs(&self.hub, &request, Role::Viewer)?;
        let AskRequest { question, json } = request.get_ref();
        let arguments: serde_json::Value = serde_json::from_slice(json)
            .map_err(|error| refusal(code::USAGE, format!("the arguments are no JSON: {error}")))?;
        if let Some(moment) = history::Moment::among(&arguments)? {
            let past = Past::of(&self.hub, moment).await?;
            return self.ask_past(question, &arguments, &past).await;
        }
        match question.as_str() {
            "services" => self.document(&read::services(&self.hub)),
            "route-explain" => self.document(&explain::route(&self.hub, &arguments, None)?),
            "proxies" => self.document(&read::proxies(&self.hub)),
            "dns-explain" => self.document(&explain::dns(&self.hub, &arguments)?),
            "endpoints" => self.document(&read::endpoints(&self.hub, &arguments)?),
            "top-services" => self.document(&observe::services(&self.hub, &arguments).await?),
            "top-regions" => self.document(&observe::regions(&self.hub, &arguments).await?),
            "edges" => self.document(&observe::edges(&self.hub, &arguments).await?),
            "versions" => self.document(&observe::versions(&self.hub, &arguments).await?),
            "top-tunnels" => self.document(&paths::tunnels(&self.hub).await),
            "netcheck" => self.document(&paths::netcheck(&self.hub, &arguments).await?),
            "ping" => self.document(&paths::pinged(&self.hub, &arguments).await?),
            "order" => self.document(&read::order(&self.hub, &user)),
            "events" => self.document(&events::recent(&self.hub, &arguments, None).await?),
            "history" => self.document(&history::revisions(&self.hub, &arguments, None).await?),
            "raft-repair" => {
                authorise::needs(&self.hub, &request, Role::Admin)?;
                let begun = self.hub.registry().repair().await;
                self.document(&serde_json::json!({ "begun": begun }))
            }
            "revert" => self.document(&revert::preview(&self.hub, &arguments).await?),
            "audit" => self.document(&history::audit(&self.hub).await?),
            "releases" => self.document(&release::list(&self.hub, &arguments, None)),
            "release" => self.document(&release::with_traffic(&self.hub, &arguments).await?),
            "release-plan" => self.document(&release::plan(&self.hub, &arguments)?),
            "release-explain" => self.document(&release::explain(&self.hub, &arguments, None)?),
            "release-who" => self.document(&release::who(&self.hub, &arguments, None)?),
            "release-clamp" => {
                let user = authorise::needs(&self.hub, &request, Role::Operator)?;
                self.document(&release::clamp(&self.hub, user, &arguments).await?)
            }
            "tokens" => self.document(&read::tokens(&self.hub, None)),
            "leave" => {
                authorise::needs(&self.hub, &request, Role::Admin)?;
                self.document(&write::leave(&self.hub, user).await?)
            }
            other => Err(refusal(
                code::USAGE,
                format!("there is no question {other:?}"),
            )),
        }
    }

    type WatchStream = Events;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        authorise::needs(&self.hub, &request, Role::Viewer)?;
        let from = Index(request.get_ref().from_index);
        Ok(Response::new(events::watch(&self.hub, from)))
    }

    type TapStream = tap::Lines;

    async fn tap(&self, request: Request<TapRequest>) -> Result<Response<Self::TapStream>, Status> {
        // Paths and hosts of single requests are more than what a viewer needs to see.
        authorise::needs(&self.hub, &request, Role::Operator)?;
        let lines = tap::open(&self.hub, &request.get_ref().json)?;
        Ok(Response::new(lines))
    }

    type BackupStream = backup::Pieces;

    async fn backup(
        &self,
        request: Request<BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        authorise::needs(&self.hub, &request, Role::Admin)?;
        self.catch_up(true).await?;
        let pieces = backup::take(&self.hub).await?;
        Ok(Response::new(pieces))
    }

    async fn issue_workload_token(
        &self,
        request: Request<IssueWorkloadTokenRequest>,
    ) -> Result<Response<IssueWorkloadTokenResponse>, Status> {
        let user = authorise::needs(&self.hub, &request, Role::Operator)?;
        let IssueWorkloadTokenRequest {
            namespace,
            account,
            ttl_ms,
            ..
        } = request.into_inner();
        let invalid =
            |error: weft_model::NameError| refusal(code::INVALID_RESOURCE, error.to_string());
        let hub = &self.hub;
        let bundle = hub.bundle_der();
        let bundle: Vec<_> = bundle
            .iter()
            .map(|der| rustls_pki_types::CertificateDer::from(der.as_ref()))
            .collect();
        let claims = EnrolmentClaims {
            trust_domain: hub.trust_domain().clone(),
            namespace: namespace.parse().map_err(invalid)?,
            account: account.parse().map_err(invalid)?,
            expires: hub.now().after(std::time::Duration::from_millis(ttl_ms)),
            bundle_hash: bundle_hash(&bundle),
            addresses: hub.config().api.advertised().into_iter().collect(),
            signer: hub.gateway().clone(),
        };
        let id = claims.spiffe_id();
        let token = EnrolmentToken::sign(claims, hub.signing())
            .and_then(|token| token.expose())
            .map_err(|error| refusal(code::INVALID_RESOURCE, error.to_string()))?;
        tracing::info!(%id, %user, "an enrolment token was made");
        Ok(Response::new(IssueWorkloadTokenResponse {
            token: token.to_string(),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<Document>, Status> {
        authorise::needs(&self.hub, &request, Role::Admin)?;
        let to = NodeId(request.get_ref().node);
        self.hub
            .registry()
            .transfer(to)
            .await
            .map_err(|error| refusal(code::NO_LEADER, error.to_string()))?;
        self.document(&serde_json::json!({ "leader": to }))
    }
}

fn done(index: Index) -> Response<SubmitResponse> {
    Response::new(SubmitResponse {
        index: index.0,
        outcome: String::new(),
        code: String::new(),
    })
}
