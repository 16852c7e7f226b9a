//! The first entry: the federation, its founder and its first administrator.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::author::Cause;
use super::gateways::check_bundle;
use super::{Federation, Member, Node};
use crate::{
    ClusterRole, Event, FormatLevel, Founding, GatewayRecord, GatewayRole, Generation, Key, Kind,
    NodeId, Refusal, Role, RoleBindingSpec, ServiceName, SignerEpoch, SignerRecord, TrustDomain,
};

const FIRST_NODE: NodeId = NodeId(1);

impl Federation {
    pub(super) fn found(
        &mut self,
        cause: &Cause<'_>,
        founding: &Founding,
    ) -> Result<Vec<Event>, Refusal> {
        let name = &founding.cluster;
        let invalid = |problem| Refusal::invalid(Kind::Cluster, name, problem);
        founding.spec.check().map_err(invalid)?;
        check_bundle(&founding.bundle).map_err(invalid)?;
        check_bundle(&founding.operators).map_err(invalid)?;
        if founding.gateway.format < FormatLevel::FIRST {
            return Err(Refusal::Format {
                needs: FormatLevel::FIRST,
                has: founding.gateway.format,
            });
        }
        self.domain = Some(founding.domain.clone());
        self.founder = Some(name.clone());
        self.operators = founding.operators.clone();
        self.format = FormatLevel::FIRST;
        self.next_node = NodeId(FIRST_NODE.0 + 1);
        let mut spec = founding.spec.clone();
        spec.role = ClusterRole::Voter;
        let member = Member {
            spec,
            trust_domain: TrustDomain::of_cluster(name, &founding.domain),
            bundle: founding.bundle.clone(),
            generation: Generation(0),
            bundle_generation: Generation(0),
            deleted_floor: Generation(0),
            lapsed: None,
            joined: cause.index,
        };
        let node = Node {
            cluster: name.clone(),
            gateway: GatewayRecord {
                role: GatewayRole::Member,
                ..founding.gateway.clone()
            },
            epoch: SignerEpoch::FIRST,
            generation: Generation(0),
        };
        Arc::make_mut(&mut self.clusters).insert(name.clone(), Arc::new(member));
        Arc::make_mut(&mut self.nodes).insert(FIRST_NODE, Arc::new(node));
        let (admin, binding) = self.first_admin(founding);
        Ok(vec![
            Event::Put(Key::Cluster(name.clone())),
            Event::Put(Key::Node(FIRST_NODE)),
            Event::Put(admin),
            Event::Put(binding),
        ])
    }

    fn first_admin(&mut self, founding: &Founding) -> (Key, Key) {
        let (user, key) = founding.admin.clone();
        let signer = SignerRecord {
            user: user.clone(),
            epoch: SignerEpoch::FIRST,
            key,
        };
        Arc::make_mut(&mut self.signers).insert(user.clone(), signer);
        let binding = RoleBindingSpec {
            role: Role::Admin,
            users: BTreeSet::from([user.clone()]),
        };
        let name = ServiceName::new("admins").expect("it is a label");
        Arc::make_mut(&mut self.bindings).insert(name.clone(), binding);
        (Key::Signer(user), Key::RoleBinding(name))
    }
}
