//! Where an HTTP/1.1 client's messages begin and end, read strictly.
//!
//! hyper follows RFC 9112 §6.3 and takes `Transfer-Encoding` over
//! `Content-Length`, accepts a repeated length, bare line feeds and other
//! transfer codings before `chunked`. A proxy in front or behind may read such a
//! message differently, which is how requests are smuggled. So the bytes pass
//! through here first; at the first ambiguity the scanner stops and the
//! connection ends with 400.

use std::num::ParseIntError;

/// Follows the framing of one connection's requests. Knows no other part of HTTP.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    line: Line,
    head: Head,
}

/// A message that two readers may read differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ambiguity {
    #[error("a line ends without a carriage return")]
    BareLineFeed,
    #[error("a field is folded over two lines")]
    Folded,
    #[error("more than one length, or not one number")]
    Length,
    #[error("a transfer coding other than one chunked")]
    Coding,
    #[error("both a length and a transfer coding")]
    LengthAndCoding,
    #[error("a chunk's size is not a number")]
    ChunkSize(#[source] ParseIntError),
    #[error("a chunk is longer than its size")]
    ChunkEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the request line, or in empty lines before it.
    RequestLine,
    Fields,
    /// Bytes of a body whose length is known.
    Body(u64),
    ChunkSize,
    Chunk(u64),
    /// The empty line after a chunk.
    ChunkEnd,
    Trailers,
    /// After CONNECT: no more HTTP.
    Tunnel,
}

/// What the current head says of its body.
#[derive(Debug, Default)]
struct Head {
    connect: bool,
    length: Option<u64>,
    chunked: bool,
}

/// The current line's beginning: longer lines matter to no rule here.
#[derive(Debug, Default)]
struct Line {
    start: Vec<u8>,
    last: u8,
}

const LINE_KEPT: usize = 256;

impl Framing {
    pub(crate) fn new() -> Self {
        Self {
            state: State::RequestLine,
            line: Line::default(),
            head: Head::default(),
        }
    }

    /// Follows `bytes`, the next of the connection. After an error it is of no more use.
    pub(crate) fn scan(&mut self, mut bytes: &[u8]) -> Result<(), Ambiguity> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Tunnel => return Ok(()),
                State::Body(left) => self.skip(bytes, left, State::Body, State::RequestLine),
                State::Chunk(left) => self.skip(bytes, left, State::Chunk, State::ChunkEnd),
                _ => match bytes.iter().position(|byte| *byte == b'\n') {
                    None => {
                        self.line.extend(bytes);
                        return Ok(());
                    }
                    Some(at) => {
                        self.line.extend(&bytes[..at]);
                        self.end_line()?;
                        &bytes[at + 1..]
                    }
                },
            };
        }
        Ok(())
    }

    /// Whether a head began and did not end yet.
    pub(crate) fn is_in_head(&self) -> bool {
        match self.state {
            State::Fields => true,
            State::RequestLine => !self.line.start.is_empty(),
            _ => false,
        }
    }

    fn skip<'b>(
        &mut self,
        bytes: &'b [u8],
        left: u64,
        same: fn(u64) -> State,
        then: State,
    ) -> &'b [u8] {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - here as u64;
        self.state = if left == 0 { then } else { same(left) };
        &bytes[here..]
    }

    fn end_line(&mut self) -> Result<(), Ambiguity> {
        let Line { start, last } = std::mem::take(&mut self.line);
        if last != b'\r' {
            return Err(Ambiguity::BareLineFeed);
        }
        // The carriage return is among the kept bytes unless the line was long.
        let line = start.strip_suffix(b"\r").unwrap_or(&start);
        match self.state {
            State::RequestLine if line.is_empty() => {}
            State::RequestLine => {
                self.head.connect = line.starts_with(b"CONNECT ");
                self.state = State::Fields;
            }
            State::Fields if line.is_empty() => self.state = self.end_head()?,
            State::Fields => self.field(line)?,
            State::ChunkSize => self.state = chunk_size(line)?,
            State::ChunkEnd if line.is_empty() => self.state = State::ChunkSize,
            State::ChunkEnd => return Err(Ambiguity::ChunkEnd),
            State::Trailers if line.is_empty() => self.state = State::RequestLine,
            State::Trailers if is_folded(line) => return Err(Ambiguity::Folded),
            State::Trailers | State::Body(_) | State::Chunk(_) | State::Tunnel => {}
        }
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Ambiguity> {
        if is_folded(line) {
            return Err(Ambiguity::Folded);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        // Without a colon, or with a space before it, hyper refuses the head.
        let Some((name, value)) = colon.map(|at| (&line[..at], line[at + 1..].trim_ascii())) else {
            return Ok(());
        };
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.head.length.is_some() {
                return Err(Ambiguity::Length);
            }
            self.head.length = Some(number(value, 10).ok_or(Ambiguity::Length)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.head.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguity::Coding);
            }
            self.head.chunked = true;
        }
        Ok(())
    }

    fn end_head(&mut self) -> Result<State, Ambiguity> {
        let head = std::mem::take(&mut self.head);
        Ok(match head {
            Head {
                length: Some(_),
                chunked: true,
                ..
            } => return Err(Ambiguity::LengthAndCoding),
            Head { connect: true, .. } => State::Tunnel,
            Head { chunked: true, .. } => State::ChunkSize,
            Head {
                length: None | Some(0),
                ..
            } => State::RequestLine,
            Head {
                length: Some(length),
                ..
            } => State::Body(length),
        })
    }
}

