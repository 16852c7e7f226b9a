//! The applied state as a snapshot carries it, table by table.

use bytes::Bytes;
use prost::Message;
use raft::eraftpb::{ConfState, Snapshot, SnapshotMetadata};
use weft_model::{
    ExportRecord, Federation, FederationParts, FormatLevel, Generation, Index, Member, Node,
    NodeId, Quarantine, SignerEpoch, TokenState, VirtualIpIndex, WallTime, WorkloadRecord,
};
use weft_proto::log;

use super::field::{
    WireError, ders, id_bytes, invalid, malformed, name, optional, present, read_ders, text, token,
};
use super::{cluster, export, outcome, release, route, workload};
use crate::bounds::{NUMBER_MAX, is_possible};
use crate::image::{Image, Quarantined, Unreadable};

/// Encodes what a snapshot carries beside its position and configuration.
pub(crate) fn encode_image(image: &Image) -> Bytes {
    let latest = |record: &Quarantined| log::Quarantined {
        index: record.index.0,
        reason: record.reason.clone(),
    };
    let wire = log::Image {
        federation: Some(write(image.state.to_parts())),
        quarantined: image.unreadable.count,
        latest: image.unreadable.latest.iter().map(latest).collect(),
        recovered: image.recovered.0,
    };
    wire.encode_to_vec().into()
}

