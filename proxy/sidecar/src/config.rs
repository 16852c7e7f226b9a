//! A sidecar's configuration: the file as its author writes it, and [`Config`],
//! what remains once everything in it has been checked.

mod capture;
mod file;

pub use capture::{Capture, CaptureDns, CaptureDnsSpec, CaptureError, CaptureSpec};
pub use file::{
    EnrolmentSource, HttpSpec, InboundSpec, PortFile, ServiceFile, SidecarConfig, SidecarKind,
    SidecarSpec, UpstreamSpec, WorkloadSpec,
};

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use weft_model::{
    AppProtocol, HealthCheck, Hostname, Namespace, PortName, ServiceAccount, ServiceKey, Version,
    ZoneName,
};

use crate::http::Timeouts;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whose sidecar it is.
    pub namespace: Namespace,
    /// The workload's service account.
    pub account: ServiceAccount,
    /// Its availability zone.
    pub zone: Option<ZoneName>,
    /// API addresses (`host:port`) of this cluster's gateways.
    pub gateways: Vec<String>,
    /// Where the first identity's token comes from; none once there is an identity in `state_dir`.
    pub enrolment: Option<EnrolmentSource>,
    /// Where keys and the last snapshot are kept.
    pub state_dir: PathBuf,
    /// Data-plane threads.
    pub workers: NonZeroUsize,
    /// The HTTP proxy for the app.
    pub outbound: SocketAddr,
    /// Inner mTLS from peers.
    pub inbound: SocketAddr,
    /// The inbound address that peers dial.
    pub advertised: SocketAddr,
    /// Metrics, health and the table as JSON.
    pub admin: SocketAddr,
    /// Per-service local ports for protocols other than HTTP.
    pub upstreams: Vec<Upstream>,
    /// How long HTTP waits.
    pub http: Timeouts,
    /// What the workload serves.
    pub services: Vec<LocalService>,
    /// Transparent capture of what other users of the machine send; none: no listener for it.
    pub capture: Option<Capture>,
}

/// A local port whose connections go to one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The service.
    pub service: ServiceKey,
    /// The service's port.
    pub port: NonZeroU16,
    /// Where the app connects.
    pub bind: SocketAddr,
}

/// A service that the workload beside this sidecar serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalService {
    /// Its name in the federation.
    pub key: ServiceKey,
    /// Version label.
    pub version: Option<Version>,
    /// Host name for headless answers.
    pub hostname: Option<Hostname>,
    /// Share of traffic beside its peers.
    pub weight: u32,
    /// Where the app listens.
    pub app: IpAddr,
    /// Its ports.
    pub ports: Vec<LocalPort>,
    /// Its health checks; ports of probes are the app's.
    pub checks: Vec<HealthCheck>,
}

/// A port of a [`LocalService`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPort {
    /// Its name.
    pub name: Option<PortName>,
    /// The service's port, which clients ask for.
    pub service_port: NonZeroU16,
    /// The app's own port.
    pub app_port: NonZeroU16,
    /// What the app speaks on it.
    pub protocol: AppProtocol,
}

/// Why a configuration was refused. The path names the field as in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Peers cannot dial an unspecified address.
    #[error("spec.inbound.advertised: {bind} listens on every address: say which one peers dial")]
    NoAdvertisedAddress {
        /// The inbound address.
        bind: SocketAddr,
    },
    /// A gateway address without a port, or with a bad one.
    #[error("spec.gateways[{at}]: {address:?} is not host:port")]
    GatewayAddress {
        /// Position in the list.
        at: usize,
        /// As given.
        address: String,
    },
    /// Both or neither of `token` and `tokenFile`.
    #[error("spec.enrolment: give exactly one of token and tokenFile")]
    Enrolment,
    /// One service twice.
    #[error("spec.services: {0} is listed twice")]
    ServiceTwice(ServiceKey),
    /// A service without ports.
    #[error("spec.services: {0} has no ports")]
    NoPorts(ServiceKey),
    /// One service port twice.
    #[error("spec.services: {service} lists port {port} twice")]
    PortTwice {
        /// The service.
        service: ServiceKey,
        /// Its port.
        port: NonZeroU16,
    },
    /// A health check must have exactly one probe.
    #[error("spec.services: {0} has a check without exactly one of http, grpc and tcp")]
    Probe(ServiceKey),
    /// A wait of no time fails always.
    #[error("spec.http.{0}: must be longer than nothing")]
    Timeout(&'static str),
    /// Two listeners on one address.
    #[error(
        "{0} is bound twice: outbound, inbound, admin, upstreams and capture need addresses of their own"
    )]
    BoundTwice(SocketAddr),
    /// What is captured, or where it goes.
    #[error("spec.capture.{0}")]
    Capture(#[from] CaptureError),
}

impl TryFrom<SidecarConfig> for Config {
    type Error = ConfigError;

