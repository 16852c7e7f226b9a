//! First identities: clusters and gateways by join token, sidecars by enrolment token.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weft_identity::EnrolmentToken;
use weft_model::{
    Author, Command, Federation, GatewayRecord, Node, NodeId, PublicKey, SpiffeId, TokenId,
    TokenState, code,
};
use weft_proto::identity::enrolment_server::Enrolment;
use weft_proto::identity::{
    DescribeRequest, DescribeResponse, EnrolRequest, EnrolResponse, JoinRequest, JoinResponse,
};
use weft_registry::Proposal;

use super::{UsedTokens, refusal};
use crate::hub::Hub;
use crate::membership::peers;

/// The service.
#[derive(Debug, Clone)]
pub struct EnrolmentService {
    hub: Arc<Hub>,
    used: Arc<UsedTokens>,
}

impl EnrolmentService {
    /// A service that remembers spent tokens in `used`.
    pub fn new(hub: Arc<Hub>, used: UsedTokens) -> Self {
        Self {
            hub,
            used: Arc::new(used),
        }
    }

    /// The claims of a token that one of our gateways signed and that is still good.
    fn check(&self, text: &str) -> Result<EnrolmentToken, Status> {
        let token: EnrolmentToken = text
            .parse()
            .map_err(|error| refusal(code::TOKEN_MALFORMED, format!("enrolment token: {error}")))?;
        let claims = token.claims();
        if claims.trust_domain != *self.hub.trust_domain() {
            let what = format!(
                "the token is for {}, not for this cluster",
                claims.trust_domain
            );
            return Err(refusal(code::TOKEN_UNKNOWN, what));
        }
        let state = self.hub.registry().state();
        let signer = state
            .nodes()
            .map(|(_, node)| node)
            .find(|node| node.cluster == *self.hub.cluster() && node.gateway.name == claims.signer);
        let key: Option<PublicKey> = signer.map(|node| node.gateway.key);
        if !key.is_some_and(|key| token.is_signed_by(&key)) {
            return Err(refusal(
                code::TOKEN_UNKNOWN,
                "no gateway of this cluster signed the token",
            ));
        }
        if self.hub.now() > claims.expires {
            return Err(refusal(
                code::TOKEN_EXPIRED,
                "the enrolment token has expired",
            ));
        }
        Ok(token)
    }
}

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn describe(
        &self,
        _: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        let hub = &self.hub;
        let tunnel = hub.config().tunnel.advertised();
        Ok(Response::new(DescribeResponse {
            domain: hub.domain().to_string(),
            cluster: hub.cluster().to_string(),
            gateway: hub.gateway().to_string(),
            tunnel: tunnel
                .map(|address| address.to_string())
                .unwrap_or_default(),
            time_ms: hub.now().0,
            bundle: hub.bundle_der(),
        }))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let JoinRequest { entry, csr } = request.into_inner();
        let malformed = |what: String| refusal(code::TOKEN_MALFORMED, what);
        let proposal = Proposal::decode(entry).map_err(|error| malformed(error.to_string()))?;
        let said = proposal
            .entry()
            .map_err(|error| malformed(error.to_string()))?;
        let (Author::Token(token), Command::RedeemToken(redemption)) =
            (&said.author, &said.command)
        else {
            return Err(malformed(
                "only a redemption signed by its token joins".into(),
            ));
        };
        let index = self.hub.propose(proposal).await?;
        let state = self.hub.registry().state();
        let (node, member) = redeemed(&state, *token, &redemption.gateway)
            .ok_or_else(|| refusal(code::TOKEN_USED, "the token made another gateway a member"))?;
        tracing::info!(cluster = %member.cluster, gateway = %member.gateway.name, %node, "a gateway joined");
        let chain = if member.cluster == *self.hub.cluster() {
            let name = member.gateway.name.clone();
            self.hub.issue(
                &csr,
                &SpiffeId::gateway(self.hub.trust_domain().clone(), name),
            )?
        } else {
            Vec::new()
        };
        Ok(Response::new(JoinResponse {
            node: node.0,
            peers: peers(&state, node),
            chain,
            applied_index: index.0,
            domain: self.hub.domain().to_string(),
        }))
    }

    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<EnrolResponse>, Status> {
        let EnrolRequest { token, csr } = request.into_inner();
        let token = self.check(&token)?;
        let id = token.claims().spiffe_id();
        // Issued first: a CSR that does not read must not cost the token.
        let chain = self.hub.issue(&csr, &id)?;
        let spent = self.used.spend(token.id(), token.claims().expires);
        let first = spent.map_err(|error| {
            refusal(
                code::NO_SPACE,
                format!("the use of the token cannot be recorded: {error}"),
            )
        })?;
        if !first {
            return Err(refusal(
                code::TOKEN_USED,
                "the enrolment token has been used",
            ));
        }
        tracing::info!(%id, "a sidecar enrolled");
        Ok(Response::new(EnrolResponse {
            chain,
            bundle: self.hub.bundle_der(),
            cluster: self.hub.cluster().to_string(),
            region: self.hub.config().region.to_string(),
            domain: self.hub.domain().to_string(),
        }))
    }
}

/// The node that the token made, if it is this gateway: a repeated request finds its own first answer.
fn redeemed<'a>(
    state: &'a Federation,
    token: TokenId,
    gateway: &GatewayRecord,
) -> Option<(NodeId, &'a Arc<Node>)> {
    let (_, (_, became)) = state.tokens().find(|(id, _)| *id == token)?;
    let TokenState::Redeemed(node) = *became else {
        return None;
    };
    let member = state.node(node)?;
    (member.gateway.key == gateway.key).then_some((node, member))
}
