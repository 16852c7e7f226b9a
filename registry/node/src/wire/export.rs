//! Exports and the ports of services.

use std::collections::BTreeSet;
use std::time::Duration;

use weft_model::{
    AppProtocol, ClusterName, DnsSpec, ExportSpec, ExportTo, OnStale, ServiceKey, ServicePort,
    ServiceType, ServingIdentity, TransportProtocol,
};
use weft_proto::log;

use super::field::{
    WireError, choice, invalid, millis, name, names, optional, port, present, text, texts,
    unspecified,
};

pub(super) fn write_service_key(key: &ServiceKey) -> log::ServiceKey {
    log::ServiceKey {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    }
}

pub(super) fn read_service_key(key: Option<&log::ServiceKey>) -> Result<ServiceKey, WireError> {
    let key = present("service", key)?;
    Ok(ServiceKey::new(
        name("service.namespace", &key.namespace)?,
        name("service.name", &key.name)?,
    ))
}

pub(super) fn write_export_key(cluster: &ClusterName, key: &ServiceKey) -> log::ExportKey {
    log::ExportKey {
        cluster: cluster.to_string(),
        service: Some(write_service_key(key)),
    }
}

pub(super) fn read_export_key(
    key: Option<&log::ExportKey>,
) -> Result<(ClusterName, ServiceKey), WireError> {
    let key = present("key", key)?;
    Ok((
        name("key.cluster", &key.cluster)?,
        read_service_key(key.service.as_ref())?,
    ))
}

pub(super) fn write_port(port: &ServicePort) -> log::ServicePort {
    let protocol = match port.protocol {
        TransportProtocol::Tcp => log::TransportProtocol::Tcp,
    };
    let app_protocol = match port.app_protocol {
        AppProtocol::Tcp => log::AppProtocol::Tcp,
        AppProtocol::Http => log::AppProtocol::Http,
        AppProtocol::Http2 => log::AppProtocol::Http2,
        AppProtocol::Grpc => log::AppProtocol::Grpc,
    };
    log::ServicePort {
        name: text(port.name.as_ref()),
        protocol: protocol.into(),
        app_protocol: app_protocol.into(),
        port: port.port.get().into(),
    }
}

pub(super) fn read_port(wire: &log::ServicePort) -> Result<ServicePort, WireError> {
    let protocol = match choice("ports.protocol", wire.protocol)? {
        log::TransportProtocol::Unspecified => return Err(unspecified("ports.protocol")),
        log::TransportProtocol::Tcp => TransportProtocol::Tcp,
    };
    let app_protocol = match choice("ports.app_protocol", wire.app_protocol)? {
        log::AppProtocol::Unspecified => return Err(unspecified("ports.app_protocol")),
        log::AppProtocol::Tcp => AppProtocol::Tcp,
        log::AppProtocol::Http => AppProtocol::Http,
        log::AppProtocol::Http2 => AppProtocol::Http2,
        log::AppProtocol::Grpc => AppProtocol::Grpc,
    };
    Ok(ServicePort {
        name: optional("ports.name", &wire.name)?,
        protocol,
        app_protocol,
        port: port("ports.port", wire.port)?,
    })
}

pub(super) fn write_type(service_type: ServiceType) -> i32 {
    let service_type = match service_type {
        ServiceType::ClusterSetIP => log::ServiceType::ClusterSetIp,
        ServiceType::Headless => log::ServiceType::Headless,
    };
    service_type.into()
}

pub(super) fn read_type(number: i32) -> Result<ServiceType, WireError> {
    match choice("service_type", number)? {
        log::ServiceType::Unspecified => Err(unspecified("service_type")),
        log::ServiceType::ClusterSetIp => Ok(ServiceType::ClusterSetIP),
        log::ServiceType::Headless => Ok(ServiceType::Headless),
    }
}

pub(super) fn write_export_to(to: &ExportTo) -> log::ExportTo {
    match to {
        ExportTo::Nobody => log::ExportTo::default(),
        ExportTo::Everyone => log::ExportTo {
            everyone: true,
            clusters: Vec::new(),
        },
        ExportTo::Clusters(clusters) => log::ExportTo {
            everyone: false,
            clusters: texts(clusters),
        },
    }
}

pub(super) fn read_export_to(to: Option<&log::ExportTo>) -> Result<ExportTo, WireError> {
    let Some(to) = to else {
        return Ok(ExportTo::Nobody);
    };
    match (to.everyone, to.clusters.is_empty()) {
        (true, true) => Ok(ExportTo::Everyone),
        (false, true) => Ok(ExportTo::Nobody),
        (false, false) => Ok(ExportTo::Clusters(names("export_to", &to.clusters)?)),
        (true, false) => Err(invalid("export_to", "everyone and named clusters at once")),
    }
}

pub(super) fn write_on_stale(on_stale: OnStale) -> i32 {
    let on_stale = match on_stale {
        OnStale::Serve => log::OnStale::Serve,
        OnStale::Drain => log::OnStale::Drain,
        OnStale::Fail => log::OnStale::Fail,
    };
    on_stale.into()
}

pub(super) fn read_on_stale(number: i32) -> Result<OnStale, WireError> {
    match choice("on_stale", number)? {
        log::OnStale::Unspecified => Err(unspecified("on_stale")),
        log::OnStale::Serve => Ok(OnStale::Serve),
        log::OnStale::Drain => Ok(OnStale::Drain),
        log::OnStale::Fail => Ok(OnStale::Fail),
    }
}

pub(super) fn write_export(spec: &ExportSpec) -> log::ExportSpec {
    let ExportSpec {
        service_type,
        ports,
        export_to,
        identities,
        on_stale,
        dns,
    } = spec;
    let identity = |id: &ServingIdentity| log::ServingIdentity {
        namespace: id.namespace.to_string(),
        account: id.account.to_string(),
    };
    log::ExportSpec {
        service_type: write_type(*service_type),
        ports: ports.iter().map(write_port).collect(),
        export_to: Some(write_export_to(export_to)),
        identities: identities.iter().map(identity).collect(),
        on_stale: write_on_stale(*on_stale),
        dns_ttl_ms: millis(dns.ttl),
    }
}

pub(super) fn read_export(spec: Option<&log::ExportSpec>) -> Result<ExportSpec, WireError> {
    let spec = present("spec", spec)?;
    let identity = |id: &log::ServingIdentity| {
        Ok(ServingIdentity {
            namespace: name("identities.namespace", &id.namespace)?,
            account: name("identities.account", &id.account)?,
        })
    };
    let identities: Result<BTreeSet<_>, WireError> = spec.identities.iter().map(identity).collect();
    Ok(ExportSpec {
        service_type: read_type(spec.service_type)?,
        ports: spec.ports.iter().map(read_port).collect::<Result<_, _>>()?,
        export_to: read_export_to(spec.export_to.as_ref())?,
        identities: identities?,
        on_stale: read_on_stale(spec.on_stale)?,
        dns: DnsSpec {
            ttl: Duration::from_millis(spec.dns_ttl_ms),
        },
    })
}
