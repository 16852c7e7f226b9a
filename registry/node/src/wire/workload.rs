//! Servers without a sidecar, and their health checks.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_model::{
    ClusterName, GrpcProbe, HealthCheck, HttpProbe, Namespace, ServiceName, TcpProbe,
    WorkloadEntrySpec,
};
use weft_proto::log;

use super::field::{WireError, millis, name, optional, port, present, text};

pub(super) type WorkloadKey = (ClusterName, Namespace, ServiceName);

pub(super) fn write_key(
    cluster: &ClusterName,
    namespace: &Namespace,
    name: &ServiceName,
) -> log::WorkloadKey {
    log::WorkloadKey {
        cluster: cluster.to_string(),
        namespace: namespace.to_string(),
        name: name.to_string(),
    }
}

pub(super) fn read_key(key: Option<&log::WorkloadKey>) -> Result<WorkloadKey, WireError> {
    let key = present("key", key)?;
    Ok((
        name("key.cluster", &key.cluster)?,
        name("key.namespace", &key.namespace)?,
        name("key.name", &key.name)?,
    ))
}

fn write_check(check: &HealthCheck) -> log::HealthCheck {
    let HealthCheck {
        http,
        grpc,
        tcp,
        interval,
        timeout,
        failures,
        successes,
    } = check;
    log::HealthCheck {
        http: http.as_ref().map(|probe| log::health_check::Http {
            port: probe.port.get().into(),
            path: probe.path.clone(),
        }),
        grpc: grpc.as_ref().map(|probe| log::health_check::Grpc {
            port: probe.port.get().into(),
            service: probe.service.clone(),
        }),
        tcp: tcp.as_ref().map(|probe| log::health_check::Tcp {
            port: probe.port.get().into(),
        }),
        interval_ms: millis(*interval),
        timeout_ms: millis(*timeout),
        failures: *failures,
        successes: *successes,
    }
}

fn read_check(check: &log::HealthCheck) -> Result<HealthCheck, WireError> {
    let http = |probe: &log::health_check::Http| {
        Ok(HttpProbe {
            port: port("checks.http.port", probe.port)?,
            path: probe.path.clone(),
        })
    };
    let grpc = |probe: &log::health_check::Grpc| {
        Ok(GrpcProbe {
            port: port("checks.grpc.port", probe.port)?,
            service: probe.service.clone(),
        })
    };
    let tcp = |probe: &log::health_check::Tcp| {
        Ok(TcpProbe {
            port: port("checks.tcp.port", probe.port)?,
        })
    };
    Ok(HealthCheck {
        http: check.http.as_ref().map(http).transpose()?,
        grpc: check.grpc.as_ref().map(grpc).transpose()?,
        tcp: check.tcp.as_ref().map(tcp).transpose()?,
        interval: Duration::from_millis(check.interval_ms),
        timeout: Duration::from_millis(check.timeout_ms),
        failures: check.failures,
        successes: check.successes,
    })
}

pub(super) fn write_entry(spec: &WorkloadEntrySpec) -> log::WorkloadEntrySpec {
    let WorkloadEntrySpec {
        service,
        address,
        ports,
        service_account,
        version,
        zone,
        weight,
        checks,
    } = spec;
    let named = |(name, port): (&weft_model::PortName, &std::num::NonZeroU16)| log::NamedPort {
        name: name.to_string(),
        port: port.get().into(),
    };
    log::WorkloadEntrySpec {
        service: service.to_string(),
        address: address.to_string(),
        ports: ports.iter().map(named).collect(),
        service_account: text(service_account.as_ref()),
        version: text(version.as_ref()),
        zone: text(zone.as_ref()),
        weight: *weight,
        checks: checks.iter().map(write_check).collect(),
    }
}

pub(super) fn read_entry(
    spec: Option<&log::WorkloadEntrySpec>,
) -> Result<WorkloadEntrySpec, WireError> {
    let spec = present("spec", spec)?;
    let named = |wire: &log::NamedPort| {
        Ok((
            name("ports.name", &wire.name)?,
            port("ports.port", wire.port)?,
        ))
    };
    let ports: Result<BTreeMap<_, _>, WireError> = spec.ports.iter().map(named).collect();
    Ok(WorkloadEntrySpec {
        service: name("service", &spec.service)?,
        address: name("address", &spec.address)?,
        ports: ports?,
        service_account: optional("service_account", &spec.service_account)?,
        version: optional("version", &spec.version)?,
        zone: optional("zone", &spec.zone)?,
        weight: spec.weight,
        checks: spec
            .checks
            .iter()
            .map(read_check)
            .collect::<Result<_, _>>()?,
    })
}
