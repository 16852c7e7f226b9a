//! Rotation, pinning and what a configuration does not do.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use super::handshake::{Failed, NOW, pair};
use crate::fixture::{authority, bundles, svid};
use crate::{
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

    let seen = |p: &super::handshake::Pair| peer_id(p.client.peer_certificates().unwrap()).unwrap();
    assert_eq!(seen(&before).to_string(), id("old"));
    assert_eq!(seen(&after).to_string(), id("new"));
    say(&mut before, b"still here");
    say(&mut after, b"here too");
}

/// Sends `text` from client to server.
fn say(pair: &mut super::handshake::Pair, text: &[u8]) {
    pair.client.writer().write_all(text).unwrap();
    while pair.turn().unwrap() {}
    let mut heard = vec![0; text.len()];
    pair.server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(heard, text);
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
    // Not even with a client that would.
    let mut willing = rustls::ClientConfig::clone(&client);
    willing.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let willing = Arc::new(willing);
    for client in [&client, &client, &willing, &willing] {
        let pair = pair(client, &server).handshake().unwrap();
        assert_eq!(pair.client.tls13_tickets_received(), 0);
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
    let join = |by: &crate::Authority, who: &str| {
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

#[test]
fn both_configurations_have_the_suite_that_quic_begins_with() {
    // RFC 9001 §5.2: initial packets are protected with AEAD_AES_128_GCM.
    let home = authority(HOME, NOW);
    let trust = bundles(&[&home]);
    let source = SvidSource::new(svid(&home, &id("gw-1"), NOW));
    let auth = ClientAuth::Required(PeerRule::Gateway);
    let server = server_config(&source, &trust, auth, ALPN);
    let client = client_config(&source, &trust, PeerRule::Gateway, ALPN);
    for provider in [server.crypto_provider(), client.crypto_provider()] {
        let initial = provider.cipher_suites.iter().find_map(|suite| {
            let suite = suite.tls13()?;
            let wanted = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
            (suite.common.suite == wanted).then(|| suite.quic_suite())?
        });
        assert!(initial.is_some());
    }
}
