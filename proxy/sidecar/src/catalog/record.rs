//! What a gateway says of one thing: an item, decoded and checked.

use std::sync::Arc;

use prost::Message;
use weft_decide::{ClusterView, ServiceSpec};
use weft_model::{ClusterName, Endpoint, EndpointId, ServiceKey, TrustDomain};
use weft_proto::catalog as wire;

use super::mirror::Change;
use super::wire::{self as convert, WireError};

/// What an item is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RecordKey {
    Service(ServiceKey),
    Endpoint(ServiceKey, ClusterName, EndpointId),
    Bundle(TrustDomain),
    Cluster(ClusterName),
}

impl RecordKey {
    /// Under which an endpoint stands.
    pub(super) fn of_endpoint(endpoint: &Endpoint) -> Self {
        let (service, cluster) = (endpoint.service.clone(), endpoint.cluster.clone());
        Self::Endpoint(service, cluster, endpoint.id)
    }
}

/// What it says.
#[derive(Debug, Clone)]
pub(super) enum Record {
    Service(Arc<ServiceSpec>),
    Endpoint(Arc<Endpoint>),
    Bundle(Arc<Vec<Vec<u8>>>),
    Cluster(Arc<ClusterView>),
}

/// Decodes an item: what it is about, and what it says; nothing if it is gone.
pub(super) fn decode(item: &[u8]) -> Result<(RecordKey, Option<Record>), WireError> {
    use wire::item::Item;
    let item = wire::Item::decode(item).map_err(|why| WireError::new("item", why))?;
    let item = item
        .item
        .ok_or_else(|| WireError::new("item", "is of an unknown kind"))?;
    Ok(match item {
        Item::Service(service) => {
            let spec = convert::service(&service)?;
            let key = RecordKey::Service(spec.key.clone());
            (key, Some(Record::Service(Arc::new(spec))))
        }
        Item::ServiceGone(key) => (RecordKey::Service(convert::service_key(Some(&key))?), None),
        Item::Endpoint(endpoint) => {
            let endpoint = convert::endpoint(&endpoint)?;
            let key = RecordKey::of_endpoint(&endpoint);
            (key, Some(Record::Endpoint(Arc::new(endpoint))))
        }
        Item::EndpointGone(gone) => {
            let service = convert::service_key(gone.service.as_ref())?;
            let cluster = convert::parse("cluster", &gone.cluster)?;
            let id = convert::endpoint_id(&gone.id)?;
            (RecordKey::Endpoint(service, cluster, id), None)
        }
        Item::Bundle(bundle) => {
            let domain = convert::parse("trust_domain", &bundle.trust_domain)?;
            let roots = bundle.roots.iter().map(|root| root.to_vec()).collect();
            (
                RecordKey::Bundle(domain),
                Some(Record::Bundle(Arc::new(roots))),
            )
        }
        Item::BundleGone(domain) => (
            RecordKey::Bundle(convert::parse("trust_domain", &domain)?),
            None,
        ),
        Item::Cluster(state) => {
            let view = convert::cluster(&state)?;
            let key = RecordKey::Cluster(convert::parse("cluster", &state.cluster)?);
            (key, Some(Record::Cluster(Arc::new(view))))
        }
        Item::ClusterGone(cluster) => (
            RecordKey::Cluster(convert::parse("cluster", &cluster)?),
            None,
        ),
    })
}

impl RecordKey {
    /// What a change of its record changes for readers.
    pub(super) fn changes(&self) -> Change {
        match self {
            Self::Service(service) | Self::Endpoint(service, _, _) => {
                Change::Service(service.clone())
            }
            Self::Bundle(_) | Self::Cluster(_) => Change::Everything,
        }
    }
}
