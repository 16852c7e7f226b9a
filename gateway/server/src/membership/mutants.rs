//! What a gateway keeps of its membership, and is told of the others, with its bytes changed: read
//! or refused, and no panic.

use weft_mutants::Decoder;

use super::*;

fn peer(cluster: &str) -> wire::Peer {
    let domain = format!("{cluster}.fed.example.org");
    let authority = weft_identity::fixture::authority(&domain, crate::hub::wall_clock());
    let roots = authority.bundle().certificates();
    wire::Peer {
        node: 7,
        cluster: cluster.into(),
        gateway: "gw-1".into(),
        tunnel: "gw-1.example.org:7443".into(),
        api: "[2001:db8::1]:7444".into(),
        bundle: roots.map(|der| Bytes::copy_from_slice(der)).collect(),
        votes: true,
    }
}

#[test]
fn no_mutant_of_a_membership_panics() {
    let domain: FederationDomain = "fed.example.org".parse().unwrap();
    let peers = vec![peer("eu-west-1"), peer("us-east-1")];
    let record = wire::Membership {
        version: VERSION,
        domain: domain.to_string(),
        cluster: "eu-west-1".into(),
        gateway: "gw-2".into(),
        node: 9,
        signer_epoch: 1,
        chain: peers[0].bundle.clone(),
        bundle: peers[0].bundle.clone(),
        founding: Bytes::from_static(b"an entry"),
        started: true,
        peers: peers.clone(),
        ..wire::Membership::default()
    };
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let known = |peers: &[wire::Peer]| known_peers(peers, &domain).map(drop);
    let told = wire::Peers { peers };
    weft_mutants::check(&[
        Decoder::new("the other gateways", [told.encode_to_vec()], |bytes| {
            let told = wire::Peers::decode(bytes).map_err(|error| text(&error))?;
            known(&told.peers)
        }),
        Decoder::new("a membership", [record.encode_to_vec()], |bytes| {
            let record = decode(bytes)?;
            let own = TrustDomain::new(&format!("{}.{domain}", record.cluster));
            let own = own.map_err(|error| text(&error))?;
            let bundle = Bundle::new(own, record.bundle.iter().map(certificate));
            bundle.map_err(|error| text(&error))?;
            known(&record.peers)
        })
        .behind(|bytes| match wire::Membership::decode(&*bytes) {
            Ok(mut record) => {
                record.checksum = Bytes::new();
                record.checksum = checksum(&record);
                record.encode_to_vec()
            }
            Err(_) => bytes,
        }),
    ]);
}
