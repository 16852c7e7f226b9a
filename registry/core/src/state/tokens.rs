//! Join tokens: granted by administrators, used once.

use std::sync::Arc;

use super::author::{Cause, Standing};
use super::gateways::check_bundle;
use super::{Federation, Member, TokenState};
use crate::refusal::token;
use crate::{
    ClusterName, Event, GatewayRole, Generation, Key, Kind, Redemption, Refusal, TokenGrant,
    TokenId, TrustDomain, quota,
};

impl Federation {
    pub(super) fn grant_token(
        &mut self,
        cause: &Cause<'_>,
        grant: &TokenGrant,
    ) -> Result<Vec<Event>, Refusal> {
        cause.needs_admin("join tokens")?;
        let id = TokenId::of(&grant.key);
        if self.tokens.contains_key(&id) {
            return Err(Refusal::Taken(format!("token {id}")));
        }
        if self.is_removed(&grant.cluster) {
            return Err(Refusal::Taken(format!("cluster {}", grant.cluster)));
        }
        if grant.expires <= cause.time {
            return Err(Refusal::Token(token::EXPIRED));
        }
        if grant.expires > cause.time.after(quota::TOKEN_LIFE_MAX) {
            return Err(Refusal::Token(token::TOO_LONG));
        }
        let remembered =
            |grant: &TokenGrant| grant.expires.after(quota::TOKEN_MEMORY) >= cause.time;
        let kept = self.tokens.values().filter(|(grant, _)| remembered(grant));
        if kept.count() >= quota::TOKENS_MAX {
            return Err(Refusal::Token(token::TOO_MANY));
        }
        let tokens = Arc::make_mut(&mut self.tokens);
        tokens.retain(|_, (grant, _)| remembered(grant));
        tokens.insert(id, (grant.clone(), TokenState::Open));
        Ok(vec![Event::Put(Key::Token(id))])
    }

    pub(super) fn revoke_token(
        &mut self,
        cause: &Cause<'_>,
        id: TokenId,
    ) -> Result<Vec<Event>, Refusal> {
        cause.needs_admin("join tokens")?;
        match self.tokens.get(&id) {
            None => Err(Refusal::Unknown(format!("token {id}"))),
            Some((_, TokenState::Redeemed(_))) => Err(Refusal::Token(token::USED)),
            Some((_, TokenState::Revoked)) => Err(Refusal::Token(token::REVOKED)),
            Some((_, TokenState::Open)) => {
                self.set_token(id, TokenState::Revoked);
                Ok(vec![Event::Put(Key::Token(id))])
            }
        }
    }

    fn set_token(&mut self, id: TokenId, state: TokenState) {
        if let Some(token) = Arc::make_mut(&mut self.tokens).get_mut(&id) {
            token.1 = state;
        }
    }

    pub(super) fn redeem_token(
        &mut self,
        cause: &Cause<'_>,
        redemption: &Redemption,
    ) -> Result<Vec<Event>, Refusal> {
        let id = redemption.token;
        if cause.standing != Standing::Token(id) {
            return Err(cause.not_owner(format!("token {id}")));
        }
        let grant = self.open_token(cause, id)?.clone();
        let joins = !self.clusters.contains_key(&grant.cluster);
        let newcomer = if joins {
            Some(self.newcomer(cause, &grant, redemption)?)
        } else {
            self.check_further_gateway(&grant.cluster, redemption)?;
            None
        };
        let mut events = Vec::new();
        if let Some(member) = newcomer {
            Arc::make_mut(&mut self.clusters).insert(grant.cluster.clone(), Arc::new(member));
            events.push(Event::Put(Key::Cluster(grant.cluster.clone())));
        }
        let node = self.add_node(&grant.cluster, &redemption.gateway);
        self.set_token(id, TokenState::Redeemed(node));
        events.extend([Event::Put(Key::Node(node)), Event::Put(Key::Token(id))]);
        Ok(events)
    }

    fn open_token(&self, cause: &Cause<'_>, id: TokenId) -> Result<&TokenGrant, Refusal> {
        #[cfg(feature = "bugs")]
        if let Some((grant, TokenState::Redeemed(_))) = self.tokens.get(&id)
            && crate::planted::Bug::TokenTwice.is_planted()
        {
            return Ok(grant);
        }
        match self.tokens.get(&id) {
            None => Err(Refusal::Unknown(format!("token {id}"))),
            Some((_, TokenState::Redeemed(_))) => Err(Refusal::Token(token::USED)),
            Some((_, TokenState::Revoked)) => Err(Refusal::Token(token::REVOKED)),
            Some((grant, _)) if cause.time > grant.expires => Err(Refusal::Token(token::EXPIRED)),
            Some((grant, TokenState::Open)) => Ok(grant),
        }
    }

    fn newcomer(
        &self,
        cause: &Cause<'_>,
        grant: &TokenGrant,
        redemption: &Redemption,
    ) -> Result<Member, Refusal> {
        let name = &grant.cluster;
        if self.is_removed(name) {
            return Err(Refusal::Taken(format!("cluster {name}")));
        }
        let domain = self.domain.as_ref().ok_or(Refusal::Founding)?;
        let invalid = |problem| Refusal::invalid(Kind::Cluster, name, problem);
        redemption.spec.check().map_err(invalid)?;
        check_bundle(&redemption.bundle).map_err(invalid)?;
        self.check_room(cause, name, &redemption.spec)?;
        self.check_new_gateway(name, &redemption.gateway)?;
        if redemption.gateway.role == GatewayRole::Follower {
            return Err(invalid(
                "its first gateway holds its CA, and so is a member: a follower joins after that"
                    .into(),
            ));
        }
        if self.clusters.len() >= quota::CLUSTERS_MAX {
            let max = quota::CLUSTERS_MAX;
            return Err(invalid(format!(
                "the federation has {max} clusters, the most it may have"
            )));
        }
        let mut spec = redemption.spec.clone();
        spec.region = grant.region.clone();
        spec.role = grant.role;
        Ok(Member {
            spec,
            trust_domain: TrustDomain::of_cluster(name, domain),
            bundle: redemption.bundle.clone(),
            generation: Generation(0),
            bundle_generation: Generation(0),
            deleted_floor: Generation(0),
            lapsed: None,
            joined: cause.index,
        })
    }

    /// A token shows that an administrator wants one more gateway, the bundle
    /// that the joiner has its identity from the cluster it means.
    fn check_further_gateway(
        &self,
        name: &ClusterName,
        redemption: &Redemption,
    ) -> Result<(), Refusal> {
        let own = self.clusters.get(name).map(|member| &member.bundle);
        if own != Some(&redemption.bundle) {
            let problem =
                "it is a member with another bundle: a further gateway brings the cluster's own";
            return Err(Refusal::invalid(Kind::Cluster, name, problem));
        }
        self.check_new_gateway(name, &redemption.gateway)
    }
}
