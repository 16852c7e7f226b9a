//! Signs of life of one inner connection: bytes that arrive are noted, and while an
//! answer is due and none do, the far side is asked for one.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use weft_decide::{Pulse, Tick, Vital};

use crate::clock::Clock;
use crate::http::{Body, SendRequest};
use crate::inner::{InnerStream, Way, probe};

/// What is known of a connection's life, shared by all who use it.
pub(crate) struct Vitals {
    pulse: RefCell<Pulse>,
    clock: Clock,
    way: Box<dyn Way>,
}

impl Vitals {
    /// A connection that was made just now, in steps that took `rtt` each.
    pub(super) fn new(clock: Clock, rtt: Duration, way: Box<dyn Way>) -> Rc<Self> {
        Rc::new(Self {
            pulse: RefCell::new(Pulse::new(clock.now(), rtt)),
            clock,
            way,
        })
    }

    /// A request goes out on it.
    pub(crate) fn sent(&self) {
        self.pulse.borrow_mut().on_sent(self.clock.now());
    }

    /// Whether a sign of life is overdue.
    pub(super) fn is_suspect(&self) -> bool {
        self.pulse.borrow().is_suspect(self.clock.now())
    }

    /// Whether anything has arrived at `since` or later.
    pub(super) fn was_heard(&self, since: Tick) -> bool {
        self.pulse.borrow().was_heard(since)
    }

    /// Cancelled once nothing new should begin on it.
    pub(super) fn leaving(&self) -> Option<CancellationToken> {
        self.way.leaving()
    }

    /// Resolves once the connection is suspect. Meant for whoever waits for an answer
    /// on it: nobody watches a connection that owes none.
    pub(crate) async fn lost(self: &Rc<Self>, send: &SendRequest) {
        loop {
            let now = self.clock.now();
            let vital = self.pulse.borrow_mut().check(now);
            let look = match vital {
                Vital::Suspect => return self.way.doubt(),
                Vital::Alive { look } => look,
                Vital::Ask { look } => {
                    self.ask(send.clone(), now);
                    look
                }
            };
            sleep(look.since(now)).await;
        }
    }

    fn ask(self: &Rc<Self>, mut send: SendRequest, now: Tick) {
        let vitals = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let asked = send.send(probe().map(|()| Body::empty()), |_| Ok(())).await;
            // The connection's own end says the rest.
            drop(send);
            if asked.is_ok() {
                let mut pulse = vitals.pulse.borrow_mut();
                pulse.on_answer(now, vitals.clock.now());
            }
        });
    }
}

/// An inner connection that notes when something arrives.
pub(super) struct Sensed {
    inner: InnerStream,
    vitals: Rc<Vitals>,
}

impl Sensed {
    pub(super) fn new(inner: InnerStream, vitals: Rc<Vitals>) -> Self {
        Self { inner, vitals }
    }
}

impl AsyncRead for Sensed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            let Vitals { pulse, clock, .. } = &*self.vitals;
            pulse.borrow_mut().on_heard(clock.now());
        }
        polled
    }
}

impl AsyncWrite for Sensed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
