//! What a peer says in tunnels with its bytes changed: read or refused, nothing panics, and its
//! connection goes on.

use std::time::Instant;

use bytes::Bytes;
use prost::Message;
use quinn::Connection;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use tokio::sync::mpsc;
use weft_identity::SigningKey;
use weft_model::WallTime;
use weft_mutants::{Decoder, mutate, seeds};
use weft_proto::peer::stream_header::Kind;
use weft_proto::peer::{
    CatalogStream, RaftBatch, RaftMessage, RaftStream, RelayStream, RpcStream, StreamHeader,
};

use super::*;
use crate::testing::{PATIENCE, World, pair, within};
use crate::tunnel::through::ticket::{self, Ticket};
use crate::tunnel::{IncomingStream, Question, RaftReceiver};

/// Streams that are open at once.
const AT_ONCE: u64 = 8;

#[test]
fn no_mutant_of_a_hello_or_a_ticket_panics() {
    let said = Hello {
        node: NodeId(7),
        gateway: "gw-1".parse().unwrap(),
        incarnation: 99,
        purpose: Purpose::Data,
        worker: 3,
    };
    let ticket = Ticket {
        from: NodeId(1),
        via: NodeId(3),
        to: NodeId(2),
        nonce: [7; 16],
        issued: WallTime(1_000_000),
    };
    let key = SigningKey::from_seed([1; 32]);
    let through = ticket.sign(&key);
    weft_mutants::check(&[
        Decoder::new("a hello", [hello::written(&said)], hello::parsed),
        Decoder::new("a ticket", [through.encode_to_vec()], |bytes| {
            let header =
                Message::decode(bytes).map_err(|error: prost::DecodeError| error.to_string())?;
            let read = ticket::read(&header).ok_or("no ticket")?;
            let _ = (
                read.is_fresh(WallTime(0)),
                read.is_fresh(WallTime(u64::MAX)),
            );
            Ok::<_, String>(read)
        }),
    ]);
}

/// A stream's header, and what follows it.
fn streams() -> Vec<Vec<u8>> {
    let header = |kind: Kind| {
        let body = StreamHeader { kind: Some(kind) }.encode_to_vec();
        [&u16::try_from(body.len()).unwrap().to_be_bytes(), &body[..]].concat()
    };
    let frame = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
    let batch = RaftBatch {
        messages: (1..5)
            .map(|index| RaftMessage {
                index,
                term: 3,
                context: Bytes::from_static(b"a read"),
                ..RaftMessage::default()
            })
            .collect(),
    };
    let raft = frame(&batch.encode_to_vec());
    let rpc = RpcStream {
        method: "echo".into(),
    };
    let relay = RelayStream {
        port: 80,
        ..RelayStream::default()
    };
    let key = SigningKey::from_seed([1; 32]);
    let through = Ticket {
        from: NodeId(1),
        via: NodeId(2),
        to: NodeId(3),
        nonce: [7; 16],
        issued: crate::hub::wall_clock(),
    };
    vec![
        [header(Kind::Raft(RaftStream {})), raft.clone(), raft].concat(),
        [header(Kind::Rpc(rpc)), frame(b"a question")].concat(),
        [header(Kind::Catalog(CatalogStream {})), frame(b"a frame")].concat(),
        header(Kind::Relay(relay)),
        header(Kind::Through(through.sign(&key))),
    ]
}

/// Reads what arrives as a gateway does, for as long as there is somebody to say it.
async fn read(mut incoming: mpsc::Receiver<IncomingStream>) -> (u64, u64) {
    let (mut read, mut refused) = (0, 0);
    while let Some(stream) = incoming.recv().await {
        let said = match &stream.header.kind {
            Some(Kind::Raft(_)) => {
                let mut receiver = RaftReceiver::new(stream).unwrap();
                loop {
                    match receiver.next().await {
                        Ok(Some(_)) => {}
                        Ok(None) => break true,
                        Err(_) => break false,
                    }
                }
            }
            _ => match Question::read(stream).await {
                Ok(Some(question)) if question.method == "enough" => break,
                said => said.is_ok(),
            },
        };
        match said {
            true => read += 1,
            false => refused += 1,
        }
    }
    (read, refused)
}

async fn say(control: &Connection, bytes: &[u8], two_ways: bool) {
    if two_ways {
        let (mut send, mut recv) = control.open_bi().await.unwrap();
        // Refused at any byte.
        let _ = send.write_all(bytes).await;
        let _ = send.finish();
        let _ = within("an end", recv.read_to_end(1 << 20)).await;
    } else {
        let mut send = control.open_uni().await.unwrap();
        let _ = send.write_all(bytes).await;
        let _ = send.finish();
        let _ = within("an end", send.stopped()).await;
    }
}

#[tokio::test]
async fn no_mutant_of_a_stream_harms_its_connection() {
    let world = World::new();
    let (a, b) = pair(&world, 1).await;
    let (tls, said) = (tls(&a), hello(&a, Purpose::Control, 0));
    let dialled = within("a connection", dial(&a, &tls, &b, &said)).await;
    let (control, _) = dialled.unwrap();
    let (to, incoming) = (b.node(), b.incoming);
    let reader = tokio::spawn(read(incoming));
    let streams = streams();
    // Each of them is a stream of its own: more than this takes hours.
    let all = 0..seeds(1_500).end.min(200_000);
    for first in all.clone().step_by(AT_ONCE as usize) {
        let mutant = |seed| {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut bytes = streams.choose(&mut rng).unwrap().clone();
            let other = streams.choose(&mut rng).unwrap();
            mutate(&mut rng, &mut bytes, other);
            (bytes, seed % 3 > 0)
        };
        let seeds = first..(first + AT_ONCE).min(all.end);
        let mutants: Vec<_> = seeds.map(mutant).collect();
        let said = mutants
            .iter()
            .map(|(bytes, two_ways)| say(&control, bytes, *two_ways));
        futures_util::future::join_all(said).await;
        assert_eq!(control.close_reason(), None, "seeds from {first}");
    }
    drop(control);
    let deadline = Instant::now() + PATIENCE;
    let _ = a.tunnels.call(to, "enough", Bytes::new(), deadline).await;
    let (read, refused) = within("the reader", reader).await.unwrap();
    println!("streams: {read} read, {refused} refused");
    assert!(read > 20 && refused > 20, "{read} read, {refused} refused");
}
