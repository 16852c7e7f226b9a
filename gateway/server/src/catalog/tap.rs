//! Tells a sidecar which requests to show.

use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::Status;
use weft_proto::catalog as wire;

use super::handle::Inner;
use super::session::{Down, send};
use crate::observe::REPEAT;

/// Tells of taps when they are opened, and again while they last.
pub(super) async fn tell(inner: &Inner, down: &mpsc::Sender<Down>) -> Result<(), Status> {
    let taps = inner.observatory.taps();
    let mut opened = taps.opened();
    loop {
        opened.mark_unchanged();
        let orders = taps.orders();
        let any = !orders.is_empty();
        for order in orders {
            send(down, 0, wire::downstream::Frame::Tap(order)).await?;
        }
        tokio::select! {
            changed = opened.changed() => if changed.is_err() { return Ok(()) },
            () = sleep(REPEAT), if any => {}
        }
    }
}
