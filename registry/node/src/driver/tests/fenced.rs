//! A fence that the disk remembers.

use super::*;
use crate::disk::Mark;

/// A driver that is its group's only voter, as its disk had it.
fn alone(fenced: Option<Index>) -> Driver {
    let (_, first) =
        crate::found(&crate::node::founding_for_tests(), weft_model::WallTime(1)).unwrap();
    Driver::open(Settings::new(ME, 1), Stored { fenced, ..first }).unwrap()
}

#[test]
fn it_keeps_silent_from_its_start_on() {
    let led_after_a_while = |fenced| {
        let mut driver = alone(fenced);
        for _ in 0..100 {
            driver.handle(Input::Tick);
            settle(&mut driver);
        }
        assert_eq!(driver.fenced(), fenced);
        driver.leadership().role == Role::Leader
    };
    assert!(led_after_a_while(None));
    assert!(!led_after_a_while(Some(Index(2))));
}

/// What becomes of the fence with the batches that are to be written, by their numbers.
fn marks(driver: &mut Driver) -> Vec<(u64, Option<Mark>)> {
    let outputs = driver.take_outputs().into_iter();
    let batches = outputs.filter_map(|output| match output {
        Output::Persist(batch) => Some((batch.number, batch.fence)),
        _ => None,
    });
    batches.collect()
}

/// A leader's snapshot, five entries on.
fn hear_snapshot(driver: &mut Driver) {
    let image = driver.image().clone();
    let message = RaftMessage {
        r#type: MessageType::MsgSnapshot as u32,
        to: ME.0,
        from: 2,
        term: 3,
        snapshot: Some(RaftSnapshot {
            index: image.index.0 + 5,
            term: 2,
            conf_state: Some(wire::raft::write_conf(&image.conf)),
            data: wire::encode_image(&image),
        }),
        ..RaftMessage::default()
    };
    let from = NodeId(2);
    driver.handle(Input::Message { from, message });
}

#[test]
fn a_leaders_state_lowers_it_in_the_same_write() {
    let mut driver = driver();
    settle(&mut driver);
    driver.handle(Input::Fence { at: Index(2) });
    let raised = marks(&mut driver);
    assert_eq!(raised.len(), 1, "{raised:?}");
    driver.handle(Input::Persisted { batch: raised[0].0 });
    hear_snapshot(&mut driver);
    assert_eq!(marks(&mut driver), [], "it hears nobody");
    driver.handle(Input::Repair);
    hear_snapshot(&mut driver);
    let lowered = marks(&mut driver);
    let marked: Vec<_> = lowered.iter().filter_map(|(_, mark)| *mark).collect();
    assert_eq!(marked, [Mark::Lowered]);
    assert_eq!(driver.fenced(), Some(Index(2)), "it is not written yet");
    let batch = lowered.last().unwrap().0;
    driver.handle(Input::Persisted { batch });
    assert_eq!(driver.fenced(), None);
}

#[test]
fn a_state_that_is_about_to_be_replaced_raises_none() {
    let mut driver = driver();
    settle(&mut driver);
    hear_snapshot(&mut driver);
    assert!(!marks(&mut driver).is_empty());
    driver.handle(Input::Fence { at: Index(2) });
    assert_eq!((marks(&mut driver), driver.fenced()), (vec![], None));
}

#[test]
fn it_is_written_once_and_lowered_where_the_group_is_founded_anew() {
    let mut driver = alone(None);
    settle(&mut driver);
    for at in [2, 3] {
        driver.handle(Input::Fence { at: Index(at) });
    }
    let marked: Vec<_> = marks(&mut driver).into_iter().map(|(_, it)| it).collect();
    assert_eq!(marked, [Some(Mark::Raised(Index(2)))]);
    let (batch, _) = driver.found_anew();
    assert_eq!(batch.fence, Some(Mark::Lowered));
    let (batch, _) = alone(None).found_anew();
    assert_eq!(batch.fence, None);
}
