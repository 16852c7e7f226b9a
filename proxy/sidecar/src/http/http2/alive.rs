//! Finding out that a peer is gone which left without a word.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

use crate::http::limits::{PING_INTERVAL, PING_TIMEOUT};

/// Asks the peer of one connection for a sign of life, again and again.
pub(super) struct Alive {
    ping: PingPong,
    state: State,
    timer: Pin<Box<Sleep>>,
}

enum State {
    /// There is no reason to ask.
    Resting,
    /// The next question comes with the timer.
    Watching,
    /// The answer must come before the timer.
    Asked,
}

impl Alive {
    /// None: somebody else asks on this connection already.
    pub(super) fn new(ping: Option<PingPong>) -> Option<Self> {
        Some(Self {
            ping: ping?,
            state: State::Resting,
            timer: Box::pin(sleep(PING_INTERVAL)),
        })
    }

    /// Ready once the peer owes an answer for too long. Asks while the connection is in
    /// use alone.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>, is_used: bool) -> Poll<()> {
        loop {
            match self.state {
                State::Resting if !is_used => return Poll::Pending,
                State::Resting => {
                    self.timer.as_mut().reset(Instant::now() + PING_INTERVAL);
                    self.state = State::Watching;
                }
                State::Watching => {
                    ready!(self.timer.as_mut().poll(cx));
                    if !is_used || self.ping.send_ping(Ping::opaque()).is_err() {
                        self.state = State::Resting;
                        return Poll::Pending;
                    }
                    self.timer.as_mut().reset(Instant::now() + PING_TIMEOUT);
                    self.state = State::Asked;
                }
                State::Asked => match self.ping.poll_pong(cx) {
                    Poll::Ready(Ok(_)) => self.state = State::Resting,
                    // The connection says itself how it ended.
                    Poll::Ready(Err(_)) => return Poll::Pending,
                    Poll::Pending => return self.timer.as_mut().poll(cx),
                },
            }
        }
    }
}
