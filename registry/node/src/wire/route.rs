//! Routes and traffic policies: their resource's JSON, under a name.

use weft_model::{
    Index, Namespace, PolicyRecord, RouteRecord, ServiceKey, ServiceName, Spec, spec_from_json,
    spec_to_json,
};
use weft_proto::log;

use super::export::{read_service_key, write_service_key};
use super::field::{WireError, invalid};

type RouteRow = (ServiceKey, RouteRecord);
type PolicyRow = (ServiceKey, PolicyRecord);

pub(super) fn write_key(namespace: &Namespace, name: &ServiceName) -> log::ServiceKey {
    write_service_key(&ServiceKey::new(namespace.clone(), name.clone()))
}

pub(super) fn write_put(
    namespace: &Namespace,
    name: &ServiceName,
    spec: &impl Spec,
) -> log::SpecPut {
    log::SpecPut {
        key: Some(write_key(namespace, name)),
        spec_json: spec_to_json(spec).into(),
    }
}

pub(super) fn read_put<S: Spec>(
    put: &log::SpecPut,
) -> Result<(Namespace, ServiceName, Box<S>), WireError> {
    let key = read_service_key(put.key.as_ref())?;
    Ok((
        key.namespace,
        key.name,
        Box::new(read_spec(&put.spec_json)?),
    ))
}

pub(super) fn write_route((key, record): &RouteRow) -> log::RouteRow {
    let RouteRecord { spec, created } = record;
    log::RouteRow {
        key: Some(write_service_key(key)),
        spec_json: spec_to_json(spec).into(),
        created: created.0,
    }
}

pub(super) fn read_route(wire: &log::RouteRow) -> Result<RouteRow, WireError> {
    let record = RouteRecord {
        spec: read_spec(&wire.spec_json)?,
        created: Index(wire.created),
    };
    Ok((read_service_key(wire.key.as_ref())?, record))
}

pub(super) fn write_policy((key, record): &PolicyRow) -> log::SpecPut {
    let PolicyRecord { spec } = record;
    write_put(&key.namespace, &key.name, spec)
}

pub(super) fn read_policy(wire: &log::SpecPut) -> Result<PolicyRow, WireError> {
    let record = PolicyRecord {
        spec: read_spec(&wire.spec_json)?,
    };
    Ok((read_service_key(wire.key.as_ref())?, record))
}

pub(super) fn read_spec<S: Spec>(json: &[u8]) -> Result<S, WireError> {
    spec_from_json(json).map_err(|why| invalid("spec_json", why))
}