    fn try_from(file: SidecarConfig) -> Result<Self, ConfigError> {
        let SidecarConfig {
            api_version: _,
            kind: _,
            spec,
        } = file;
        let SidecarSpec {
            workload:
                WorkloadSpec {
                    namespace,
                    service_account: account,
                },
            zone,
            gateways,
            enrolment,
            state_dir,
            workers,
            outbound,
            inbound,
            admin,
            upstreams,
            http,
            services,
            capture,
        } = spec;
        check_gateways(&gateways)?;
        if let Some(source) = &enrolment
            && source.token.is_some() == source.token_file.is_some()
        {
            return Err(ConfigError::Enrolment);
        }
        let config = Self {
            advertised: advertised(&inbound)?,
            http: timeouts(http)?,
            workers: workers.unwrap_or_else(cores),
            services: local_services(&namespace, services)?,
            upstreams: upstreams.into_iter().map(Upstream::from).collect(),
            inbound: inbound.bind,
            namespace,
            account,
            zone,
            gateways,
            enrolment,
            state_dir,
            outbound,
            admin,
            capture: capture.map(Capture::try_from).transpose()?,
        };
        config.check_binds()?;
        Ok(config)
    }
}

impl Config {
    fn check_binds(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        [self.outbound, self.inbound, self.admin]
            .into_iter()
            .chain(self.upstreams.iter().map(|upstream| upstream.bind))
            .chain(self.capture.iter().flat_map(Capture::listeners))
            .filter(|bind| bind.port() != 0)
            .try_for_each(|bind| {
                if seen.insert(bind) {
                    Ok(())
                } else {
                    Err(ConfigError::BoundTwice(bind))
                }
            })
    }
}

fn timeouts(spec: HttpSpec) -> Result<Timeouts, ConfigError> {
    let HttpSpec {
        head_timeout,
        idle_timeout,
        body_timeout,
        answer_timeout,
        send_timeout,
    } = spec;
    let check = |name, timeout: Duration| match timeout {
        Duration::ZERO => Err(ConfigError::Timeout(name)),
        timeout => Ok(timeout),
    };
    Ok(Timeouts {
        head: check("headTimeout", head_timeout)?,
        idle: check("idleTimeout", idle_timeout)?,
        body: check("bodyTimeout", body_timeout)?,
        answer: check("answerTimeout", answer_timeout)?,
        send: check("sendTimeout", send_timeout)?,
    })
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn check_gateways(gateways: &[String]) -> Result<(), ConfigError> {
    for (at, address) in gateways.iter().enumerate() {
        let valid = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<NonZeroU16>().is_ok());
        if !valid {
            return Err(ConfigError::GatewayAddress {
                at,
                address: address.clone(),
            });
        }
    }
    Ok(())
}

fn advertised(inbound: &InboundSpec) -> Result<SocketAddr, ConfigError> {
    match inbound.advertised {
        Some(address) => Ok(address),
        None if inbound.bind.ip().is_unspecified() => {
            Err(ConfigError::NoAdvertisedAddress { bind: inbound.bind })
        }
        None => Ok(inbound.bind),
    }
}

fn local_services(
    namespace: &Namespace,
    files: Vec<ServiceFile>,
) -> Result<Vec<LocalService>, ConfigError> {
    let mut seen = BTreeSet::new();
    files
        .into_iter()
        .map(|file| {
            let service = local_service(namespace, file)?;
            if !seen.insert(service.key.clone()) {
                return Err(ConfigError::ServiceTwice(service.key));
            }
            Ok(service)
        })
        .collect()
}

fn local_service(namespace: &Namespace, file: ServiceFile) -> Result<LocalService, ConfigError> {
    let ServiceFile {
        name,
        version,
        hostname,
        weight,
        app_address,
        ports,
        checks,
    } = file;
    let key = ServiceKey::new(namespace.clone(), name);
    if ports.is_empty() {
        return Err(ConfigError::NoPorts(key));
    }
    let one_probe = |check: &HealthCheck| {
        let probes = [
            check.http.is_some(),
            check.grpc.is_some(),
            check.tcp.is_some(),
        ];
        probes.into_iter().filter(|set| *set).count() == 1
    };
    if !checks.iter().all(one_probe) {
        return Err(ConfigError::Probe(key));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = ports.iter().find(|port| !seen.insert(port.port)) {
        return Err(ConfigError::PortTwice {
            service: key,
            port: twice.port,
        });
    }
    Ok(LocalService {
        key,
        version,
        hostname,
        weight,
        app: app_address,
        ports: ports.into_iter().map(LocalPort::from).collect(),
        checks,
    })
}

impl From<PortFile> for LocalPort {
    fn from(file: PortFile) -> Self {
        Self {
            name: file.name,
            service_port: file.port,
            app_port: file.app_port.unwrap_or(file.port),
            protocol: file.protocol,
        }
    }
}

impl From<UpstreamSpec> for Upstream {
    fn from(spec: UpstreamSpec) -> Self {
        Self {
            service: spec.service,
            port: spec.port,
            bind: spec.bind,
        }
    }
}

#[cfg(test)]
mod tests;
