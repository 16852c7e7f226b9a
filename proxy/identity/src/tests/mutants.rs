//! What peers, joiners and workloads hand in to prove who they are, changed: read or refused, and
//! no panic. A certificate's signature is checked after it is read, so both are tried.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use weft_model::{HostPort, SpiffeId, WallTime};
use weft_mutants::Decoder;

use crate::armor::{Writer, disarm};
use crate::fixture::{DAY, authority, bundles, domain, svid};
use crate::{
    Authority, Bundle, Direction, EnrolmentClaims, EnrolmentToken, JoinToken, PeerRule,
    PeerVerifier, SigningKey, Svid, enrolment, new_csr, peer_id, token,
};

const NOW: WallTime = WallTime(1_800_000_000_000);

fn addresses() -> Vec<HostPort> {
    ["gw.example.org:7444", "[2001:db8::1]:7444"]
        .map(|it| it.parse().unwrap())
        .to_vec()
}

fn join_token() -> String {
    let [cluster, region] = ["eu-west-1", "eu-west"];
    let (cluster, region) = (cluster.parse().unwrap(), region.parse().unwrap());
    let federation = "fed.example.org".parse().unwrap();
    let token = JoinToken::new(cluster, region, federation, [9; 32], addresses());
    token.expose().unwrap().to_string()
}

fn enrolment_token() -> String {
    let claims = EnrolmentClaims {
        trust_domain: domain("eu-west-1.fed.example.org"),
        namespace: "shop".parse().unwrap(),
        account: "checkout".parse().unwrap(),
        expires: NOW,
        bundle_hash: [9; 32],
        addresses: addresses(),
        signer: "gw-1".parse().unwrap(),
    };
    let token = EnrolmentToken::sign(claims, &SigningKey::from_seed([3; 32])).unwrap();
    token.expose().unwrap().to_string()
}

/// The fields of a token, without prefix and checksum.
fn bare(prefix: &'static str, text: &str) -> Vec<u8> {
    disarm(prefix, text).unwrap().to_vec()
}

fn armored(prefix: &'static str, fields: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(fields);
    writer.armor(prefix).into_bytes()
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|error| error.to_string())
}

fn join(bytes: &[u8]) -> Result<JoinToken, String> {
    text(bytes)?.parse().map_err(|error| format!("{error}"))
}

fn enrol(bytes: &[u8]) -> Result<EnrolmentToken, String> {
    text(bytes)?.parse().map_err(|error| format!("{error}"))
}

#[test]
fn no_mutant_of_a_token_panics() {
    let (of_join, of_enrolment) = (join_token(), enrolment_token());
    weft_mutants::check(&[
        Decoder::new(
            "a join token's fields",
            [bare(token::PREFIX, &of_join)],
            join,
        )
        .behind(|fields| armored(token::PREFIX, &fields)),
        Decoder::new("a join token's text", [of_join], join).refuses_all(),
        Decoder::new(
            "an enrolment token's fields",
            [bare(enrolment::PREFIX, &of_enrolment)],
            enrol,
        )
        .behind(|fields| armored(enrolment::PREFIX, &fields)),
        Decoder::new("an enrolment token's text", [of_enrolment], enrol).refuses_all(),
    ]);
}

#[test]
fn no_mutant_of_a_certificate_or_request_panics() {
    let ca: Authority = authority("eu-west-1.fed.example.org", NOW);
    let id = "spiffe://eu-west-1.fed.example.org/ns/shop/sa/checkout";
    let svid: Svid = svid(&ca, id, NOW);
    let id: SpiffeId = id.parse().unwrap();
    let leaf = || [svid.chain()[0].to_vec()];
    let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
    let verifier = PeerVerifier::new(bundles(&[&ca]), PeerRule::AnyWorkload);
    let moment = UnixTime::since_unix_epoch(Duration::from_millis(NOW.0));
    weft_mutants::check(&[
        Decoder::new("a peer's certificate", leaf(), |bytes| {
            peer_id(&[der(bytes)])
        }),
        Decoder::new("a peer's certificate in a handshake", leaf(), |bytes| {
            verifier.verify(&der(bytes), &[], Direction::Client, moment)
        })
        .refuses_all(),
        Decoder::new(
            "a peer's second certificate",
            [ca.root().to_vec()],
            |bytes| verifier.verify(&svid.chain()[0], &[der(bytes)], Direction::Client, moment),
        )
        .reads_all(),
        Decoder::new("a CA's certificate", [ca.root().to_vec()], |bytes| {
            Bundle::new(ca.trust_domain().clone(), [der(bytes)])
        }),
        Decoder::new("a signing request", [new_csr().1], |bytes| {
            ca.issue(bytes, &id, DAY, NOW)
        })
        .refuses_all(),
        Decoder::new("a certificate that one is given", leaf(), |bytes| {
            Svid::from_der(vec![der(bytes)], svid.key().clone())
        }),
    ]);
}
