//! Join tokens: what a new cluster, or a further gateway, needs to join.

use std::fmt;
use std::str::FromStr;

use weft_model::{ClusterName, FederationDomain, HostPort, PublicKey, RegionName, TokenId};
use zeroize::Zeroizing;

use crate::SigningKey;
use crate::armor::{Reader, TokenError, Writer, disarm};
use crate::bundle::sha256;

pub(crate) const PREFIX: &str = "wj1.";

/// A single-use token to join with. Whoever has it can join: keep it secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    seed: Zeroizing<[u8; 32]>,
    /// The cluster it makes a member, or to which it adds a gateway.
    pub cluster: ClusterName,
    /// The cluster's region.
    pub region: RegionName,
    /// The federation's domain.
    pub domain: FederationDomain,
    /// [`crate::bundle_hash`] of the CA bundle that the gateways at `addresses` present.
    pub bundle_hash: [u8; 32],
    /// Gateways to ask, in order.
    pub addresses: Vec<HostPort>,
}

impl JoinToken {
    /// A token with a new random key.
    pub fn new(
        cluster: ClusterName,
        region: RegionName,
        domain: FederationDomain,
        bundle_hash: [u8; 32],
        addresses: Vec<HostPort>,
    ) -> Self {
        Self::with_key(
            &SigningKey::generate(),
            cluster,
            region,
            domain,
            bundle_hash,
            addresses,
        )
    }

    /// A token whose key was made, and granted, before.
    pub fn with_key(
        key: &SigningKey,
        cluster: ClusterName,
        region: RegionName,
        domain: FederationDomain,
        bundle_hash: [u8; 32],
        addresses: Vec<HostPort>,
    ) -> Self {
        Self {
            seed: key.seed(),
            cluster,
            region,
            domain,
            bundle_hash,
            addresses,
        }
    }

    /// The key to sign the redemption with.
    pub fn key(&self) -> SigningKey {
        SigningKey::from_seed(*self.seed)
    }

    /// Its id in the federation's state.
    pub fn id(&self) -> TokenId {
        token_id(&self.key().public())
    }

    /// The token as text, to hand to the joiner.
    pub fn expose(&self) -> Result<Zeroizing<String>, TokenError> {
        let mut fields = Writer::new();
        fields.bytes(&*self.seed).bytes(&self.bundle_hash);
        fields.text("cluster", self.cluster.as_str())?;
        fields.text("region", self.region.as_str())?;
        fields.text("domain", self.domain.as_str())?;
        write_addresses(&mut fields, &self.addresses)?;
        Ok(Zeroizing::new(fields.armor(PREFIX)))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let bytes = disarm(PREFIX, text)?;
        let mut fields = Reader::new(&bytes);
        let token = Self {
            seed: Zeroizing::new(fields.array()?),
            bundle_hash: fields.array()?,
            cluster: fields.text()?.parse()?,
            region: fields.text()?.parse()?,
            domain: fields.text()?.parse()?,
            addresses: read_addresses(&mut fields)?,
        };
        fields.end()?;
        Ok(token)
    }
}

/// Without the secret.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &self.id())
            .field("cluster", &self.cluster)
            .field("region", &self.region)
            .field("domain", &self.domain)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// The first 16 bytes of the SHA-256 of a token's public key.
pub fn token_id(key: &PublicKey) -> TokenId {
    let mut id = [0; 16];
    id.copy_from_slice(&sha256(&key.0)[..16]);
    TokenId(id)
}

pub(crate) fn write_addresses(
    fields: &mut Writer,
    addresses: &[HostPort],
) -> Result<(), TokenError> {
    fields.count("addresses", addresses.len())?;
    addresses
        .iter()
        .try_for_each(|address| fields.text("address", address.as_str()))
}

pub(crate) fn read_addresses(fields: &mut Reader<'_>) -> Result<Vec<HostPort>, TokenError> {
    (0..fields.count()?)
        .map(|_| Ok(fields.text()?.parse()?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken::new(
            "eu-west-1".parse().unwrap(),
            "eu-west".parse().unwrap(),
            "fed.example.org".parse().unwrap(),
            [9; 32],
            vec![
                "gw.example.org:7444".parse().unwrap(),
                "[2001:db8::1]:7444".parse().unwrap(),
            ],
        )
    }

    #[test]
    fn what_is_written_is_read() {
        let token = token();
        let read: JoinToken = token.expose().unwrap().parse().unwrap();
        assert_eq!(read, token);
        assert_eq!(read.id(), token_id(&token.key().public()));
    }

    #[test]
    fn every_changed_or_missing_character_is_noticed() {
        let text = token().expose().unwrap();
        for at in PREFIX.len()..text.len() {
            let other = if text.as_bytes()[at] == b'A' {
                "B"
            } else {
                "A"
            };
            let mut typo = text.to_string();
            typo.replace_range(at..=at, other);
            assert_eq!(typo.parse::<JoinToken>(), Err(TokenError::Checksum));
            assert_eq!(text[..at].parse::<JoinToken>(), Err(TokenError::Checksum));
        }
        let expected = PREFIX;
        assert_eq!(
            "we1.AAAA".parse::<JoinToken>(),
            Err(TokenError::Prefix { expected })
        );
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        let token = token();
        let shown = format!("{token:?}");
        assert!(!shown.contains(&format!("{:?}", *token.seed)));
        assert!(!shown.contains(token.expose().unwrap().as_str()));
    }
}