/// A state in a few bytes, for comparison with other replicas. Of the wire form, so that a build
/// that knows a field more agrees with one that does not, as long as nobody uses it.
pub(crate) fn state_digest(state: &Federation) -> u64 {
    let wire = write(state.to_parts()).encode_to_vec();
    let [a, b, c, d, e, f, g, h, ..] = weft_identity::sha256(&wire);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Reads a snapshot.
pub(crate) fn decode_image(snapshot: &Snapshot) -> Result<Image, WireError> {
    let bytes = snapshot.data.len();
    if bytes > super::SNAPSHOT_BYTES_MAX {
        let max = super::SNAPSHOT_BYTES_MAX;
        return Err(WireError::TooLarge { bytes, max });
    }
    bounded(snapshot.get_metadata())?;
    let wire = log::Image::decode(snapshot.data.clone()).map_err(malformed)?;
    let parts = read(present("federation", wire.federation.as_ref())?)?;
    let state = Federation::from_parts(parts).map_err(|error| invalid("federation", error))?;
    let metadata = snapshot.get_metadata();
    let latest = wire.latest.into_iter().map(|record| Quarantined {
        index: Index(record.index),
        reason: record.reason,
    });
    Ok(Image {
        index: Index(metadata.index),
        term: metadata.term,
        conf: metadata.get_conf_state().clone(),
        state,
        unreadable: Unreadable {
            count: wire.quarantined,
            latest: latest.collect(),
        },
        recovered: Index(wire.recovered),
    })
}

/// The library takes for granted that it is so, and what goes on from a snapshot adds to its numbers.
/// A state that nothing is in yet has no configuration.
fn bounded(metadata: &SnapshotMetadata) -> Result<(), WireError> {
    let conf = metadata.get_conf_state();
    if metadata.index >= NUMBER_MAX || metadata.term >= NUMBER_MAX {
        let (index, term) = (metadata.index, metadata.term);
        return Err(invalid(
            "snapshot",
            format!("position {index} in term {term}"),
        ));
    }
    if *conf != ConfState::default() && !is_possible(conf) {
        return Err(invalid("conf_state", "it is impossible"));
    }
    Ok(())
}

fn write(parts: FederationParts) -> log::Federation {
    let FederationParts {
        domain,
        founder,
        operators,
        format,
        applied,
        time,
        next_node,
        clusters,
        nodes,
        tokens,
        signers,
        bindings,
        exports,
        entries,
        routes,
        policies,
        releases,
        services,
        quarantine,
        tombstones,
        orders,
        observed,
        requests,
    } = parts;
    log::Federation {
        domain: text(domain),
        founder: text(founder),
        operators: ders(&operators),
        format: format.0,
        applied: applied.0,
        time_ms: time.0,
        next_node: next_node.0,
        clusters: clusters.iter().map(write_member).collect(),
        nodes: nodes.iter().map(write_node).collect(),
        tokens: tokens.iter().map(write_token).collect(),
        signers: signers
            .iter()
            .map(|(_, signer)| cluster::write_signer(signer))
            .collect(),
        bindings: bindings
            .iter()
            .map(|(name, spec)| log::RoleBindingPut {
                name: name.to_string(),
                spec: Some(cluster::write_binding(spec)),
            })
            .collect(),
        exports: exports.iter().map(write_export).collect(),
        entries: entries.iter().map(write_workload).collect(),
        routes: routes.iter().map(route::write_route).collect(),
        policies: policies.iter().map(route::write_policy).collect(),
        releases: releases.iter().map(release::write_row).collect(),
        services: services
            .iter()
            .map(|(key, (index, changed))| log::ServiceIndex {
                key: Some(export::write_service_key(key)),
                index: index.0,
                changed: changed.0,
            })
            .collect(),
        quarantine: quarantine.iter().map(write_quarantine).collect(),
        tombstones: tombstones
            .iter()
            .map(|(cluster, removed)| log::Tombstone {
                cluster: cluster.to_string(),
                removed: removed.0,
            })
            .collect(),
        orders: orders
            .iter()
            .map(|(user, generation)| log::Order {
                user: user.to_string(),
                generation: generation.0,
            })
            .collect(),
        observed: observed
            .iter()
            .map(|((by, of), generation)| log::Observation {
                by: by.to_string(),
                of: of.to_string(),
                generation: generation.0,
            })
            .collect(),
        requests: requests
            .iter()
            .map(|chunk| outcome::write_chunk(chunk))
            .collect(),
    }
}

fn read(wire: &log::Federation) -> Result<FederationParts, WireError> {
    Ok(FederationParts {
        domain: optional("domain", &wire.domain)?,
        founder: optional("founder", &wire.founder)?,
        operators: read_ders(&wire.operators),
        format: FormatLevel(wire.format),
        applied: Index(wire.applied),
        time: WallTime(wire.time_ms),
        next_node: NodeId(wire.next_node),
        clusters: all(&wire.clusters, read_member)?,
        nodes: all(&wire.nodes, read_node)?,
        tokens: all(&wire.tokens, read_token)?,
        signers: all(&wire.signers, |wire| {
            let signer = cluster::read_signer(wire)?;
            Ok((signer.user.clone(), signer))
        })?,
        bindings: all(&wire.bindings, |wire| {
            let spec = present("bindings.spec", wire.spec.as_ref())?;
            Ok((
                name("bindings.name", &wire.name)?,
                cluster::read_binding(spec)?,
            ))
        })?,
        exports: all(&wire.exports, read_export)?,
        entries: all(&wire.entries, read_workload)?,
        routes: all(&wire.routes, route::read_route)?,
        policies: all(&wire.policies, route::read_policy)?,
        releases: all(&wire.releases, release::read_row)?,
        services: all(&wire.services, |wire| {
            let key = export::read_service_key(wire.key.as_ref())?;
            Ok((key, (VirtualIpIndex(wire.index), Index(wire.changed))))
        })?,
        quarantine: all(&wire.quarantine, read_quarantine)?,
        tombstones: all(&wire.tombstones, |wire| {
            Ok((
                name("tombstones.cluster", &wire.cluster)?,
                Index(wire.removed),
            ))
        })?,
        orders: all(&wire.orders, |wire| {
            Ok((
                name("orders.user", &wire.user)?,
                Generation(wire.generation),
            ))
        })?,
        observed: all(&wire.observed, |wire| {
            let key = (
                name("observed.by", &wire.by)?,
                name("observed.of", &wire.of)?,
            );
            Ok((key, Generation(wire.generation)))
        })?,
        requests: all(&wire.requests, outcome::read_chunk)?,
    })
}

fn all<W, T>(rows: &[W], read: impl Fn(&W) -> Result<T, WireError>) -> Result<Vec<T>, WireError> {
    rows.iter().map(read).collect()
}

fn write_member((cluster, member): &(weft_model::ClusterName, Member)) -> log::Member {
    let Member {
        spec,
        trust_domain,
        bundle,
        generation,
        bundle_generation,
        deleted_floor,
        lapsed,
        joined,
    } = member;
    log::Member {
        cluster: cluster.to_string(),
        spec: Some(cluster::write_spec(spec)),
        trust_domain: trust_domain.to_string(),
        bundle: ders(bundle),
        generation: generation.0,
        bundle_generation: bundle_generation.0,
        deleted_floor: deleted_floor.0,
        lapsed: lapsed.map(|index| index.0),
        joined: joined.0,
    }
}

fn read_member(wire: &log::Member) -> Result<(weft_model::ClusterName, Member), WireError> {
    let member = Member {
        spec: cluster::read_spec(present("clusters.spec", wire.spec.as_ref())?)?,
        trust_domain: name("clusters.trust_domain", &wire.trust_domain)?,
        bundle: read_ders(&wire.bundle),
        generation: Generation(wire.generation),
        bundle_generation: Generation(wire.bundle_generation),
        deleted_floor: Generation(wire.deleted_floor),
        lapsed: wire.lapsed.map(Index),
        joined: Index(wire.joined),
    };
    Ok((name("clusters.cluster", &wire.cluster)?, member))
}

fn write_node((id, node): &(NodeId, Node)) -> log::Node {
    let Node {
        cluster,
        gateway,
        epoch,
        generation,
    } = node;
    log::Node {
        id: id.0,
        cluster: cluster.to_string(),
        gateway: Some(cluster::write_gateway(gateway)),
        epoch: epoch.0,
        generation: generation.0,
    }
}

fn read_node(wire: &log::Node) -> Result<(NodeId, Node), WireError> {
    let node = Node {
        cluster: name("nodes.cluster", &wire.cluster)?,
        gateway: cluster::read_gateway(present("nodes.gateway", wire.gateway.as_ref())?)?,
        epoch: SignerEpoch(wire.epoch),
        generation: Generation(wire.generation),
    };
    Ok((NodeId(wire.id), node))
}

type TokenRow = (weft_model::TokenId, (weft_model::TokenGrant, TokenState));

fn write_token((id, (grant, state)): &TokenRow) -> log::Token {
    let (redeemed, revoked) = match state {
        TokenState::Open => (0, false),
        TokenState::Redeemed(node) => (node.0, false),
        TokenState::Revoked => (0, true),
    };
    log::Token {
        id: id_bytes(&id.0),
        grant: Some(cluster::write_grant(grant)),
        redeemed,
        revoked,
    }
}

fn read_token(wire: &log::Token) -> Result<TokenRow, WireError> {
    let state = match (wire.redeemed, wire.revoked) {
        (0, false) => TokenState::Open,
        (0, true) => TokenState::Revoked,
        (node, false) => TokenState::Redeemed(NodeId(node)),
        (_, true) => return Err(invalid("tokens", "redeemed and revoked at once")),
    };
    let grant = cluster::read_grant(present("tokens.grant", wire.grant.as_ref())?)?;
    Ok((token("tokens.id", &wire.id)?, (grant, state)))
}

type ExportRow = (
    (weft_model::ServiceKey, weft_model::ClusterName),
    ExportRecord,
);

fn write_export(((key, cluster), record): &ExportRow) -> log::Export {
    let ExportRecord {
        spec,
        generation,
        precedence,
    } = record;
    log::Export {
        key: Some(export::write_export_key(cluster, key)),
        spec: Some(export::write_export(spec)),
        generation: generation.0,
        precedence: precedence.0,
    }
}

fn read_export(wire: &log::Export) -> Result<ExportRow, WireError> {
    let (cluster, key) = export::read_export_key(wire.key.as_ref())?;
    let record = ExportRecord {
        spec: export::read_export(wire.spec.as_ref())?,
        generation: Generation(wire.generation),
        precedence: Index(wire.precedence),
    };
    Ok(((key, cluster), record))
}

type WorkloadRow = (workload::WorkloadKey, WorkloadRecord);

fn write_workload(((cluster, namespace, name), record): &WorkloadRow) -> log::Workload {
    let WorkloadRecord { spec, generation } = record;
    log::Workload {
        key: Some(workload::write_key(cluster, namespace, name)),
        spec: Some(workload::write_entry(spec)),
        generation: generation.0,
    }
}

fn read_workload(wire: &log::Workload) -> Result<WorkloadRow, WireError> {
    let record = WorkloadRecord {
        spec: workload::read_entry(wire.spec.as_ref())?,
        generation: Generation(wire.generation),
    };
    Ok((workload::read_key(wire.key.as_ref())?, record))
}

type QuarantineRow = (weft_model::ServiceKey, Quarantine);

fn write_quarantine((key, row): &QuarantineRow) -> log::QuarantinedIndex {
    let Quarantine {
        index,
        cluster,
        since,
        time,
    } = row;
    log::QuarantinedIndex {
        key: Some(export::write_service_key(key)),
        index: index.0,
        cluster: cluster.to_string(),
        since: since.0,
        time_ms: time.0,
    }
}

fn read_quarantine(wire: &log::QuarantinedIndex) -> Result<QuarantineRow, WireError> {
    let row = Quarantine {
        index: VirtualIpIndex(wire.index),
        cluster: name("quarantine.cluster", &wire.cluster)?,
        since: Index(wire.since),
        time: WallTime(wire.time_ms),
    };
    Ok((export::read_service_key(wire.key.as_ref())?, row))
}
