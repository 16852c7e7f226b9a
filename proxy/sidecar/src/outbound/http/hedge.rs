//! Asking a second time while the first answer is still due.
//!
//! When the connection that an answer should come by gives no sign of life, the request
//! is sent once more by another one, if repeating it does no harm and the retry budget
//! has room. Who answers first is believed, the other is cancelled. The first is not
//! given up before: the silence may be an accident.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use http::Response;
use weft_decide::Reason;

use super::request::{Outgoing, Unanswered};
use crate::http::{Incoming, Interim};
use crate::outbound::attempts::Attempts;
use crate::outbound::flight::Flight;
use crate::outbound::{Chosen, Shared, blame};
use crate::pool::Place;

/// Whose answer it is.
pub(super) enum Raced {
    First(Result<Response<Incoming>, Unanswered>),
    Second(Won),
}

/// The answer to the second request, and what goes with it.
pub(super) struct Won {
    pub(super) flight: Flight,
    pub(super) place: Place,
    pub(super) response: Response<Incoming>,
}

/// Waits for `first`; once its connection is `lost`, for `second` beside it, which is
/// made then only: hardly any request has one.
pub(super) async fn race<'a>(
    mut first: Pin<&mut impl Future<Output = Result<Response<Incoming>, Unanswered>>>,
    lost: impl Future<Output = ()>,
    second: impl FnOnce() -> LocalBoxFuture<'a, Option<Won>>,
) -> Raced {
    tokio::select! {
        biased;
        answer = first.as_mut() => return Raced::First(answer),
        () = lost => {}
    }
    let mut second = second();
    tokio::select! {
        biased;
        answer = first.as_mut() => match answer {
            Ok(_) => Raced::First(answer),
            // It broke: what goes on already is quicker than what would follow.
            Err(_) => second.await.map_or(Raced::First(answer), Raced::Second),
        },
        won = &mut second => match won {
            Some(won) => Raced::Second(won),
            None => Raced::First(first.await),
        },
    }
}

impl Shared {
    /// Sends a copy of `outgoing`, which is under way as `first`, to another endpoint or by
    /// another connection. None: it must not be repeated, the budget is spent, or nobody
    /// answered.
    pub(super) async fn elsewhere(
        self: &Rc<Self>,
        outgoing: Option<&Outgoing>,
        chosen: &Chosen,
        first: &Flight,
        limit: Option<Duration>,
        interim: &Interim,
    ) -> Option<Won> {
        let mut outgoing = outgoing?.again()?;
        if !self.may_retry(chosen.service.key()) {
            return None;
        }
        self.recorder.hedged();
        let mut chosen = chosen.clone();
        let mut attempts = Attempts::new(0);
        attempts.cut(self, first, Reason::UpstreamReset);
        loop {
            let view = attempts.next(self, &mut chosen).ok()?;
            let flight = Flight::start(self, &chosen, view).after(&attempts);
            let lease = match self.lease(&chosen, &flight, attempts.cut_at()).await {
                Ok(lease) => lease,
                Err(reason) => {
                    attempts.unreached(&flight, reason);
                    flight.end(blame(reason));
                    continue;
                }
            };
            let request = outgoing.take(&lease.target);
            match self.start(&lease, request, &outgoing, limit, interim).await {
                Ok(response) => {
                    return Some(Won {
                        flight,
                        place: lease.place,
                        response,
                    });
                }
                Err(unanswered) => {
                    let reason = outgoing.take_back(unanswered);
                    attempts.cut(self, &flight, reason);
                    flight.end(blame(reason));
                    if !outgoing.is_whole() {
                        return None;
                    }
                }
            }
        }
    }
}
