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

#[test]
fn it_is_written_once_and_lowered_where_the_group_is_founded_anew() {
    let mut driver = alone(None);
    settle(&mut driver);
    let mut written = Vec::new();
    for at in [2, 3] {
        driver.handle(Input::Fence { at: Index(at) });
        let outputs = driver.take_outputs();
        written.extend(outputs.into_iter().filter_map(|output| match output {
            Output::Persist(batch) => batch.fence,
            _ => None,
        }));
    }
    assert_eq!(written, [Mark::Raised(Index(2))]);
    let (batch, _) = driver.found_anew();
    assert_eq!(batch.fence, Some(Mark::Lowered));
    let (batch, _) = alone(None).found_anew();
    assert_eq!(batch.fence, None);
}
