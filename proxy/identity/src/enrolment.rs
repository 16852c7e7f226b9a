//! Enrolment tokens: a sidecar's first identity, bound to one workload.
//!
//! Signed by a gateway of the workload's cluster with the key that the federation's
//! state records for it, so that every gateway of the cluster can check one that
//! another has written. Single use is the redeeming gateway's to enforce, by the id.

use std::fmt;
use std::str::FromStr;

use weft_model::{
    GatewayName, HostPort, Namespace, PublicKey, ServiceAccount, SpiffeId, TokenId, TrustDomain,
    WallTime,
};
use zeroize::Zeroizing;

use crate::armor::{Reader, TokenError, Writer, disarm};
use crate::signing::random;
use crate::token::{read_addresses, write_addresses};
use crate::{SigningKey, verify};

pub(crate) const PREFIX: &str = "we1.";

/// What an enrolment token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentClaims {
    /// The trust domain of the workload's cluster.
    pub trust_domain: TrustDomain,
    /// The workload's namespace.
    pub namespace: Namespace,
    /// The workload's service account.
    pub account: ServiceAccount,
    /// The last moment at which it may be redeemed.
    pub expires: WallTime,
    /// [`crate::bundle_hash`] of the CA bundle that the gateways at `addresses` present.
    pub bundle_hash: [u8; 32],
    /// Gateways to ask, in order.
    pub addresses: Vec<HostPort>,
    /// The gateway that signed it.
    pub signer: GatewayName,
}

impl EnrolmentClaims {
    /// The identity it is good for.
    pub fn spiffe_id(&self) -> SpiffeId {
        SpiffeId::workload(
            self.trust_domain.clone(),
            self.namespace.clone(),
            self.account.clone(),
        )
    }
}

/// A signed, single-use token for a workload's first identity. Whoever has it can
/// become the workload: keep it secret.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    id: TokenId,
    claims: EnrolmentClaims,
    signature: Zeroizing<[u8; 64]>,
}

impl EnrolmentToken {
    /// A token with a random id, signed with the key of `claims.signer`.
    pub fn sign(claims: EnrolmentClaims, key: &SigningKey) -> Result<Self, TokenError> {
        let id = TokenId(random());
        let fields = encode(id, &claims)?;
        Ok(Self {
            id,
            claims,
            signature: Zeroizing::new(key.sign(&signed(fields.as_slice()))),
        })
    }

    /// Its single-use id.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// What it says. Not to be believed before [`Self::is_signed_by`] holds.
    pub fn claims(&self) -> &EnrolmentClaims {
        &self.claims
    }

    /// Whether the holder of `key`'s private half signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        encode(self.id, &self.claims)
            .is_ok_and(|fields| verify(key, &signed(fields.as_slice()), &*self.signature))
    }

    /// The token as text, to hand to the sidecar.
    pub fn expose(&self) -> Result<Zeroizing<String>, TokenError> {
        let mut fields = encode(self.id, &self.claims)?;
        fields.bytes(&*self.signature);
        Ok(Zeroizing::new(fields.armor(PREFIX)))
    }
}

impl FromStr for EnrolmentToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let bytes = disarm(PREFIX, text)?;
        let mut fields = Reader::new(&bytes);
        let id = TokenId(fields.array()?);
        let claims = EnrolmentClaims {
            expires: WallTime(u64::from_be_bytes(fields.array()?)),
            bundle_hash: fields.array()?,
            trust_domain: fields.text()?.parse()?,
            namespace: fields.text()?.parse()?,
            account: fields.text()?.parse()?,
            signer: fields.text()?.parse()?,
            addresses: read_addresses(&mut fields)?,
        };
        let signature = Zeroizing::new(fields.array()?);
        fields.end()?;
        Ok(Self {
            id,
            claims,
            signature,
        })
    }
}

/// Without the signature, which makes it a token.
impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolmentToken")
            .field("id", &self.id)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

fn encode(id: TokenId, claims: &EnrolmentClaims) -> Result<Writer, TokenError> {
    let mut fields = Writer::new();
    fields
        .bytes(&id.0)
        .bytes(&claims.expires.0.to_be_bytes())
        .bytes(&claims.bundle_hash);
    fields.text("trust domain", claims.trust_domain.as_str())?;
    fields.text("namespace", claims.namespace.as_str())?;
    fields.text("account", claims.account.as_str())?;
    fields.text("signer", claims.signer.as_str())?;
    write_addresses(&mut fields, &claims.addresses)?;
    Ok(fields)
}

/// The gateway's key also signs log entries: the prefix keeps the two apart.
fn signed(fields: &[u8]) -> Vec<u8> {
    [b"weft enrolment token 1\0", fields].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> EnrolmentClaims {
        EnrolmentClaims {
            trust_domain: "eu-west-1.fed.example.org".parse().unwrap(),
            namespace: "shop".parse().unwrap(),
            account: "checkout".parse().unwrap(),
            expires: WallTime(600_000),
            bundle_hash: [3; 32],
            addresses: vec!["127.0.0.1:7444".parse().unwrap()],
            signer: "gw-1".parse().unwrap(),
        }
    }

    #[test]
    fn what_is_signed_is_read_and_holds() {
        let key = SigningKey::generate();
        let token = EnrolmentToken::sign(claims(), &key).unwrap();
        let read: EnrolmentToken = token.expose().unwrap().parse().unwrap();
        assert_eq!(read, token);
        assert!(read.is_signed_by(&key.public()));
        assert!(!read.is_signed_by(&SigningKey::generate().public()));
        assert_eq!(
            read.claims().spiffe_id().to_string(),
            "spiffe://eu-west-1.fed.example.org/ns/shop/sa/checkout"
        );
    }

    #[test]
    fn changed_claims_do_not_hold() {
        let key = SigningKey::generate();
        let mut token = EnrolmentToken::sign(claims(), &key).unwrap();
        token.claims.account = "payments".parse().unwrap();
        assert!(!token.is_signed_by(&key.public()));
    }
}
