//! Who may register an endpoint of a service.

use std::collections::BTreeSet;

use weft_model::{
    ClusterName, Endpoint, EndpointId, Federation, Namespace, ServiceAccount, ServiceKey, SpiffeId,
    SpiffePath, TrustDomain,
};

/// Why an endpoint was not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// The record names another cluster.
    #[error("the endpoint says it is in cluster {said}, this is {here}")]
    Cluster {
        /// As registered.
        said: ClusterName,
        /// This gateway's cluster.
        here: ClusterName,
    },
    /// The id is one of another cluster's.
    #[error("endpoint id {id} is not one of cluster {here}")]
    Id {
        /// As registered.
        id: EndpointId,
        /// This gateway's cluster.
        here: ClusterName,
    },
    /// The caller's identity is of another trust domain.
    #[error("{identity} is not of this cluster's trust domain")]
    TrustDomain {
        /// The caller's identity.
        identity: SpiffeId,
    },
    /// The record claims another identity than its caller proved.
    #[error("the endpoint claims to be {claimed}, its sidecar proved to be {proved}")]
    Claim {
        /// As registered.
        claimed: SpiffeId,
        /// By its certificate.
        proved: SpiffeId,
    },
    /// The identity may not serve the service.
    #[error("{identity} may not serve {service}; allowed: {allowed}")]
    Identity {
        /// The caller's identity.
        identity: SpiffeId,
        /// The service.
        service: ServiceKey,
        /// Who may.
        allowed: String,
    },
}

/// Whether the owner of `proved` may register `endpoint` with a gateway of `here`.
///
/// An exported service names who may serve it. A service that is not exported
/// exists by registration: any workload of its own namespace may serve it, as
/// the namespace is what its cluster's administrator hands out. A gateway may
/// register endpoints that it fronts, under the stand-in identity that bears
/// its own name.
pub fn admit(
    endpoint: &Endpoint,
    proved: &SpiffeId,
    here: &ClusterName,
    federation: &Federation,
) -> Result<(), Box<AdmissionError>> {
    if endpoint.cluster != *here {
        return refuse(AdmissionError::Cluster {
            said: endpoint.cluster.clone(),
            here: here.clone(),
        });
    }
    if !endpoint.id.may_be_of(here) {
        return refuse(AdmissionError::Id {
            id: endpoint.id,
            here: here.clone(),
        });
    }
    if !is_own(&proved.trust_domain, here, federation) {
        return refuse(AdmissionError::TrustDomain {
            identity: proved.clone(),
        });
    }
    let Some((namespace, account)) = serving_identity(&endpoint.identity, proved) else {
        return refuse(AdmissionError::Claim {
            claimed: endpoint.identity.clone(),
            proved: proved.clone(),
        });
    };
    match allowed(&endpoint.service, here, federation) {
        Some(named) if named.contains(&(namespace.clone(), account.clone())) => Ok(()),
        None if *namespace == endpoint.service.namespace => Ok(()),
        named => refuse(AdmissionError::Identity {
            identity: endpoint.identity.clone(),
            service: endpoint.service.clone(),
            allowed: named.map_or_else(
                || format!("ns/{}/sa/*", endpoint.service.namespace),
                |named| {
                    let ids = named.iter().map(|(ns, sa)| format!("ns/{ns}/sa/{sa}"));
                    ids.collect::<Vec<_>>().join(", ")
                },
            ),
        }),
    }
}

/// Whether gateways of `cluster` may attest `endpoint`: it is there, under an id and an identity of
/// its own.
pub fn is_attestable(endpoint: &Endpoint, cluster: &ClusterName, federation: &Federation) -> bool {
    let identity = &endpoint.identity;
    endpoint.cluster == *cluster
        && endpoint.id.may_be_of(cluster)
        && is_own(&identity.trust_domain, cluster, federation)
}

fn refuse(why: AdmissionError) -> Result<(), Box<AdmissionError>> {
    Err(Box::new(why))
}

fn is_own(domain: &TrustDomain, here: &ClusterName, federation: &Federation) -> bool {
    federation
        .cluster(here)
        .is_some_and(|member| member.trust_domain == *domain)
}

/// The workload that the endpoint speaks for, if its caller may claim that.
fn serving_identity<'a>(
    claimed: &'a SpiffeId,
    proved: &SpiffeId,
) -> Option<(&'a Namespace, &'a ServiceAccount)> {
    match (&claimed.path, &proved.path) {
        (SpiffePath::Workload { namespace, account }, SpiffePath::Workload { .. })
            if claimed == proved =>
        {
            Some((namespace, account))
        }
        (
            SpiffePath::StandIn {
                gateway,
                namespace,
                account,
            },
            SpiffePath::Gateway(own),
        ) if gateway == own && claimed.trust_domain == proved.trust_domain => {
            Some((namespace, account))
        }
        _ => None,
    }
}

/// Who may serve `service` in `here`; none if `here` does not export it.
fn allowed<'a>(
    service: &ServiceKey,
    here: &ClusterName,
    federation: &'a Federation,
) -> Option<&'a BTreeSet<(Namespace, ServiceAccount)>> {
    let service = federation.service(service)?;
    Some(&service.exporters.get(here)?.identities)
}
