//! Interim answers (1xx) on their way to the client (RFC 9110 §15.2).
//!
//! ```text
//! whoever asks the next hop ─> Interim ─┬─ Line ──> the client's HTTP/1.1 connection, when it flushes
//!                                       └─ Heads ─> the client's HTTP/2 stream, after each poll
//! ```
//!
//! hyper's HTTP/1 server has no way to send one. It flushes its connection only when
//! nothing of its own waits to be written, and answers one request at a time: so what is
//! written inside a flush, before the answer was handed to hyper, stands between two
//! messages. [`super::Strict`] does so, and the answer waits for it ([`Line::poll_sent`]).

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode, Version};

use super::{sanitize_response, strip_hop_by_hop};

/// Interim answers to one request; more is a fault of whoever sends them. Higher: an app
/// may say more, and one that never ends says it longer.
const COUNT_MAX: usize = 64;
/// What all of them may take in memory, bytes: as much as one head.
const SIZE_MAX: usize = 60 << 10;
/// Counted for each field beside its name and value, as HPACK does (RFC 7541 §4.1).
const FIELD: usize = 32;

/// Where the interim answers to one request go.
pub(crate) struct Interim {
    way: Way,
    count: Cell<usize>,
    size: Cell<usize>,
}

enum Way {
    /// The client could not take them for what they are.
    Nowhere,
    Http1(Rc<Line>),
    Http2(Rc<Heads>),
}

/// An interim answer that must not be sent on; the exchange fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InterimError {
    #[error("more than {COUNT_MAX} interim answers, or {SIZE_MAX} bytes of them")]
    Excess,
    #[error("a change of protocol that nobody asked for")]
    Switch,
}

/// Interim answers of an HTTP/2 connection: those to the one stream whose answer is being
/// polled right now. Whoever polls takes them before another one is.
pub(super) type Heads = RefCell<Vec<Response<()>>>;

impl Interim {
    fn new(way: Way) -> Self {
        Self {
            way,
            count: Cell::new(0),
            size: Cell::new(0),
        }
    }

    /// For a request of `version` on an HTTP/1 connection. HTTP/1.0 knows none, and
    /// its clients take one for the answer.
    pub(super) fn http1(line: &Rc<Line>, version: Version) -> Self {
        Self::new(match version {
            Version::HTTP_11 => Way::Http1(Rc::clone(line)),
            _ => Way::Nowhere,
        })
    }

    pub(super) fn http2(heads: &Rc<Heads>) -> Self {
        Self::new(Way::Http2(Rc::clone(heads)))
    }

    /// Sends `answer` on, without what belongs to the hop it came by. 100 ends here: it is
    /// this hop that was asked to continue, and that says so.
    pub(crate) fn pass(&self, mut answer: Response<()>) -> Result<(), InterimError> {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(InterimError::Switch);
        }
        self.count.set(self.count.get() + 1);
        self.size.set(self.size.get() + size(answer.headers()));
        if self.count.get() > COUNT_MAX || self.size.get() > SIZE_MAX {
            return Err(InterimError::Excess);
        }
        if answer.status() == StatusCode::CONTINUE {
            return Ok(());
        }
        let headers = answer.headers_mut();
        strip_hop_by_hop(headers);
        sanitize_response(headers);
        // RFC 9110 §8.6: not in an answer without content.
        headers.remove(CONTENT_LENGTH);
        match &self.way {
            Way::Nowhere => {}
            Way::Http1(line) => line.put(&answer),
            Way::Http2(heads) => heads.borrow_mut().push(answer),
        }
        Ok(())
    }
}

fn size(headers: &HeaderMap) -> usize {
    let fields = headers.iter();
    let sizes = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    FIELD + sizes.sum::<usize>()
}

/// Interim answers that wait to be written on an HTTP/1.1 connection.
#[derive(Default)]
pub(crate) struct Line {
    bytes: RefCell<Vec<u8>>,
    written: Cell<usize>,
    waiting: Cell<Option<Waker>>,
}

