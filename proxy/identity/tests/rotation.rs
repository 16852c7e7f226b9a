//! Rotation, pinning and what a configuration does not do.

mod support;

use std::time::Duration;

use support::{Failed, NOW, pair};
use weft_identity::fixture::{authority, bundles, svid};
use weft_identity::{
    Bundles, ClientAuth, PeerRule, Reason, SvidSource, client_config, client_config_pinned,
    peer_id, refusal, server_config,
};

const HOME: &str = "eu-west-1.fed.example.org";
const ALPN: &[&[u8]] = &[b"weft-test"];

fn id(gateway: &str) -> String {
    format!("spiffe://{HOME}/gateway/{gateway}")
}

#[test]
fn a_replaced_svid_counts_from_the_next_handshake_and_cuts_nothing() {
    let home = authority(HOME, NOW);
    let trust = bundles(&[&home]);
    let server_side = SvidSource::new(svid(&home, &id("old"), NOW));
    let client_side = SvidSource::new(svid(&home, &id("peer"), NOW));
    let server = server_config(
        &server_side,
        &trust,
        ClientAuth::Required(PeerRule::Gateway),
        ALPN,
    );
    let client = client_config(&client_side, &trust, PeerRule::Gateway, ALPN);

    let mut before = pair(&client, &server).handshake().unwrap();
    server_side.replace(svid(&home, &id("new"), NOW));
    let mut after = pair(&client, &server).handshake().unwrap();

    let seen = |p: &support::Pair| peer_id(p.client.peer_certificates().unwrap()).unwrap();
    assert_eq!(seen(&before).to_string(), id("old"));
    assert_eq!(seen(&after).to_string(), id("new"));
    before.say(b"still here");
    after.say(b"here too");
}

#[test]
fn a_removed_bundle_refuses_the_next_handshake() {
    let home = authority(HOME, NOW);
    let (mine, trust) = (bundles(&[&home]), bundles(&[&home]));
    let source = SvidSource::new(svid(&home, &id("gw-1"), NOW));
    let server = server_config(
        &source,
        &trust,
        ClientAuth::Required(PeerRule::Gateway),
        ALPN,
    );
    let client = client_config(&source, &mine, PeerRule::Gateway, ALPN);
    pair(&client, &server).handshake().unwrap();

    trust.replace(Bundles::default());
    match pair(&client, &server).handshake().map(|_| ()) {
        Err(Failed::Server(error)) => {
            assert_eq!(refusal(&error).unwrap().reason(), Reason::Bundle);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_session_is_ever_resumed() {
    let home = authority(HOME, NOW);
    let trust = bundles(&[&home]);
    let source = SvidSource::new(svid(&home, &id("gw-1"), NOW));
    let server = server_config(
        &source,
        &trust,
        ClientAuth::Required(PeerRule::Gateway),
        ALPN,
    );
    let client = client_config(&source, &trust, PeerRule::Gateway, ALPN);
    for _ in 0..3 {
        let pair = pair(&client, &server).handshake().unwrap();
        assert_eq!(
            pair.server.handshake_kind(),
            Some(rustls::HandshakeKind::Full)
        );
        assert_eq!(pair.server.server_name(), None);
        assert_eq!(pair.server.alpn_protocol(), Some(ALPN[0]));
        assert_eq!(
            pair.client.protocol_version(),
            Some(rustls::ProtocolVersion::TLSv1_3)
        );
    }
    assert_eq!(server.max_early_data_size, 0);
}

#[test]
fn a_pin_admits_the_gateway_of_that_bundle_only() {
    let home = authority(HOME, NOW);
    let impostor = authority(HOME, NOW);
    let join = |by: &weft_identity::Authority, who: &str| {
        let source = SvidSource::new(svid(by, who, NOW));
        let auth = ClientAuth::Optional(PeerRule::AnyKnown);
        let server = server_config(&source, &bundles(&[by]), auth, ALPN);
        let client = client_config_pinned(home.bundle().hash(), ALPN);
        match pair(&client, &server).handshake() {
            Ok(pair) => Ok(pair.server.peer_certificates().is_none()),
            Err(Failed::Client(error)) => Err(refusal(&error).map(|refusal| refusal.reason())),
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(join(&home, &id("gw-1")), Ok(true));
    assert_eq!(join(&impostor, &id("gw-1")), Err(Some(Reason::Pin)));
    let workload = format!("spiffe://{HOME}/ns/shop/sa/checkout");
    assert_eq!(join(&home, &workload), Err(Some(Reason::NotAdmitted)));
}

#[test]
fn renewal_falls_between_four_tenths_and_half_of_the_life() {
    let svid = svid(&authority(HOME, NOW), &id("gw-1"), NOW);
    let life = svid.not_after().since(svid.not_before());
    for seed in 0..1000 {
        let at = svid.renew_at(seed).since(svid.not_before());
        assert!(at <= life / 2 && at >= life * 4 / 10 - Duration::from_millis(1));
        assert_eq!(svid.renew_at(seed), svid.renew_at(seed));
    }
    assert_ne!(svid.renew_at(1), svid.renew_at(2));
}
