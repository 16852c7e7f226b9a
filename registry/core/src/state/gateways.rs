//! What a cluster says of itself: its gateways and its CA certificates.

use std::sync::Arc;

use super::author::{Cause, Standing};
use super::{Federation, Node};
use crate::{
    ClusterName, Event, GatewayRecord, Generation, Key, Kind, NodeId, Refusal, SignerEpoch, quota,
};

impl Federation {
    /// Gives a gateway of `cluster` the next node id.
    pub(super) fn add_node(&mut self, cluster: &ClusterName, gateway: &GatewayRecord) -> NodeId {
        let id = self.next_node;
        self.next_node = NodeId(id.0.saturating_add(1));
        let node = Node {
            cluster: cluster.clone(),
            gateway: gateway.clone(),
            epoch: SignerEpoch::FIRST,
            generation: Generation(0),
        };
        Arc::make_mut(&mut self.nodes).insert(id, Arc::new(node));
        id
    }

    /// Passes a gateway that `cluster` may have beside those it has.
    pub(super) fn check_new_gateway(
        &self,
        cluster: &ClusterName,
        gateway: &GatewayRecord,
    ) -> Result<(), Refusal> {
        self.check_format(cluster, gateway)?;
        let mut count = 0;
        for (_, node) in self.nodes().filter(|(_, node)| node.cluster == *cluster) {
            count += 1;
            if node.gateway.name == gateway.name {
                let name = &gateway.name;
                return Err(Refusal::Taken(format!("gateway {name} of {cluster}")));
            }
        }
        if count >= quota::GATEWAYS_MAX {
            let problem = format!("it has {count} gateways, the most it may have");
            return Err(Refusal::invalid(Kind::Cluster, cluster, problem));
        }
        Ok(())
    }

    fn check_format(&self, cluster: &ClusterName, gateway: &GatewayRecord) -> Result<(), Refusal> {
        if gateway.format >= self.format {
            return Ok(());
        }
        let problem = format!(
            "gateway {} understands format level {}, {} is in force: run a newer version",
            gateway.name, gateway.format, self.format
        );
        Err(Refusal::invalid(Kind::Cluster, cluster, problem))
    }

    pub(super) fn put_gateway(
        &mut self,
        cause: &Cause<'_>,
        gateway: &GatewayRecord,
    ) -> Result<Vec<Event>, Refusal> {
        let Standing::Gateway { node: id, cluster } = &cause.standing else {
            return Err(cause.not_owner(format!("gateway {}", gateway.name)));
        };
        let unknown = || Refusal::Unknown(format!("gateway {id}"));
        let node = self.nodes.get(id).ok_or_else(unknown)?;
        if node.gateway.name != gateway.name {
            let problem = format!(
                "gateway {} cannot call itself {}: its name is part of its identity",
                node.gateway.name, gateway.name
            );
            return Err(Refusal::invalid(Kind::Cluster, cluster, problem));
        }
        self.check_format(cluster, gateway)?;
        self.needs_newer(cluster, Some(node.generation), cause.generation)?;
        let epoch = if node.gateway.key == gateway.key {
            node.epoch
        } else {
            next_epoch(node.epoch).map_err(|p| Refusal::invalid(Kind::Cluster, cluster, p))?
        };
        // What was a voter once may not forget: its role is what it joined in.
        let gateway = GatewayRecord {
            role: node.gateway.role,
            ..gateway.clone()
        };
        let changed = node.gateway != gateway;
        let node = Node {
            cluster: cluster.clone(),
            gateway,
            epoch,
            generation: cause.generation,
        };
        Arc::make_mut(&mut self.nodes).insert(*id, Arc::new(node));
        self.note_generation(cluster, cause.generation);
        Ok(Vec::from_iter(
            changed.then_some(Event::Put(Key::Node(*id))),
        ))
    }

    pub(super) fn remove_gateway(
        &mut self,
        cause: &Cause<'_>,
        id: NodeId,
    ) -> Result<Vec<Event>, Refusal> {
        let what = format!("gateway {id}");
        let node = self.nodes.get(&id);
        let cluster = match node {
            Some(node) => node.cluster.clone(),
            None => return Err(Refusal::Unknown(what)),
        };
        cause.needs_owner_or_admin(&cluster, what)?;
        let last = self
            .nodes()
            .all(|(other, node)| other == id || node.cluster != cluster);
        if last {
            let problem = "it has no other gateway: remove the cluster instead";
            return Err(Refusal::invalid(Kind::Cluster, &cluster, problem));
        }
        Arc::make_mut(&mut self.nodes).remove(&id);
        Ok(vec![Event::Deleted(Key::Node(id))])
    }

    pub(super) fn put_bundle(
        &mut self,
        cause: &Cause<'_>,
        name: &ClusterName,
        bundle: &[Vec<u8>],
    ) -> Result<Vec<Event>, Refusal> {
        cause.needs_gateway_of(name, format!("the bundle of {name}"))?;
        check_bundle(bundle).map_err(|p| Refusal::invalid(Kind::Cluster, name, p))?;
        let unknown = || Refusal::Unknown(format!("cluster {name}"));
        let seen = self
            .clusters
            .get(name)
            .ok_or_else(unknown)?
            .bundle_generation;
        self.needs_newer(name, Some(seen), cause.generation)?;
        self.note_generation(name, cause.generation);
        let mut changed = false;
        if let Some(member) = Arc::make_mut(&mut self.clusters).get_mut(name) {
            let member = Arc::make_mut(member);
            changed = member.bundle != bundle;
            member.bundle = bundle.to_vec();
            member.bundle_generation = cause.generation;
        }
        let put = || Event::Put(Key::Cluster(name.clone()));
        Ok(Vec::from_iter(changed.then(put)))
    }
}

/// Passes bundles of a size that a rotation may need. What the certificates say
/// is judged where chains are built, by those who must trust them.
pub(super) fn check_bundle(bundle: &[Vec<u8>]) -> Result<(), String> {
    if bundle.is_empty() {
        return Err("its bundle is empty: nobody could prove to belong to it".into());
    }
    if bundle.len() > quota::BUNDLE_MAX {
        let (given, max) = (bundle.len(), quota::BUNDLE_MAX);
        return Err(format!(
            "its bundle has {given} certificates, at most {max} are allowed"
        ));
    }
    let sized = |der: &Vec<u8>| (1..=quota::CERTIFICATE_MAX).contains(&der.len());
    if !bundle.iter().all(sized) {
        let max = quota::CERTIFICATE_MAX;
        return Err(format!(
            "a certificate of its bundle is empty or above {max} bytes"
        ));
    }
    Ok(())
}

/// The epoch of a signer's next key.
pub(super) fn next_epoch(epoch: SignerEpoch) -> Result<SignerEpoch, String> {
    let next = epoch.0.checked_add(1).map(SignerEpoch);
    next.ok_or_else(|| "it has used up its key epochs".to_owned())
}
