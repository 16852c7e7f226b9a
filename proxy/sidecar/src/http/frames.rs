//! What an HTTP/2 client may have its server do for nothing.
//!
//! Every frame costs its reader work, and some cost the sender next to none: a
//! PING wants an answer, a reset throws away what the request before it began.
//! h2 bounds what such frames make it keep; nothing bounds how often they come.
//! So the frames' heads pass through here first, and a client that sends little
//! else for long is cut off.

use std::time::Duration;

/// Follows the frames that a client sends on one connection. Knows their types,
/// flags and lengths, and no other part of HTTP/2.
#[derive(Debug)]
pub(crate) struct Frames {
    state: State,
    in_block: bool,
    budget: Budget,
}

/// The client has sent too many frames that carry nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {BURST} frames in excess that carry nothing")]
pub(crate) struct Excess;

#[derive(Debug)]
enum State {
    /// Bytes left of the client's preface (RFC 9113 §3.4).
    Preface(usize),
    Head {
        have: usize,
        bytes: [u8; HEAD],
    },
    Payload(usize),
}

/// In halves, so that a request may pay for half a reset.
#[derive(Debug)]
struct Budget {
    halves: u64,
    /// When it was last filled up.
    at: Duration,
    /// Bytes written since they last paid for something.
    written: u64,
}

const PREFACE: usize = 24;
const HEAD: usize = 9;
/// Frames that carry nothing a client may send at once. Larger: more work for an
/// attacker's byte; smaller: a client that gives up on many requests at once is cut.
const BURST: u64 = 1000;
/// What every second allows beside that.
const PER_SECOND: u64 = 100;
/// As many bytes written to the client pay for one more: clients that measure the
/// path send a PING for what they receive.
const WRITTEN: u64 = 4 << 10;

impl Frames {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Preface(PREFACE),
            in_block: false,
            budget: Budget {
                halves: 2 * BURST,
                at: Duration::ZERO,
                written: 0,
            },
        }
    }

    /// Follows `bytes`, the next of the connection; `now` counts from its beginning.
    /// After an error it is of no more use.
    pub(crate) fn scan(&mut self, now: Duration, mut bytes: &[u8]) -> Result<(), Excess> {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Preface(left) => {
                    let here = bytes.len().min(*left);
                    *left -= here;
                    if *left == 0 {
                        self.state = State::head();
                    }
                    &bytes[here..]
                }
                State::Payload(left) => {
                    let here = bytes.len().min(*left);
                    *left -= here;
                    if *left == 0 {
                        self.state = State::head();
                    }
                    &bytes[here..]
                }
                State::Head { have, bytes: head } => {
                    let here = bytes.len().min(HEAD - *have);
                    head[*have..*have + here].copy_from_slice(&bytes[..here]);
                    *have += here;
                    if *have == HEAD {
                        let head = *head;
                        self.frame(now, head)?;
                    }
                    &bytes[here..]
                }
            };
        }
        Ok(())
    }

    /// Notes that `count` bytes were written to the client.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.budget.written += count as u64;
    }

    /// Whether a header block, or the preface, began and did not end yet.
    pub(crate) fn is_in_block(&self) -> bool {
        self.in_block || matches!(self.state, State::Preface(_))
    }

    /// RFC 9113 §4.1 and §6.
    fn frame(&mut self, now: Duration, head: [u8; HEAD]) -> Result<(), Excess> {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const WINDOW_UPDATE: u8 = 8;
        const CONTINUATION: u8 = 9;
        const END_STREAM: u8 = 1;
        const END_HEADERS: u8 = 4;
        let [a, b, c, kind, flags, ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.state = match length {
            0 => State::head(),
            length => State::Payload(length),
        };
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_block = flags & END_HEADERS == 0;
        }
        match kind {
            HEADERS => {
                self.budget.earn(1);
                Ok(())
            }
            DATA if length > 0 || flags & END_STREAM != 0 => Ok(()),
            // A reader sends many, as it reads many bytes of ours; each is cheap.
            WINDOW_UPDATE => Ok(()),
            _ => self.budget.spend(now),
        }
    }
}

impl State {
    fn head() -> Self {
        Self::Head {
            have: 0,
            bytes: [0; HEAD],
        }
    }
}

impl Budget {
    fn earn(&mut self, halves: u64) {
        self.halves = (self.halves + halves).min(2 * BURST);
    }

    fn spend(&mut self, now: Duration) -> Result<(), Excess> {
        if self.halves < 2 {
            let passed = now.saturating_sub(self.at).as_millis();
            let passed = u64::try_from(passed).unwrap_or(u64::MAX);
            let for_time = passed.saturating_mul(2 * PER_SECOND) / 1000;
            let for_bytes = 2 * (self.written / WRITTEN);
            self.at = now;
            self.written %= WRITTEN;
            self.earn(for_time.saturating_add(for_bytes));
        }
        self.halves = self.halves.checked_sub(2).ok_or(Excess)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u32;
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    fn preface() -> Frames {
        let mut frames = Frames::new();
        frames
            .scan(Duration::ZERO, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        frames
    }

    /// How many rounds of `bytes` pass at once.
    fn passes(bytes: &[u8]) -> u64 {
        let mut frames = preface();
        let round = |_: &u64| frames.scan(Duration::ZERO, bytes).is_ok();
        (0..10_000).take_while(round).count() as u64
    }

    #[test]
    fn frames_that_carry_nothing_run_out() {
        for (kind, payload) in [(0, 0), (2, 5), (3, 4), (4, 0), (6, 8), (9, 1), (77, 3)] {
            let bytes = frame(kind, 0, &vec![0; payload]);
            assert_eq!(passes(&bytes), BURST, "type {kind}");
        }
    }

    #[test]
    fn requests_and_content_do_not() {
        let request = [frame(1, 4, b"head"), frame(0, 1, b"")].concat();
        assert_eq!(passes(&request), 10_000);
        assert_eq!(passes(&frame(0, 0, b"content")), 10_000);
        assert_eq!(passes(&frame(8, 0, &[0; 4])), 10_000);
    }

    #[test]
    fn a_reset_of_each_request_runs_out_too() {
        let reset = [frame(1, 5, b"head"), frame(3, 0, &[0; 4])].concat();
        let passed = passes(&reset);
        assert!((BURST..=2 * BURST).contains(&passed), "{passed}");
        // One request in three given up is a matter between client and server.
        let some = [&reset[..], &frame(1, 5, b"a"), &frame(1, 5, b"b")].concat();
        assert_eq!(passes(&some), 10_000);
    }

    #[test]
    fn time_and_bytes_written_pay() {
        let ping = frame(6, 0, &[0; 8]);
        let mut frames = preface();
        for _ in 0..BURST {
            frames.scan(Duration::ZERO, &ping).unwrap();
        }
        let second = Duration::from_secs(1);
        for _ in 0..PER_SECOND {
            frames.scan(second, &ping).unwrap();
        }
        frames.wrote(4 << 10);
        frames.scan(second, &ping).unwrap();
        assert_eq!(frames.scan(second, &ping), Err(Excess));
    }

    #[test]
    fn a_block_lasts_to_its_end() {
        let mut frames = Frames::new();
        assert!(frames.is_in_block());
        frames.scan(Duration::ZERO, &[b'x'; PREFACE]).unwrap();
        assert!(!frames.is_in_block());
        for byte in frame(1, 0, b"head") {
            frames.scan(Duration::ZERO, &[byte]).unwrap();
        }
        assert!(frames.is_in_block());
        frames.scan(Duration::ZERO, &frame(9, 4, b"more")).unwrap();
        assert!(!frames.is_in_block());
    }
}
