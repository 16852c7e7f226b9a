//! Who wrote an entry, and what that one may change.

use std::sync::Arc;

use super::Federation;
use crate::{
    Author, ClusterName, Command, Entry, Generation, Index, NodeId, Refusal, Role, TokenId,
    UserName, WallTime,
};

/// An authentic author, as the state knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Founder,
    Gateway { node: NodeId, cluster: ClusterName },
    Operator { user: UserName, role: Option<Role> },
    Token(TokenId),
}

/// What a handler may know of the entry beside its command.
#[derive(Debug)]
pub(super) struct Cause<'a> {
    pub(super) index: Index,
    pub(super) time: WallTime,
    pub(super) generation: Generation,
    pub(super) standing: Standing,
    author: &'a Author,
}

impl Cause<'_> {
    /// The refusal of an author that may not change `what`.
    pub(super) fn not_owner(&self, what: impl ToString) -> Refusal {
        Refusal::NotOwner {
            author: self.author.to_string(),
            what: what.to_string(),
        }
    }

    /// Passes operators with `role` or a higher one.
    pub(super) fn needs_role(&self, needed: Role, what: impl ToString) -> Result<(), Refusal> {
        match &self.standing {
            Standing::Operator { role, .. } if *role >= Some(needed) => Ok(()),
            _ => Err(self.not_owner(what)),
        }
    }

    /// Passes administrators.
    pub(super) fn needs_admin(&self, what: impl ToString) -> Result<(), Refusal> {
        self.needs_role(Role::Admin, what)
    }

    /// Passes gateways of `owner`.
    pub(super) fn needs_gateway_of(
        &self,
        owner: &ClusterName,
        what: impl ToString,
    ) -> Result<(), Refusal> {
        #[cfg(feature = "bugs")]
        if crate::planted::Bug::MissingOwnerCheck.is_planted() {
            return Ok(());
        }
        match &self.standing {
            Standing::Gateway { cluster, .. } if cluster == owner => Ok(()),
            _ => Err(self.not_owner(what)),
        }
    }

    /// Passes gateways of `owner`, and administrators.
    pub(super) fn needs_owner_or_admin(
        &self,
        owner: &ClusterName,
        what: impl ToString,
    ) -> Result<(), Refusal> {
        match &self.standing {
            Standing::Operator { .. } => self.needs_admin(what),
            _ => self.needs_gateway_of(owner, what),
        }
    }
}

impl Federation {
    /// Finds out who the author is; refuses what nobody we know has signed, and
    /// an operator's order that was judged before.
    pub(super) fn admit<'a>(&self, index: Index, entry: &'a Entry) -> Result<Cause<'a>, Refusal> {
        let founds = matches!(entry.command, Command::Found(_));
        if founds == self.domain.is_some() {
            return Err(Refusal::Founding);
        }
        let known = founds || self.signing_key(&entry.author).is_some();
        if !entry.authentic || !known {
            return Err(Refusal::Signature);
        }
        let standing = self.standing(&entry.author).ok_or(Refusal::Signature)?;
        if founds != (standing == Standing::Founder) {
            return Err(Refusal::Signature);
        }
        if let Standing::Operator { user, .. } = &standing {
            let seen = self.orders.get(user).copied().unwrap_or_default();
            newer(entry.generation, seen)?;
        }
        Ok(Cause {
            index,
            time: entry.time,
            generation: entry.generation,
            standing,
            author: &entry.author,
        })
    }

    fn standing(&self, author: &Author) -> Option<Standing> {
        Some(match author {
            Author::Founder => Standing::Founder,
            Author::Gateway(node, _) => Standing::Gateway {
                node: *node,
                cluster: self.nodes.get(node)?.cluster.clone(),
            },
            Author::Operator(user, _) => Standing::Operator {
                user: user.clone(),
                role: self.role(user),
            },
            Author::Token(id) => Standing::Token(*id),
        })
    }

    /// An operator's order counts as judged even when it was refused: otherwise
    /// an old one could be replayed once its author has the role it lacked.
    pub(super) fn note_order(&mut self, cause: &Cause<'_>) {
        if let Standing::Operator { user, .. } = &cause.standing {
            Arc::make_mut(&mut self.orders).insert(user.clone(), cause.generation);
        }
    }

    /// Passes a write that is newer than the record, or, where there is none,
    /// newer than every deletion of this owner.
    pub(super) fn needs_newer(
        &self,
        owner: &ClusterName,
        record: Option<Generation>,
        given: Generation,
    ) -> Result<(), Refusal> {
        let floor = || {
            self.clusters
                .get(owner)
                .map(|member| member.deleted_floor)
                .unwrap_or_default()
        };
        newer(given, record.unwrap_or_else(floor))
    }

    /// Passes gateways that may vote: the leader is one of them.
    pub(super) fn needs_voter(
        &self,
        cause: &Cause<'_>,
        what: impl ToString,
    ) -> Result<ClusterName, Refusal> {
        match &cause.standing {
            Standing::Gateway { node, cluster } if self.may_vote(*node) => Ok(cluster.clone()),
            _ => Err(cause.not_owner(what)),
        }
    }

    /// Records how far the owner's count has come.
    pub(super) fn note_generation(&mut self, owner: &ClusterName, given: Generation) {
        if let Some(member) = Arc::make_mut(&mut self.clusters).get_mut(owner) {
            let member = Arc::make_mut(member);
            member.generation = member.generation.max(given);
        }
    }

    /// Records that one of the owner's records went by this write.
    pub(super) fn note_deletion(&mut self, owner: &ClusterName, given: Generation) {
        self.note_generation(owner, given);
        if let Some(member) = Arc::make_mut(&mut self.clusters).get_mut(owner) {
            let member = Arc::make_mut(member);
            member.deleted_floor = member.deleted_floor.max(given);
        }
    }
}

/// Passes `given` if it is above `seen`.
pub(super) fn newer(given: Generation, seen: Generation) -> Result<(), Refusal> {
    if given > seen {
        return Ok(());
    }
    #[cfg(feature = "bugs")]
    if crate::planted::Bug::OldGeneration.is_planted() {
        return Ok(());
    }
    Err(Refusal::StaleGeneration { given, seen })
}
