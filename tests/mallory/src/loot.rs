//! What a member's state folder gives to whoever reads it.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use weft_gateway::config::GatewayConfigFile;
use weft_gateway::membership::Membership;
use weft_identity::{Authority, Svid, SvidSource, new_csr};
use weft_model::{Author, Command, Generation, RequestId, SpiffeId, WallTime};
use weft_registry::{Draft, Proposal};

/// How long what she issues is good for.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The keys of one gateway and of its cluster.
pub struct Loot {
    /// Its configuration.
    pub config: GatewayConfigFile,
    /// All that is kept beside the log.
    pub member: Membership,
}

impl Loot {
    /// Reads the folder that `gateway.yaml` names.
    ///
    /// # Errors
    /// It holds no membership.
    pub fn take(config: &Path) -> Result<Self> {
        let config: GatewayConfigFile = serde_saphyr::from_str(&fs::read_to_string(config)?)?;
        let member = Membership::open(&config)?;
        Ok(Self { config, member })
    }

    /// An identity of the cluster's own trust domain.
    ///
    /// # Errors
    /// The folder has no CA key, or `id` is of another trust domain.
    pub fn issue(&self, id: &str) -> Result<SvidSource> {
        let authority = self.member.authority.as_ref().context("no CA key here")?;
        issue(authority, &id.parse()?)
    }

    /// An identity of the operators' trust domain.
    ///
    /// # Errors
    /// The folder is not the founder's.
    pub fn issue_operator(&self, id: &str) -> Result<SvidSource> {
        let authority = self.member.operators.as_ref();
        issue(
            authority.context("no operators' CA key here")?,
            &id.parse()?,
        )
    }

    /// `id`, which may be of any trust domain, signed with this cluster's CA key: what no honest
    /// authority does.
    ///
    /// # Errors
    /// The folder has no CA key, or `id` is none.
    pub fn forge(&self, id: &str) -> Result<SvidSource> {
        let own = self.member.authority.as_ref().context("no CA key here")?;
        let ca = KeyPair::try_from(&own.key()[..])?;
        let issuer = Issuer::from_ca_cert_der(own.root(), ca)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.subject_alt_names = vec![SanType::URI(id.to_owned().try_into()?)];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &issuer)?;
        let key = zeroize::Zeroizing::new(key.serialize_der());
        Ok(SvidSource::new(Svid::from_der(
            vec![leaf.der().clone()],
            key,
        )?))
    }

    /// The gateway's own identity.
    pub fn svid(&self) -> SvidSource {
        SvidSource::new(self.member.svid.clone())
    }

    /// The gateway as the author of an entry.
    pub fn author(&self) -> Author {
        Author::Gateway(self.member.node, self.member.epoch)
    }

    /// An entry that says to be `author`'s, signed with the gateway's key.
    pub fn sign(&self, author: Author, generation: u64, command: Command) -> Proposal {
        let draft = Draft {
            request: RequestId(rand::random()),
            author,
            by_order_of: None,
            generation: Generation(generation),
            command,
        };
        Proposal::sign(&self.member.signing, &draft)
    }
}

fn issue(authority: &Authority, id: &SpiffeId) -> Result<SvidSource> {
    let (key, request) = new_csr();
    let chain = authority.issue(&request, id, LIFETIME, now())?;
    let chain: Vec<CertificateDer<'static>> = chain;
    Ok(SvidSource::new(Svid::from_der(chain, key)?))
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.unwrap_or_default().as_millis();
    WallTime(u64::try_from(millis).unwrap_or(u64::MAX))
}
