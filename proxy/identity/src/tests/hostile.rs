//! Every hostile certificate is refused, for the expected reason, in a plain call
//! and by both sides of real handshakes; the positive control is accepted by all three.

use std::collections::BTreeSet;

use super::handshake::{Failed, NOW, pair, unix};
use crate::fixture::{Corpus, hostile};
use crate::{
    ClientAuth, Direction, PeerRule, PeerVerifier, Reason, SvidSource, client_config, peer_id,
    refusal, server_config,
};

const ALPN: &[&[u8]] = &[b"weft-test"];

fn reason(error: &rustls::Error) -> Result<Reason, String> {
    refusal(error)
        .map(|refusal| refusal.reason())
        .ok_or_else(|| error.to_string())
}

/// What the client says of a server that presents `peer`.
fn as_server(corpus: &Corpus, peer: &SvidSource) -> Result<(), Failed> {
    let me = SvidSource::new(corpus.good.clone());
    let client = client_config(&me, &corpus.bundles, corpus.rule.clone(), ALPN);
    let server = server_config(
        peer,
        &corpus.bundles,
        ClientAuth::Required(PeerRule::AnyKnown),
        ALPN,
    );
    pair(&client, &server).handshake().map(|_| ())
}

/// What the server says of a client that presents `peer`.
fn as_client(corpus: &Corpus, peer: &SvidSource, auth: ClientAuth) -> Result<(), Failed> {
    let me = SvidSource::new(corpus.good.clone());
    let client = client_config(peer, &corpus.bundles, PeerRule::AnyKnown, ALPN);
    let server = server_config(&me, &corpus.bundles, auth, ALPN);
    pair(&client, &server).handshake().map(|_| ())
}

#[test]
fn the_corpus_is_large_and_each_name_unique() {
    let corpus = hostile(NOW);
    let names: BTreeSet<_> = corpus.hostile.iter().map(|h| h.name).collect();
    assert_eq!(names.len(), corpus.hostile.len());
    assert!(names.len() >= 82, "{}", names.len());
}

#[test]
fn the_positive_control_is_accepted_everywhere() {
    let corpus = hostile(NOW);
    let good = SvidSource::new(corpus.good.clone());
    let verifier = PeerVerifier::new(corpus.bundles.clone(), corpus.rule.clone());
    for direction in [Direction::Client, Direction::Server] {
        let id = verifier.verify(&corpus.good.chain()[0], &[], direction, unix(NOW));
        assert_eq!(id.as_ref(), Ok(corpus.good.id()));
    }
    assert_eq!(peer_id(corpus.good.chain()).as_ref(), Ok(corpus.good.id()));
    as_server(&corpus, &good).unwrap();
    as_client(&corpus, &good, ClientAuth::Required(corpus.rule.clone())).unwrap();
    as_client(&corpus, &good, ClientAuth::Optional(corpus.rule.clone())).unwrap();
}

#[test]
fn a_plain_call_refuses_each() {
    let corpus = hostile(NOW);
    let verifier = PeerVerifier::new(corpus.bundles.clone(), corpus.rule.clone());
    let mut wrong = Vec::new();
    for peer in &corpus.hostile {
        for direction in [Direction::Client, Direction::Server] {
            let said = verifier.verify(&peer.chain[0], &peer.chain[1..], direction, unix(NOW));
            if said.as_ref().err().map(|refusal| refusal.reason()) != Some(peer.expect) {
                wrong.push(format!("{} ({direction:?}): {said:?}", peer.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_client_refuses_each_server() {
    let corpus = hostile(NOW);
    let mut wrong = Vec::new();
    for peer in &corpus.hostile {
        let said = match as_server(&corpus, &peer.source()) {
            Err(Failed::Client(error)) => reason(&error),
            other => Err(format!("{other:?}")),
        };
        if said != Ok(peer.expect) {
            wrong.push(format!("{}: {said:?}", peer.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_server_refuses_each_client_even_where_none_is_needed() {
    let corpus = hostile(NOW);
    let mut wrong = Vec::new();
    for peer in &corpus.hostile {
        for auth in [ClientAuth::Required, ClientAuth::Optional] {
            let said = match as_client(&corpus, &peer.source(), auth(corpus.rule.clone())) {
                Err(Failed::Server(error)) => reason(&error),
                other => Err(format!("{other:?}")),
            };
            if said != Ok(peer.expect) {
                wrong.push(format!("{}: {said:?}", peer.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
