//! From a context to a channel, step by step, each failure with its own words.

use std::net::SocketAddr;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tonic::transport::Channel;
use weft_gateway::admin::view::StatusView;
use weft_identity::{
    Bundle, BundleSource, Bundles, JoinToken, PeerRule, Reason, SigningKey, Svid, SvidSource,
    client_config,
};
use weft_model::{ClusterName, Code, HostPort, RegionName, TrustDomain, WallTime, code};
use weft_proxy::rpc::{self, ALPN_GRPC, DialError};

use super::GrantedToken;
use crate::clock;
use crate::context::{Context, Member};
use crate::problem::{Exit, Problem};

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
    let own = svid(context)?;
    let ends = own.not_after();
    let svid = SvidSource::new(own);
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
                Err(error) => {
                    last = match alert_of(&error) {
                        Some(alert) => certificate_refused(address, alert, ends, clock::now()),
                        None => dial_problem(&error),
                    }
                }
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
            let tls = tls_error(source);
            let refusal = tls.and_then(weft_identity::refusal);
            let code = match (refusal, tls) {
                (Some(refusal), _) => code_of(refusal.reason()),
                (None, Some(_)) => code::WRONG_PEER,
                (None, None) => code::UNREACHABLE,
            };
            let what = match tls {
                Some(_) => format!("{address} and we do not trust each other"),
                None => format!("{address} did not finish the TLS handshake"),
            };
            let found = refusal.map_or_else(|| source.to_string(), ToString::to_string);
            Problem::new(code, what).detail(found)
        }
    }
}

fn tls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The alert with which the other side ended the handshake: it is our certificate that it judged.
fn alert_of(error: &DialError) -> Option<rustls::AlertDescription> {
    match error {
        DialError::Handshake { source, .. } => match tls_error(source)? {
            rustls::Error::AlertReceived(alert) => Some(*alert),
            _ => None,
        },
        _ => None,
    }
}

/// A gateway refused the operator's certificate. An alert names no rule, so what can be told from
/// the certificate itself is.
fn certificate_refused(
    address: SocketAddr,
    alert: rustls::AlertDescription,
    ends: WallTime,
    now: WallTime,
) -> Problem {
    let what = format!("{address} refused your certificate");
    let mut problem = if now > ends {
        Problem::new(code::EXPIRED, what)
            .detail(format!("it ended at {}", clock::rfc3339(ends)))
            .next("Ask an administrator for a new one; `weft context list` shows whose it was.")
    } else {
        Problem::new(code::NOT_AUTHORISED, what)
            .detail(format!(
                "it is valid until {}; the gateway's alert: {alert:?}",
                clock::rfc3339(ends)
            ))
            .next(
                "The gateway's log says which rule it breaks. Mostly it is of another federation, or of \
                 one that was founded anew: `weft context list`.",
            )
    };
    problem.exit = Exit::Refused;
    problem
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_certificate_is_a_refusal_and_says_whether_it_ended() {
        let address = "127.0.0.1:7444".parse().expect("an address");
        let alert = rustls::AlertDescription::CertificateUnknown;
        let ends = WallTime(1_772_373_731_512);
        let check = |now, code: Code, part: &str| {
            let problem = certificate_refused(address, alert, ends, WallTime(now));
            assert_eq!((problem.code, problem.exit), (code, Exit::Refused));
            assert!(problem.to_string().contains(part), "{problem}");
        };
        check(
            ends.0 + 1,
            code::EXPIRED,
            "it ended at 2026-03-01T14:02:11Z",
        );
        check(ends.0 - 1, code::NOT_AUTHORISED, "CertificateUnknown");
    }
}
