//! Calls and Raft messages over the control connection.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use weft_proto::peer::{RaftBatch, RaftMessage};

use crate::testing::{PATIENCE, World, pair, within};
use crate::tunnel::{
    CallError, FrameError, IncomingStream, OpenError, QUESTION_MAX, Question, RaftReceiver,
};

/// Answers calls: echoes, refuses, or stays silent, by the method.
async fn answer(mut incoming: mpsc::Receiver<IncomingStream>) {
    while let Some(stream) = incoming.recv().await {
        let question = Question::read(stream).await.unwrap().unwrap();
        match question.method.as_str() {
            "echo" => question.answer.send(question.body).await.unwrap(),
            "refuse" => question.answer.refuse("because").await.unwrap(),
            "drop" => drop(question),
            _ => std::mem::forget(question),
        }
    }
}

#[tokio::test]
async fn calls_are_answered_refused_or_end_in_time() {
    let world = World::new();
    let (a, b) = pair(&world, 1).await;
    let (from, to) = (a.tunnels.clone(), b.node());
    tokio::spawn(answer(b.incoming));
    let soon = || Instant::now() + PATIENCE;
    for size in [0, 1, 70_000, QUESTION_MAX] {
        let body = Bytes::from(vec![size as u8; size]);
        let answer = from.call(to, "echo", body.clone(), soon()).await.unwrap();
        assert!(answer == body, "{size} bytes");
    }
    let long = Bytes::from(vec![0; QUESTION_MAX + 1]);
    let long = from.call(to, "echo", long, soon()).await.unwrap_err();
    assert!(matches!(long, CallError::TooLong(_)) && long.is_unseen());
    let refused = from.call(to, "refuse", Bytes::new(), soon()).await;
    assert!(matches!(refused, Err(CallError::Refused(why)) if why == "because"));
    let dropped = from.call(to, "drop", Bytes::new(), soon()).await;
    assert!(matches!(dropped, Err(CallError::Frame(_))));
    let briefly = Instant::now() + Duration::from_millis(50);
    let silent = from.call(to, "silence", Bytes::new(), briefly).await;
    assert!(matches!(silent, Err(CallError::Deadline)));
    let unknown = from.call(weft_model::NodeId(99), "echo", Bytes::new(), soon());
    let unknown = unknown.await.unwrap_err();
    assert!(matches!(unknown, CallError::Open(OpenError::NoPath)));
    assert!(unknown.is_unseen());
}

#[tokio::test]
async fn raft_messages_arrive_in_order_and_a_slow_peer_blocks_nobody() {
    let world = World::new();
    let (a, mut b) = pair(&world, 1).await;
    let batch = |index, bytes: usize| RaftBatch {
        messages: vec![RaftMessage {
            index,
            context: vec![0; bytes].into(),
            ..RaftMessage::default()
        }],
    };
    for index in 0..100 {
        a.tunnels.send_raft(b.node(), batch(index, 10));
    }
    let stream = within("a Raft stream", b.incoming.recv()).await.unwrap();
    let mut raft = RaftReceiver::new(stream).unwrap();
    assert_eq!(raft.node, a.node());
    for index in 0..100 {
        let received = within("a batch", raft.next()).await.unwrap().unwrap();
        assert_eq!(received, batch(index, 10));
    }
    // Nobody receives: 200 MiB must neither wait nor be kept.
    for index in 100..300 {
        a.tunnels.send_raft(b.node(), batch(index, 1 << 20));
    }
    assert!(a.tunnels.metrics().raft_dropped() > 100);
    // The latest is among those that arrive, in order.
    let mut last = 99;
    while last < 299 {
        let received = within("a batch", raft.next()).await.unwrap().unwrap();
        let index = received.messages[0].index;
        assert!(index > last);
        last = index;
    }
}

#[tokio::test]
async fn a_batch_of_more_messages_than_anybody_has_to_say_is_refused_before_it_is_decoded() {
    let world = World::new();
    let (a, mut b) = pair(&world, 1).await;
    let batch = RaftBatch {
        messages: vec![RaftMessage::default(); (1 << 18) + 1],
    };
    a.tunnels.send_raft(b.node(), batch);
    let stream = within("a Raft stream", b.incoming.recv()).await.unwrap();
    let mut raft = RaftReceiver::new(stream).unwrap();
    let refused = within("a batch", raft.next()).await.unwrap_err();
    assert!(matches!(refused, FrameError::TooMany { .. }), "{refused}");
}
