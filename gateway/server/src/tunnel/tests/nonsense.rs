//! Whatever a peer sends is data: it ends in a closed connection before the
//! hello and in a refused stream after it, and nothing else is disturbed.

use std::time::Instant;

use bytes::Bytes;
use prost::Message;
use quinn::{Connection, ReadError, VarInt};
use weft_proto::peer::stream_header::Kind;
use weft_proto::peer::{CatalogStream, RaftStream, RelayStream, RpcStream, StreamHeader};

use super::{SERVER_NAME, dial, hello, tls};
use crate::testing::{Gateway, PATIENCE, World, pair, within};
use crate::tunnel::Question;
use crate::tunnel::close::Close;
use crate::tunnel::hello::Purpose;

#[tokio::test]
async fn a_hello_that_is_none_closes_the_connection() {
    let world = World::new();
    let (a, b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 1));
    b.tunnels.set_peers(vec![a.undialled()]);
    let check = async |said: &[u8], expect: Close| {
        let connection = connect(&a, &b).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(said).await.unwrap();
        send.finish().unwrap();
        let closed = within("the close", connection.closed()).await;
        assert_eq!(Close::of(&closed), Some(expect), "{said:?}");
    };
    check(&[], Close::BadHello).await;
    check(&[0], Close::BadHello).await;
    check(&[0, 9, 1], Close::BadHello).await;
    check(&[0xff; 4000], Close::BadHello).await;
    check(&[0, 3, 0xff, 0xff, 0xff], Close::BadHello).await;
    // Fields of the right type: version 9, and nothing else.
    check(&[0, 2, 0x08, 9], Close::Version).await;
    check(&[0, 2, 0x08, 1], Close::BadHello).await;
}

#[tokio::test]
async fn nothing_but_the_hello_is_taken_before_it() {
    let world = World::new();
    let (a, b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 1));
    b.tunnels.set_peers(vec![a.undialled()]);
    let connection = connect(&a, &b).await;
    let _first = connection.open_bi().await.unwrap();
    tokio::select! {
        biased;
        Ok(_) = connection.open_bi() => panic!("a second stream was allowed"),
        Ok(_) = connection.open_uni() => panic!("a one-way stream was allowed"),
        closed = within("the close", connection.closed()) => {
            assert_eq!(Close::of(&closed), Some(Close::Timeout));
        }
    }
}

#[tokio::test]
async fn streams_that_make_no_sense_are_refused_alone() {
    let world = World::new();
    let (a, mut b) = pair(&world, 1).await;
    let (tls, said) = (tls(&a), hello(&a, Purpose::Control, 0));
    let (control, _) = within("a connection", dial(&a, &tls, &b, &said))
        .await
        .unwrap();
    for header in [
        vec![0, 9, 1],
        vec![0xff; 4000],
        vec![0, 3, 0xff, 0xff, 0xff],
        vec![0, 0],
        header(Kind::Raft(RaftStream {})),
        header(Kind::Relay(RelayStream::default())),
    ] {
        let (mut send, mut recv) = control.open_bi().await.unwrap();
        let _ = send.write_all(&header).await;
        let _ = send.finish();
        let refused = within("the refusal", recv.read(&mut [0; 8])).await;
        assert!(
            matches!(refused, Err(ReadError::Reset(_))),
            "{header:?}: {refused:?}"
        );
    }
    for header in [
        vec![0, 0],
        header(Kind::Catalog(CatalogStream {})),
        header(Kind::Rpc(RpcStream::default())),
    ] {
        let mut send = control.open_uni().await.unwrap();
        send.write_all(&header).await.unwrap();
        let stopped = within("the refusal", send.stopped()).await.unwrap();
        assert_eq!(stopped, Some(VarInt::from_u32(1)), "{header:?}");
    }
    assert!(control.close_reason().is_none());
    drop(control);

    // Nothing of this reached the users of the tunnels, and they are served.
    let (from, to) = (a.tunnels.clone(), b.node());
    let deadline = Instant::now() + PATIENCE;
    let call = tokio::spawn(async move {
        from.call(to, "echo", Bytes::from_static(b"still here"), deadline)
            .await
    });
    let stream = within("the call", b.incoming.recv()).await.unwrap();
    let question = Question::read(stream).await.unwrap().unwrap();
    question.answer.send(question.body).await.unwrap();
    assert_eq!(call.await.unwrap().unwrap(), "still here");
}

/// A connection from `from` to `to`, before any hello.
async fn connect(from: &Gateway, to: &Gateway) -> Connection {
    let config = tls(from).client(&to.target.id).unwrap();
    let endpoint = &from.tunnels.shared.endpoints[0].dial;
    let address = to.address();
    let connecting = endpoint.connect_with(config, address, SERVER_NAME).unwrap();
    within("the handshake", connecting).await.unwrap()
}

fn header(kind: Kind) -> Vec<u8> {
    let body = StreamHeader { kind: Some(kind) }.encode_to_vec();
    let length = u16::try_from(body.len()).unwrap();
    [&length.to_be_bytes(), &body[..]].concat()
}
