//! Commands: one arm each way per kind.

use weft_model::{Command, FormatLevel, NodeId, ServiceKey};
use weft_proto::log::{self, command::Command as Wire};

use super::field::{WireError, ders, id_bytes, name, present, read_ders, token};
use super::{cluster, export, release, route, workload};

pub(super) fn write(command: &Command) -> log::Command {
    let wire = match command {
        Command::Found(founding) => Wire::Found(cluster::write_founding(founding)),
        Command::PutCluster(name, spec) => Wire::PutCluster(log::ClusterPut {
            cluster: name.to_string(),
            spec: Some(cluster::write_spec(spec)),
        }),
        Command::RemoveCluster(name) => Wire::RemoveCluster(name.to_string()),
        Command::GrantToken(grant) => Wire::GrantToken(cluster::write_grant(grant)),
        Command::RevokeToken(token) => Wire::RevokeToken(id_bytes(&token.0)),
        Command::RedeemToken(redemption) => {
            Wire::RedeemToken(cluster::write_redemption(redemption))
        }
        Command::PutGateway(gateway) => Wire::PutGateway(cluster::write_gateway(gateway)),
        Command::RemoveGateway(node) => Wire::RemoveGateway(node.0),
        Command::RecordSigner(signer) => Wire::RecordSigner(cluster::write_signer(signer)),
        Command::PutBundle(cluster, bundle) => Wire::PutBundle(log::BundlePut {
            cluster: cluster.to_string(),
            bundle: ders(bundle),
        }),
        Command::PutExport(cluster, key, spec) => Wire::PutExport(log::ExportPut {
            key: Some(export::write_export_key(cluster, key)),
            spec: Some(export::write_export(spec)),
        }),
        Command::DeleteExport(cluster, key) => {
            Wire::DeleteExport(export::write_export_key(cluster, key))
        }
        Command::PutWorkloadEntry(cluster, namespace, name, spec) => {
            Wire::PutWorkloadEntry(log::WorkloadPut {
                key: Some(workload::write_key(cluster, namespace, name)),
                spec: Some(workload::write_entry(spec)),
            })
        }
        Command::DeleteWorkloadEntry(cluster, namespace, name) => {
            Wire::DeleteWorkloadEntry(workload::write_key(cluster, namespace, name))
        }
        Command::PutRoleBinding(name, spec) => Wire::PutRoleBinding(log::RoleBindingPut {
            name: name.to_string(),
            spec: Some(cluster::write_binding(spec)),
        }),
        Command::DeleteRoleBinding(name) => Wire::DeleteRoleBinding(name.to_string()),
        Command::PutRoute(namespace, name, spec) => {
            Wire::PutRoute(route::write_put(namespace, name, &**spec))
        }
        Command::DeleteRoute(namespace, name) => {
            Wire::DeleteRoute(route::write_key(namespace, name))
        }
        Command::PutTrafficPolicy(namespace, name, spec) => {
            Wire::PutTrafficPolicy(route::write_put(namespace, name, &**spec))
        }
        Command::DeleteTrafficPolicy(namespace, name) => {
            Wire::DeleteTrafficPolicy(route::write_key(namespace, name))
        }
        Command::PutRelease(key, spec) => {
            Wire::PutRelease(route::write_put(&key.namespace, &key.name, &**spec))
        }
        Command::AdvanceRelease(key, advance) => {
            Wire::AdvanceRelease(release::write_advance(key, *advance))
        }
        Command::PauseRelease(key) => Wire::PauseRelease(export::write_service_key(key)),
        Command::ResumeRelease(key, lifts) => {
            Wire::ResumeRelease(release::write_resume(key, lifts))
        }
        Command::EndRelease(key, end) => Wire::EndRelease(release::write_end(key, end)),
        Command::DeleteRelease(key) => Wire::DeleteRelease(export::write_service_key(key)),
        Command::LapseLease(cluster) => Wire::LapseLease(cluster.to_string()),
        Command::ReturnLease(cluster) => Wire::ReturnLease(cluster.to_string()),
        Command::RaiseFormat(level) => Wire::RaiseFormat(level.0),
    };
    log::Command {
        command: Some(wire),
    }
}

