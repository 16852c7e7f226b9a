//! Ed25519 signatures (RFC 8032) over log entries and tokens.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use weft_model::PublicKey;
use zeroize::Zeroizing;

/// An Ed25519 private key: a gateway's, an operator's or a join token's.
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A new key from the system's random source.
    pub fn generate() -> Self {
        Self::from_seed(random())
    }

    /// The key that `seed` (RFC 8032's private key) determines.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed)
            .expect("every 32 byte string is an Ed25519 seed");
        Self { seed, pair }
    }

    /// The seed, to keep it in a [`crate::KeyStore`].
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.seed.clone()
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(key)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public()).finish()
    }
}

/// Whether `signature` over `message` was made with the private half of `key`.
pub fn verify(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, &key.0)
        .verify(message, signature)
        .is_ok()
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random source does not fail");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_and_key_only() {
        let key = SigningKey::from_seed([7; 32]);
        let signature = key.sign(b"entry");
        assert!(verify(&key.public(), b"entry", &signature));
        assert!(!verify(&key.public(), b"entrx", &signature));
        assert!(!verify(&key.public(), b"entry", &signature[..63]));
        assert!(!verify(
            &SigningKey::generate().public(),
            b"entry",
            &signature
        ));
    }

    /// RFC 8032 §7.1, test 1.
    #[test]
    fn the_standard_vector_holds() {
        let seed = data_encoding::HEXLOWER
            .decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
            .unwrap();
        let public = SigningKey::from_seed(seed.try_into().unwrap()).public();
        assert_eq!(
            data_encoding::HEXLOWER.encode(&public.0),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn the_seed_is_not_in_debug() {
        let key = SigningKey::from_seed([0xab; 32]);
        assert!(!format!("{key:?}").contains("171, 171"));
    }
}