impl Line {
    fn put(&self, answer: &Response<()>) {
        let mut bytes = self.bytes.borrow_mut();
        let (status, headers) = (answer.status(), answer.headers());
        let reason = status.canonical_reason().unwrap_or_default();
        bytes.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
        for (name, value) in headers {
            let name = name.as_str().as_bytes();
            for piece in [name, b": ", value.as_bytes(), b"\r\n"] {
                bytes.extend_from_slice(piece);
            }
        }
        bytes.extend_from_slice(b"\r\n");
    }

    fn is_empty(&self) -> bool {
        self.bytes.borrow().is_empty()
    }

    /// Ready once all was written.
    pub(super) fn poll_sent(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_empty() {
            return Poll::Ready(());
        }
        self.waiting.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Writes all that waits by `write`, which says how much it took.
    pub(super) fn poll_write(
        &self,
        mut write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        if self.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut bytes = self.bytes.borrow_mut();
        while self.written.get() < bytes.len() {
            match ready!(write(&bytes[self.written.get()..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written.set(self.written.get() + count),
            }
        }
        *bytes = Vec::new();
        self.written.set(0);
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(fields: &[(&'static str, &str)]) -> Response<()> {
        let mut answer = Response::builder().status(103);
        for (name, value) in fields {
            answer = answer.header(*name, *value);
        }
        answer.body(()).unwrap()
    }

    fn written(line: &Line) -> String {
        let mut all = Vec::new();
        let taken = line.poll_write(|bytes| {
            let some = bytes.len().min(7);
            all.extend_from_slice(&bytes[..some]);
            Poll::Ready(Ok(some))
        });
        assert!(matches!(taken, Poll::Ready(Ok(()))));
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn what_belongs_to_one_hop_and_what_only_we_may_say_goes() {
        let line = Rc::default();
        let interim = Interim::http1(&line, Version::HTTP_11);
        let fields = [
            ("link", "</a>; rel=preload"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("x-weft-reason", "no_route"),
        ];
        interim.pass(hints(&fields)).unwrap();
        let expect = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n";
        assert_eq!(written(&line), expect);
        assert_eq!(written(&line), "");
    }

    #[test]
    fn nothing_is_said_to_http_1_0_nor_twice_of_100() {
        let line = Rc::default();
        Interim::http1(&line, Version::HTTP_10)
            .pass(hints(&[]))
            .unwrap();
        let mut proceed = Response::new(());
        *proceed.status_mut() = StatusCode::CONTINUE;
        let interim = Interim::http1(&line, Version::HTTP_11);
        interim.pass(proceed).unwrap();
        assert!(line.is_empty());
        let mut switch = Response::new(());
        *switch.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        assert_eq!(interim.pass(switch), Err(InterimError::Switch));
    }

    #[test]
    fn endless_ones_are_an_excess_by_number_and_by_size() {
        let passes = |value: &str| {
            let heads = Rc::default();
            let interim = Interim::http2(&heads);
            let passed = |_: &usize| interim.pass(hints(&[("link", value)])).is_ok();
            let count = (0..1000).take_while(passed).count();
            assert_eq!(heads.borrow().len(), count);
            count
        };
        assert_eq!(passes("a"), COUNT_MAX);
        assert_eq!(passes(&"a".repeat(20_000)), 3);
    }

    #[test]
    fn an_answer_waits_until_the_line_is_written() {
        let line = Rc::<Line>::default();
        let cx = Context::from_waker(Waker::noop());
        assert!(line.poll_sent(&cx).is_ready());
        let interim = Interim::http1(&line, Version::HTTP_11);
        interim.pass(hints(&[])).unwrap();
        assert!(line.poll_sent(&cx).is_pending());
        let full = line.poll_write(|_| Poll::Pending);
        assert!(full.is_pending() && line.poll_sent(&cx).is_pending());
        written(&line);
        assert!(line.poll_sent(&cx).is_ready());
    }
}