pub(super) fn read(command: Option<&log::Command>) -> Result<Command, WireError> {
    let wire = command.and_then(|command| command.command.as_ref());
    Ok(match present("command", wire)? {
        Wire::Found(wire) => Command::Found(Box::new(cluster::read_founding(wire)?)),
        Wire::PutCluster(put) => Command::PutCluster(
            name("cluster", &put.cluster)?,
            Box::new(cluster::read_spec(present("spec", put.spec.as_ref())?)?),
        ),
        Wire::RemoveCluster(cluster) => Command::RemoveCluster(name("cluster", cluster)?),
        Wire::GrantToken(grant) => Command::GrantToken(cluster::read_grant(grant)?),
        Wire::RevokeToken(bytes) => Command::RevokeToken(token("token", bytes)?),
        Wire::RedeemToken(wire) => Command::RedeemToken(Box::new(cluster::read_redemption(wire)?)),
        Wire::PutGateway(gateway) => Command::PutGateway(cluster::read_gateway(gateway)?),
        Wire::RemoveGateway(node) => Command::RemoveGateway(NodeId(*node)),
        Wire::RecordSigner(signer) => Command::RecordSigner(cluster::read_signer(signer)?),
        Wire::PutBundle(put) => {
            Command::PutBundle(name("cluster", &put.cluster)?, read_ders(&put.bundle))
        }
        Wire::PutExport(put) => {
            let (cluster, key) = export::read_export_key(put.key.as_ref())?;
            let spec = export::read_export(put.spec.as_ref())?;
            Command::PutExport(cluster, key, Box::new(spec))
        }
        Wire::DeleteExport(key) => {
            let (cluster, key) = export::read_export_key(Some(key))?;
            Command::DeleteExport(cluster, key)
        }
        Wire::PutWorkloadEntry(put) => {
            let (cluster, namespace, name) = workload::read_key(put.key.as_ref())?;
            let spec = workload::read_entry(put.spec.as_ref())?;
            Command::PutWorkloadEntry(cluster, namespace, name, Box::new(spec))
        }
        Wire::DeleteWorkloadEntry(key) => {
            let (cluster, namespace, name) = workload::read_key(Some(key))?;
            Command::DeleteWorkloadEntry(cluster, namespace, name)
        }
        Wire::PutRoleBinding(put) => Command::PutRoleBinding(
            name("name", &put.name)?,
            cluster::read_binding(present("spec", put.spec.as_ref())?)?,
        ),
        Wire::DeleteRoleBinding(binding) => Command::DeleteRoleBinding(name("name", binding)?),
        Wire::PutRoute(put) => {
            let (namespace, name, spec) = route::read_put(put)?;
            Command::PutRoute(namespace, name, spec)
        }
        Wire::DeleteRoute(key) => {
            let key = export::read_service_key(Some(key))?;
            Command::DeleteRoute(key.namespace, key.name)
        }
        Wire::PutTrafficPolicy(put) => {
            let (namespace, name, spec) = route::read_put(put)?;
            Command::PutTrafficPolicy(namespace, name, spec)
        }
        Wire::DeleteTrafficPolicy(key) => {
            let key = export::read_service_key(Some(key))?;
            Command::DeleteTrafficPolicy(key.namespace, key.name)
        }
        Wire::PutRelease(put) => {
            let (namespace, name, spec) = route::read_put(put)?;
            Command::PutRelease(ServiceKey::new(namespace, name), spec)
        }
        Wire::AdvanceRelease(wire) => {
            let (key, advance) = release::read_advance(wire)?;
            Command::AdvanceRelease(key, advance)
        }
        Wire::PauseRelease(key) => Command::PauseRelease(export::read_service_key(Some(key))?),
        Wire::ResumeRelease(wire) => {
            let (key, lifts) = release::read_resume(wire)?;
            Command::ResumeRelease(key, lifts)
        }
        Wire::EndRelease(wire) => {
            let (key, end) = release::read_end(wire)?;
            Command::EndRelease(key, end)
        }
        Wire::DeleteRelease(key) => Command::DeleteRelease(export::read_service_key(Some(key))?),
        Wire::LapseLease(cluster) => Command::LapseLease(name("cluster", cluster)?),
        Wire::ReturnLease(cluster) => Command::ReturnLease(name("cluster", cluster)?),
        Wire::RaiseFormat(level) => Command::RaiseFormat(FormatLevel(*level)),
    })
}
