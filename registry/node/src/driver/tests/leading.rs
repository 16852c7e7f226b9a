//! What a leader of three does: it hands over, sends its state, and goes near its writers.

use super::trio::{ONE_WAY, TICK, Trio};
use super::*;

#[test]
fn a_planned_transfer_takes_a_round_trip_and_a_half() {
    for to in 1..=3 {
        let mut trio = Trio::new();
        let (leader, to) = (trio.leader().unwrap(), NodeId(to));
        if to == leader {
            continue;
        }
        trio.write(1);
        let last = trio.drivers[&leader].status().last;
        trio.until(20, |trio| {
            let mut applied = trio.drivers.values().map(|it| it.image().index);
            applied.all(|index| index == last)
        });
        let begun = trio.now;
        trio.tell(leader, Input::Transfer { to });
        trio.until(20, |trio| {
            trio.drivers[&to].leadership().role == Role::Leader
        });
        assert!(trio.now - begun <= 3 * ONE_WAY, "{} us", trio.now - begun);
        // Half a round trip later all know.
        trio.until(20, |trio| trio.leader() == Some(to));
        assert!(trio.now - begun <= 4 * ONE_WAY, "{} us", trio.now - begun);
    }
}

/// Its log is as it should be; with every tick it says that it needs all of the state, and takes
/// what it is sent.
#[test]
fn who_always_asks_for_the_state_is_sent_it_seldom() {
    let mut trio = Trio::new();
    let leader = trio.leader().unwrap();
    let greedy = if leader == NodeId(3) {
        NodeId(2)
    } else {
        NodeId(3)
    };
    let driver = trio.drivers.get_mut(&leader).unwrap();
    let (term, last) = (driver.leadership().term, driver.status().last.0);
    let says = |kind: MessageType, index, request_snapshot| RaftMessage {
        r#type: kind as u32,
        to: leader.0,
        from: greedy.0,
        term,
        index,
        reject: request_snapshot > 0,
        request_snapshot,
        ..RaftMessage::default()
    };
    let mut sent = 0;
    for _ in 0..400 {
        let mut said = vec![
            says(MessageType::MsgHeartbeatResponse, 0, 0),
            says(MessageType::MsgAppendResponse, last, 1),
        ];
        while let Some(message) = said.pop() {
            driver.handle(Input::Message {
                from: greedy,
                message,
            });
            for output in driver.take_outputs() {
                let Output::Send(to, messages) = output else {
                    continue;
                };
                let states = messages.iter().filter(|message| {
                    to == greedy && message.r#type == MessageType::MsgSnapshot as u32
                });
                for _ in states {
                    sent += 1;
                    said.push(says(MessageType::MsgAppendResponse, last, 0));
                }
            }
        }
        driver.handle(Input::Tick);
    }
    assert_eq!(driver.leadership().role, Role::Leader);
    assert!((4..=8).contains(&sent), "{sent} times");
}

#[test]
fn the_leader_goes_where_most_writes_come_from_and_stays_there() {
    let mut trio = Trio::new();
    let first = trio.leader().unwrap();
    let writer = if first == NodeId(3) { 2 } else { 3 };
    let near = NodeId(writer.into());
    // Two of three writes are of one cluster.
    for turn in 0..300 {
        trio.write(if turn % 3 == 0 { 1 } else { writer });
        let next = trio.now + 4 * TICK;
        trio.until(8, |trio| trio.now >= next && trio.leader().is_some());
    }
    trio.until(1_200, |trio| trio.leader() == Some(near));
    let term = trio.drivers[&near].leadership().term;
    for _ in 0..10 {
        trio.write(writer);
        let next = trio.now + 200 * TICK;
        trio.until(220, |trio| trio.now >= next && trio.leader().is_some());
    }
    assert_eq!(trio.drivers[&near].leadership().term, term, "it stays");
}
