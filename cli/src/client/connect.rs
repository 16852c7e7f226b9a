//! From a context to a channel, step by step, each failure with its own words.

use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tonic::transport::Channel;
use weft_gateway::admin::view::StatusView;
use weft_identity::{
    Bundle, BundleSource, Bundles, JoinToken, PeerRule, Reason, SigningKey, Svid, SvidSource,
    client_config,
};
use weft_model::{ClusterName, Code, HostPort, RegionName, TrustDomain, code};
use weft_proxy::rpc::{self, ALPN_GRPC, DialError};

use super::GrantedToken;
use crate::context::{Context, Member};
use crate::problem::Problem;

/// A channel to the first gateway of `cluster` that answers.
pub(super) async fn channel(
    context: &Context,
    cluster: &ClusterName,
    limit: Duration,
) -> Result<Channel, Problem> {
    let member = context.clusters.get(cluster).ok_or_else(|| {
        let known: Vec<&str> = context.clusters.keys().map(ClusterName::as_str).collect();
        Problem::new(
            code::NO_CONTEXT,
            format!("the federation has no cluster {cluster}"),
        )
        .next(format!("Name one of {}.", known.join(", ")))
    })?;
    let domain = TrustDomain::of_cluster(cluster, &context.domain);
    let bundle = bundle(&domain, member)?;
    let svid = SvidSource::new(svid(context)?);
    let bundles = BundleSource::new(Bundles::from_iter([bundle]));
    let tls = client_config(&svid, &bundles, PeerRule::GatewayOf(domain), &[ALPN_GRPC]);
    let mut last = Problem::new(
        code::UNREACHABLE,
        format!("no address of {cluster} is known"),
    );
    for host in &member.api {
        let addresses = match rpc::resolve(host).await {
            Ok(addresses) => addresses,
            Err(error) => {
                last = dial_problem(&error);
                continue;
            }
        };
        for address in addresses {
            match rpc::dial(address, tls.clone(), limit).await {
                Ok(channel) => return Ok(channel),
                Err(error) => last = dial_problem(&error),
            }
        }
    }
    Err(last)
}

fn bundle(domain: &TrustDomain, member: &Member) -> Result<Bundle, Problem> {
    let certificates: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(member.bundle.as_bytes()).collect();
    let damaged = |error: &dyn std::fmt::Display| {
        Problem::new(
            code::KEY_UNREADABLE,
            format!("the context's CA certificate of {domain} does not read"),
        )
        .detail(error)
    };
    let certificates = certificates.map_err(|error| damaged(&error))?;
    Bundle::new(domain.clone(), certificates).map_err(|error| damaged(&error))
}

fn svid(context: &Context) -> Result<Svid, Problem> {
    let damaged = |error: String| {
        Problem::new(
            code::KEY_UNREADABLE,
            "the context's certificate or key does not read",
        )
        .detail(error)
    };
    let chain = CertificateDer::pem_slice_iter(context.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| damaged(error.to_string()))?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(context.key.as_bytes())
        .map_err(|error| damaged(error.to_string()))?;
    Svid::from_der(
        chain,
        zeroize::Zeroizing::new(key.secret_pkcs8_der().to_vec()),
    )
    .map_err(|error| damaged(error.to_string()))
}

/// A failed connection, by the step that failed.
pub(crate) fn dial_problem(error: &DialError) -> Problem {
    match error {
        DialError::Resolve { source, .. } => {
            Problem::new(code::NAME_UNRESOLVED, error.to_string()).detail(source)
        }
        DialError::Connect { source, .. } => {
            Problem::new(code::UNREACHABLE, error.to_string()).detail(source)
        }
        DialError::Http { source, .. } => {
            Problem::new(code::UNREACHABLE, error.to_string()).detail(source)
        }
        DialError::Handshake { source, address } => {
            let tls = source
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let refusal = tls.and_then(weft_identity::refusal);
            let code = refusal.map_or_else(|| alert(tls), |refusal| code_of(refusal.reason()));
            let what = match tls {
                Some(_) => format!("{address} and we do not trust each other"),
                None => format!("{address} did not finish the TLS handshake"),
            };
            let found = refusal.map_or_else(|| source.to_string(), ToString::to_string);
            Problem::new(code, what).detail(found)
        }
    }
}

/// What the other side's alert says of our certificate.
fn alert(error: Option<&rustls::Error>) -> Code {
    use rustls::AlertDescription::{CertificateExpired, UnknownCA};
    match error {
        Some(rustls::Error::AlertReceived(CertificateExpired)) => code::EXPIRED,
        Some(rustls::Error::AlertReceived(UnknownCA)) => code::FOREIGN_TRUST_DOMAIN,
        Some(_) => code::WRONG_PEER,
        None => code::UNREACHABLE,
    }
}

fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::Validity => code::EXPIRED,
        Reason::Bundle | Reason::Issuer => code::FOREIGN_TRUST_DOMAIN,
        Reason::Pin => code::PIN_MISMATCH,
        Reason::NotAdmitted => code::WRONG_PEER,
        _ => code::NOT_AN_SVID,
    }
}

/// The token's text: the key made here, and the addresses and bundle of the cluster that answered.
pub(super) fn join_token(
    context: &Context,
    asked: &StatusView,
    key: &SigningKey,
    cluster: ClusterName,
    region: RegionName,
) -> Result<GrantedToken, Problem> {
    let answering = asked
        .clusters
        .iter()
        .find(|member| member.name == asked.cluster);
    let odd = |what: String| Problem::new(code::UNREACHABLE, what);
    let answering =
        answering.ok_or_else(|| odd(format!("{} does not list itself", asked.cluster)))?;
    let name: ClusterName = asked
        .cluster
        .parse()
        .map_err(|error| odd(format!("{:?}: {error}", asked.cluster)))?;
    let domain = TrustDomain::of_cluster(&name, &context.domain);
    let member = Member {
        api: answering.api.clone(),
        bundle: answering.bundle.clone(),
    };
    let addresses: Vec<HostPort> = answering
        .api
        .iter()
        .map(|address| {
            address
                .parse()
                .map_err(|error| odd(format!("{address:?}: {error}")))
        })
        .collect::<Result<_, _>>()?;
    let address = answering.api.first().cloned().unwrap_or_default();
    let token = JoinToken::with_key(
        key,
        cluster,
        region,
        context.domain.clone(),
        bundle(&domain, &member)?.hash(),
        addresses,
    );
    let text = token.expose().map_err(|error| odd(error.to_string()))?;
    Ok(GrantedToken {
        text: text.to_string(),
        address,
    })
}