impl Line {
    fn extend(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.last = *last;
        }
        let room = LINE_KEPT.saturating_sub(self.start.len());
        self.start.extend(bytes.iter().take(room));
    }
}

fn is_folded(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// Digits only: no sign, no space, no list.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

fn chunk_size(line: &[u8]) -> Result<State, Ambiguity> {
    let end = line
        .iter()
        .position(|byte| matches!(byte, b';' | b' ' | b'\t'))
        .unwrap_or(line.len());
    let digits = std::str::from_utf8(&line[..end]).unwrap_or("");
    let digits = if digits.starts_with('+') { "" } else { digits };
    match u64::from_str_radix(digits, 16).map_err(Ambiguity::ChunkSize)? {
        0 => Ok(State::Trailers),
        size => Ok(State::Chunk(size)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;

    /// Two requests of each framing, so that a wrong end of the first shows.
    const LAWFUL: &[&str] = &[
        "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=\"y\"\r\n\n\n\n\r\nA\r\n\n234567890\r\n0\r\nt: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\n\r\n\n raw \n bytes",
    ];

    #[test]
    fn lawful_messages_pass_to_their_end() {
        for bytes in LAWFUL {
            let mut framing = Framing::new();
            assert_eq!(framing.scan(bytes.as_bytes()), Ok(()), "{bytes:?}");
            assert!(
                matches!(framing.state, State::RequestLine | State::Tunnel),
                "{bytes:?} left {:?}",
                framing.state
            );
        }
    }

    #[test]
    fn each_ambiguity_is_named() {
        let check = |fields: &str, expect: Ambiguity| {
            let bytes = format!("POST / HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(
                Framing::new().scan(bytes.as_bytes()),
                Err(expect),
                "{fields:?}"
            );
        };
        check(
            "content-length: 1\r\ncontent-length: 1\r\n",
            Ambiguity::Length,
        );
        check("content-length: 1, 1\r\n", Ambiguity::Length);
        check("content-length: +1\r\n", Ambiguity::Length);
        check("content-length:\r\n", Ambiguity::Length);
        check(
            "transfer-encoding: chunked\r\ncontent-length: 1\r\n",
            Ambiguity::LengthAndCoding,
        );
        check("transfer-encoding: xchunked\r\n", Ambiguity::Coding);
        check("transfer-encoding: gzip, chunked\r\n", Ambiguity::Coding);
        check("a: 1\r\n\tb: 2\r\n", Ambiguity::Folded);
        check("a: 1\n", Ambiguity::BareLineFeed);
        check(
            "transfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
            Ambiguity::ChunkEnd,
        );
    }

    proptest! {
        /// How the bytes are cut into reads makes no difference.
        #[test]
        fn cuts_do_not_matter(
            which in 0..LAWFUL.len(),
            noise in prop::collection::vec(any::<u8>(), 0..4),
            at in any::<prop::sample::Index>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut bytes = LAWFUL[which].as_bytes().to_vec();
            let place = at.index(bytes.len());
            bytes.splice(place..place, noise);
            let whole = Framing::new().scan(&bytes);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut framing = Framing::new();
            let mut from = 0;
            let mut pieces = Ok(());
            for cut in cuts {
                pieces = pieces.and_then(|()| framing.scan(&bytes[from..cut]));
                from = cut;
            }
            prop_assert_eq!(pieces, whole);
        }
    }
}
