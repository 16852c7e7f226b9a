//! Which record a command is about, for those who read the log.

use super::{Command, Key, TokenGrant};
use crate::{ServiceKey, TokenId};

impl Command {
    /// The record that the command is about, whether or not it changes it; none for what is
    /// about the federation as a whole.
    pub fn target(&self) -> Option<Key> {
        Some(match self {
            Self::Found(_) | Self::RaiseFormat(_) => return None,
            Self::PutCluster(name, _)
            | Self::RemoveCluster(name)
            | Self::PutBundle(name, _)
            | Self::LapseLease(name)
            | Self::ReturnLease(name) => Key::Cluster(name.clone()),
            Self::GrantToken(TokenGrant { key, .. }) => Key::Token(TokenId::of(key)),
            Self::RevokeToken(id) => Key::Token(*id),
            Self::RedeemToken(redemption) => Key::Token(redemption.token),
            // A gateway's id is not in its own record: the author is the gateway.
            Self::PutGateway(_) => return None,
            Self::RemoveGateway(node) => Key::Node(*node),
            Self::RecordSigner(signer) => Key::Signer(signer.user.clone()),
            Self::PutExport(cluster, key, _) | Self::DeleteExport(cluster, key) => {
                Key::Export(key.clone(), cluster.clone())
            }
            Self::PutWorkloadEntry(cluster, namespace, name, _)
            | Self::DeleteWorkloadEntry(cluster, namespace, name) => {
                Key::WorkloadEntry(cluster.clone(), namespace.clone(), name.clone())
            }
            Self::PutRoleBinding(name, _) | Self::DeleteRoleBinding(name) => {
                Key::RoleBinding(name.clone())
            }
            Self::PutRoute(namespace, name, _) | Self::DeleteRoute(namespace, name) => {
                Key::Route(ServiceKey::new(namespace.clone(), name.clone()))
            }
            Self::PutTrafficPolicy(namespace, name, _)
            | Self::DeleteTrafficPolicy(namespace, name) => {
                Key::TrafficPolicy(ServiceKey::new(namespace.clone(), name.clone()))
            }
            Self::PutRelease(key, _)
            | Self::AdvanceRelease(key, _)
            | Self::PauseRelease(key)
            | Self::ResumeRelease(key, _)
            | Self::EndRelease(key, _)
            | Self::DeleteRelease(key) => Key::Release(key.clone()),
        })
    }
}
