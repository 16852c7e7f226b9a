//! The leader's judgement of who is away.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use weft_model::Command;
use weft_model::fixture::{self, name};

use super::{EU, US, until, writable};
use crate::catalog::{Lead, LeaseKeeper, Propose, Renew};

#[tokio::test]
async fn the_leader_lapses_a_silent_cluster_and_returns_it() {
    let keeper = LeaseKeeper::new(name(US));
    let state = Arc::new(Mutex::new(Arc::new(fixture::federation())));
    let proposed: Arc<Mutex<Vec<Command>>> = Arc::default();
    let (read, written) = (Arc::clone(&state), Arc::clone(&proposed));
    let lead: Lead = Arc::new(move || (Some(3), Arc::clone(&read.lock().unwrap())));
    let propose: Propose = Arc::new(move |command| {
        written.lock().unwrap().push(command);
        Box::pin(async { Ok(()) })
    });
    let judged = keeper.clone();
    let judging = tokio::spawn(async move { judged.judge(lead, propose).await });
    let renewing = keeper.clone();
    let (own, ap) = (keeper.clone(), keeper.clone());
    let renew: Renew = Arc::new(move |cluster| {
        own.renewed(cluster);
        ap.renewed(name("ap-south-1"));
        Box::pin(async { Ok(()) })
    });
    let renewing = tokio::spawn(async move { renewing.renew(renew).await });
    let began = tokio::time::Instant::now();
    let first = until("a lapse", || proposed.lock().unwrap().first().cloned()).await;
    assert_eq!(first, Command::LapseLease(name(EU)));
    assert!(began.elapsed() >= Duration::from_secs(10));
    let mut log = writable();
    log.accept(log.gateway(1), Command::LapseLease(name(EU)));
    *state.lock().unwrap() = Arc::new(log.state);
    proposed.lock().unwrap().clear();
    keeper.renewed(name(EU));
    let second = until("a return", || proposed.lock().unwrap().first().cloned()).await;
    assert_eq!(second, Command::ReturnLease(name(EU)));
    judging.abort();
    renewing.abort();
}
