//! Renewal: who has an identity of this cluster gets the next one.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weft_model::{SpiffePath, code};
use weft_proto::identity::renewal_server::Renewal;
use weft_proto::identity::{RenewRequest, RenewResponse};

use super::{caller, refusal};
use crate::hub::Hub;

/// The service.
#[derive(Debug, Clone)]
pub struct RenewalService(pub Arc<Hub>);

#[tonic::async_trait]
impl Renewal for RenewalService {
    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        let hub = &self.0;
        let id = caller(&request)
            .ok_or_else(|| refusal(code::NOT_AUTHORISED, "renewal needs an identity"))?
            .clone();
        let ours = id.trust_domain == *hub.trust_domain();
        if !ours
            || !matches!(
                id.path,
                SpiffePath::Workload { .. } | SpiffePath::Gateway(_)
            )
        {
            return Err(refusal(
                code::NOT_AUTHORISED,
                format!("{id} is no identity of this cluster"),
            ));
        }
        let chain = hub.issue(&request.get_ref().csr, &id)?;
        tracing::info!(%id, "identity renewed");
        Ok(Response::new(RenewResponse { chain }))
    }
}
