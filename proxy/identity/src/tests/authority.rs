//! What an authority signs, whatever it is asked for.

use std::time::Duration;

use crate::fixture::{DAY, authority, bundles, svid};
use crate::{
    Authority, Bundle, BundleError, Direction, IssueError, PeerRule, PeerVerifier, Svid, SvidError,
    new_csr,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::UnixTime;
use weft_model::{SpiffeId, WallTime};

const NOW: WallTime = WallTime(1_767_225_600_000);
const HOME: &str = "eu-west-1.fed.example.org";

fn id() -> SpiffeId {
    format!("spiffe://{HOME}/ns/shop/sa/checkout")
        .parse()
        .unwrap()
}

#[test]
fn names_usages_and_ca_flags_of_a_request_are_ignored() {
    let home = authority(HOME, NOW);
    let mut wishes = CertificateParams::new(vec!["admin.example.org".into()]).unwrap();
    wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wishes.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    wishes.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    let key = KeyPair::generate().unwrap();
    let csr = wishes.serialize_request(&key).unwrap();

    let chain = home.issue(csr.der(), &id(), DAY, NOW).unwrap();
    // `from_der` holds the leaf to every rule: one URI and no other name, no CA, usages.
    let svid = Svid::from_der(chain.clone(), key.serialize_der().into()).unwrap();
    assert_eq!(*svid.id(), id());
    let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.code_signing);
    assert_eq!(leaf.key_usage().unwrap().unwrap().value.flags, 1);
    assert!(leaf.raw_serial().len() >= 15);
}

#[test]
fn a_leaf_begins_five_minutes_ago_and_never_outlives_its_authority() {
    let home = authority(HOME, NOW);
    let svid = svid(&home, &id().to_string(), NOW);
    assert_eq!(NOW.since(svid.not_before()), Duration::from_secs(300));
    assert_eq!(svid.not_after(), NOW.after(DAY));

    let (key, csr) = new_csr();
    let long = home.issue(&csr, &id(), DAY * 1000, NOW).unwrap();
    let long = Svid::from_der(long, key).unwrap();
    assert_eq!(long.not_after(), home.not_after());

    let late = home.issue(&csr, &id(), DAY, NOW.after(DAY * 366));
    assert!(matches!(late, Err(IssueError::Expired { .. })), "{late:?}");
}

#[test]
fn ids_of_other_trust_domains_and_broken_requests_are_refused() {
    let home = authority(HOME, NOW);
    let (_, mut csr) = new_csr();
    let foreign = "spiffe://us-east-1.fed.example.org/gateway/gw-1"
        .parse()
        .unwrap();
    let refused = home.issue(&csr, &foreign, DAY, NOW);
    assert!(matches!(refused, Err(IssueError::OtherDomain { .. })));
    for broken in [&[][..], b"garbage", &csr[..csr.len() / 2]] {
        let refused = home.issue(broken, &id(), DAY, NOW);
        assert!(matches!(refused, Err(IssueError::Request(_))));
    }
    // Whoever asks must hold the key: a changed signature shows that he may not.
    let at = csr.len() - 4;
    csr[at] ^= 1;
    let refused = home.issue(&csr, &id(), DAY, NOW);
    assert!(matches!(refused, Err(IssueError::Request(_))));
}

#[test]
fn an_authority_that_is_opened_again_signs_for_the_same_bundle() {
    let home = authority(HOME, NOW);
    let again = Authority::open(
        home.trust_domain().clone(),
        home.root().clone(),
        &home.key(),
    )
    .unwrap();
    let leaf = svid(&again, &id().to_string(), NOW);
    let verifier = PeerVerifier::new(bundles(&[&home]), PeerRule::AnyWorkload);
    let now = UnixTime::since_unix_epoch(Duration::from_millis(NOW.0));
    let said = verifier.verify(&leaf.chain()[0], &[], Direction::Client, now);
    assert_eq!(said, Ok(id()));

    let other = authority(HOME, NOW);
    let mixed = Authority::open(
        home.trust_domain().clone(),
        home.root().clone(),
        &other.key(),
    );
    assert!(matches!(mixed, Err(IssueError::KeyMismatch)));
}

#[test]
fn a_leaf_without_extended_key_usage_is_an_svid() {
    // X509-SVID §4.4: the extension is optional; if it is there it is complete.
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.subject_alt_names = vec![rcgen::SanType::URI(id().to_string().try_into().unwrap())];
    let leaf = params.self_signed(&key).unwrap();
    let svid = Svid::from_der(vec![leaf.der().clone()], key.serialize_der().into());
    assert_eq!(*svid.unwrap().id(), id());
}

#[test]
fn an_svid_needs_the_key_of_its_leaf() {
    let home = authority(HOME, NOW);
    let good = svid(&home, &id().to_string(), NOW);
    let (other_key, _) = new_csr();
    let chain = good.chain().to_vec();
    assert_eq!(
        Svid::from_der(chain.clone(), other_key).unwrap_err(),
        SvidError::Key
    );
    assert_eq!(
        Svid::from_der(chain, b"no key".to_vec().into()).unwrap_err(),
        SvidError::Key
    );
    assert_eq!(
        Svid::from_der(vec![], good.key().clone()).unwrap_err(),
        SvidError::Missing
    );
    assert!(!format!("{good:?}").contains("key"));
}

#[test]
fn a_bundle_takes_authorities_of_its_own_domain_only() {
    let home = authority(HOME, NOW);
    let leaf = svid(&home, &id().to_string(), NOW);
    let other = authority("us-east-1.fed.example.org", NOW);
    let bundle = |der: &[u8]| Bundle::new(HOME.parse().unwrap(), [der.to_vec().into()]);
    assert!(bundle(home.root()).is_ok());
    assert!(matches!(
        bundle(other.root()),
        Err(BundleError::OtherDomain { at: 1, .. })
    ));
    assert!(matches!(
        bundle(&leaf.chain()[0]),
        Err(BundleError::NotAuthority { .. })
    ));
    assert!(matches!(
        bundle(b"garbage"),
        Err(BundleError::Malformed { .. })
    ));
}

#[test]
fn the_hash_of_a_bundle_does_not_depend_on_order_or_repetition() {
    let roots: Vec<_> = (0..3)
        .map(|_| authority(HOME, NOW).root().clone())
        .collect();
    let hash = crate::bundle_hash(&roots);
    let backwards = roots.iter().rev().chain(&roots[..1]);
    assert_eq!(crate::bundle_hash(backwards), hash);
    assert_ne!(crate::bundle_hash(&roots[1..]), hash);
}
