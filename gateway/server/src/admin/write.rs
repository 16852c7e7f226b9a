//! Writes: signed by the operator, or by this gateway on an operator's order.

use serde::de::DeserializeOwned;
use tonic::Status;
use weft_model::{
    Author, Command, ExportSpec, Federation, Index, Kind, KindName, Namespace, Resource,
    ServiceKey, UserName, WorkloadEntrySpec, code,
};
use weft_proto::api::{DeleteRequest, PutRequest, SubmitRequest};
use weft_registry::Proposal;

use crate::api::refusal;
use crate::hub::{Hub, rehearse};

/// An entry that the operator signed.
pub(super) async fn submit(
    hub: &Hub,
    user: &UserName,
    request: SubmitRequest,
) -> Result<Index, Status> {
    check_index(hub, request.if_index)?;
    let unreadable = |error: weft_registry::wire::WireError| {
        refusal(
            code::INVALID_RESOURCE,
            format!("the entry does not read: {error}"),
        )
    };
    let proposal = Proposal::decode(request.entry).map_err(unreadable)?;
    let mut entry = proposal.entry().map_err(unreadable)?;
    match &entry.author {
        Author::Operator(author, _) if author == user => {}
        _ => {
            return Err(refusal(
                code::NOT_AUTHORISED,
                format!("the entry is not signed by {user}"),
            ));
        }
    }
    if request.dry_run {
        // The signature is judged when the entry is proposed; here only what it asks for.
        entry.authentic = true;
        entry.time = hub.now();
        let state = hub.registry().state();
        return rehearse(&state, &entry).map(|()| state.applied());
    }
    hub.propose(proposal).await
}

/// A record that this cluster owns.
pub(super) async fn put(hub: &Hub, user: UserName, request: PutRequest) -> Result<Index, Status> {
    check_index(hub, request.if_index)?;
    let json = &request.resource_json;
    let cluster = hub.cluster().clone();
    let command = match owned_kind(&request.kind)? {
        Kind::ServiceExport => {
            let resource: Resource<ExportSpec> = parse(json)?;
            let key = ServiceKey::new(namespace(&resource)?, resource.metadata.name);
            Command::PutExport(cluster, key, Box::new(resource.spec))
        }
        _ => {
            let resource: Resource<WorkloadEntrySpec> = parse(json)?;
            let namespace = namespace(&resource)?;
            Command::PutWorkloadEntry(
                cluster,
                namespace,
                resource.metadata.name,
                Box::new(resource.spec),
            )
        }
    };
    commit(hub, command, user, request.dry_run).await
}

/// Deletes a record that this cluster owns.
pub(super) async fn delete(
    hub: &Hub,
    user: UserName,
    request: DeleteRequest,
) -> Result<Index, Status> {
    check_index(hub, request.if_index)?;
    let invalid = |error: weft_model::NameError| refusal(code::INVALID_RESOURCE, error.to_string());
    let namespace: Namespace = request.namespace.parse().map_err(|error| {
        refusal(
            code::INVALID_RESOURCE,
            format!("namespace: {error}; give one with -n"),
        )
    })?;
    let name = request.name.parse().map_err(invalid)?;
    let cluster = hub.cluster().clone();
    let command = match owned_kind(&request.kind)? {
        Kind::ServiceExport => Command::DeleteExport(cluster, ServiceKey::new(namespace, name)),
        _ => Command::DeleteWorkloadEntry(cluster, namespace, name),
    };
    commit(hub, command, user, request.dry_run).await
}

/// Takes this cluster out of the federation.
pub(super) async fn leave(hub: &Hub, user: UserName) -> Result<serde_json::Value, Status> {
    let index = hub
        .write(Command::RemoveCluster(hub.cluster().clone()), Some(user))
        .await?;
    Ok(serde_json::json!({ "index": index }))
}

async fn commit(
    hub: &Hub,
    command: Command,
    user: UserName,
    dry_run: bool,
) -> Result<Index, Status> {
    let state = hub.registry().state();
    if is_unchanged(&state, &command) {
        return Ok(state.applied());
    }
    if dry_run {
        hub.rehearse(command, Some(user))?;
        return Ok(hub.registry().state().applied());
    }
    hub.write(command, Some(user)).await
}

/// Whether the record already says what `command` would make it say: no entry for that.
fn is_unchanged(state: &Federation, command: &Command) -> bool {
    match command {
        Command::PutExport(cluster, key, spec) => state
            .export(key, cluster)
            .is_some_and(|record| record.spec == **spec),
        Command::PutWorkloadEntry(cluster, namespace, name, spec) => {
            let key = (cluster.clone(), namespace.clone(), name.clone());
            let mut entries = state.workload_entries();
            entries.any(|(known, record)| *known == key && record.spec == **spec)
        }
        _ => false,
    }
}

/// The precondition is judged here, before the proposal; what commits in between is not seen.
fn check_index(hub: &Hub, if_index: u64) -> Result<(), Status> {
    let applied = hub.registry().state().applied();
    if if_index != 0 && applied.0 > if_index {
        let what = format!("the federation is at index {applied}, you gave {if_index}");
        return Err(refusal(code::STALE_INDEX, what));
    }
    Ok(())
}

fn owned_kind(text: &str) -> Result<Kind, Status> {
    match KindName::parse(text) {
        KindName::Enforced(kind @ (Kind::ServiceExport | Kind::WorkloadEntry)) => Ok(kind),
        KindName::Enforced(kind) => Err(refusal(
            code::USAGE,
            format!("a {kind} is the federation's: its author signs it"),
        )),
        _ => Err(refusal(
            code::UNKNOWN_KIND,
            format!("there is no kind {text:?}"),
        )),
    }
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Status> {
    serde_json::from_slice(json).map_err(|error| {
        refusal(
            code::INVALID_RESOURCE,
            format!("the resource does not read: {error}"),
        )
    })
}

fn namespace<S>(resource: &Resource<S>) -> Result<Namespace, Status> {
    let missing = || refusal(code::INVALID_RESOURCE, "metadata.namespace is missing");
    resource.metadata.namespace.clone().ok_or_else(missing)
}
