//! Operators: their roles and their signing keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Federation;
use super::author::Cause;
use super::gateways::next_epoch;
use crate::{
    Event, Key, Kind, Refusal, Role, RoleBindingSpec, ServiceName, SignerEpoch, SignerRecord, quota,
};

impl Federation {
    pub(super) fn put_binding(
        &mut self,
        cause: &Cause<'_>,
        name: &ServiceName,
        spec: &RoleBindingSpec,
    ) -> Result<Vec<Event>, Refusal> {
        cause.needs_admin(format!("role binding {name}"))?;
        let invalid = |problem| Refusal::invalid(Kind::RoleBinding, name, problem);
        spec.check().map_err(invalid)?;
        if self.bindings.get(name) == Some(spec) {
            return Ok(Vec::new());
        }
        let mut bindings = BTreeMap::clone(&self.bindings);
        bindings.insert(name.clone(), spec.clone());
        if bindings.len() > quota::BINDINGS_MAX {
            let max = quota::BINDINGS_MAX;
            return Err(invalid(format!(
                "there are {max} bindings, the most there may be"
            )));
        }
        self.set_bindings(bindings)?;
        Ok(vec![Event::Put(Key::RoleBinding(name.clone()))])
    }

    pub(super) fn delete_binding(
        &mut self,
        cause: &Cause<'_>,
        name: &ServiceName,
    ) -> Result<Vec<Event>, Refusal> {
        cause.needs_admin(format!("role binding {name}"))?;
        let mut bindings = BTreeMap::clone(&self.bindings);
        if bindings.remove(name).is_none() {
            return Err(Refusal::Unknown(format!("role binding {name}")));
        }
        self.set_bindings(bindings)?;
        Ok(vec![Event::Deleted(Key::RoleBinding(name.clone()))])
    }

    /// Takes the new bindings unless nobody would be left who can change them
    /// again: an administrator without a signing key is none.
    fn set_bindings(
        &mut self,
        bindings: BTreeMap<ServiceName, RoleBindingSpec>,
    ) -> Result<(), Refusal> {
        let able = |spec: &RoleBindingSpec| {
            let signs = spec
                .users
                .iter()
                .any(|user| self.signers.contains_key(user));
            spec.role == Role::Admin && signs
        };
        if !bindings.values().any(able) {
            return Err(Refusal::LastAdmin);
        }
        self.bindings = Arc::new(bindings);
        Ok(())
    }

    pub(super) fn record_signer(
        &mut self,
        cause: &Cause<'_>,
        signer: &SignerRecord,
    ) -> Result<Vec<Event>, Refusal> {
        let user = &signer.user;
        let what = format!("the signing key of {user}");
        match &self.founder {
            Some(founder) => cause.needs_gateway_of(founder, what)?,
            None => return Err(Refusal::Founding),
        }
        let invalid = |problem| Refusal::invalid(Kind::RoleBinding, user, problem);
        let expected = match self.signers.get(user) {
            Some(old) => next_epoch(old.epoch).map_err(invalid)?,
            None if self.signers.len() >= quota::SIGNERS_MAX => {
                let max = quota::SIGNERS_MAX;
                return Err(invalid(format!(
                    "{max} operators have a key, the most there may be"
                )));
            }
            None => SignerEpoch::FIRST,
        };
        if signer.epoch != expected {
            let given = signer.epoch;
            return Err(invalid(format!(
                "its next key has epoch {expected}, not {given}"
            )));
        }
        Arc::make_mut(&mut self.signers).insert(user.clone(), signer.clone());
        // Nothing signed with the key before is authentic any more: the count starts anew.
        Arc::make_mut(&mut self.orders).remove(user);
        Ok(vec![Event::Put(Key::Signer(user.clone()))])
    }
}
