//! One DNS question by UDP, and what came back: for polls that ask too often for a program each.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// A question without an answer for this long has none.
const PATIENCE: Duration = Duration::from_millis(800);

/// The type of a record (RFC 1035 §3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordType {
    /// An IPv4 address.
    A = 1,
    /// The start of authority.
    Soa = 6,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN.
    pub code: u8,
    /// The data of the records of the type that was asked for, as they travelled.
    pub data: Vec<Vec<u8>>,
}

impl Answer {
    /// The serial of the first record, a SOA.
    pub fn serial(&self) -> Option<u32> {
        let data = self.data.first()?;
        // It is followed by four more numbers, after two names of any length.
        let at = data.len().checked_sub(20)?;
        Some(u32::from_be_bytes(data[at..at + 4].try_into().ok()?))
    }
}

/// Asks `server`, `host:port`, for the records of `name`.
///
/// # Errors
/// Nothing came back, or no answer to this.
pub fn ask(server: &str, name: &str, kind: RecordType) -> Result<Answer> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let question = question(name, kind);
    socket.send(&question).context("send")?;
    let mut bytes = [0; 1500];
    let length = socket.recv(&mut bytes).context("no answer")?;
    read(&bytes[..length], kind).with_context(|| format!("{name}: {:02x?}", &bytes[..length]))
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    // Its own socket tells its answer from others. No recursion is wanted.
    let mut bytes = vec![0x77, 0x66, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, kind as u8, 0, 1]);
    bytes
}

fn read(bytes: &[u8], kind: RecordType) -> Result<Answer> {
    let mut reader = Reader { bytes, at: 0 };
    let head = reader.take(12)?;
    ensure!(
        head[..2] == [0x77, 0x66] && head[2] & 0x80 != 0,
        "no answer to it"
    );
    let (code, answers) = (head[3] & 0x0f, u16::from_be_bytes([head[6], head[7]]));
    reader.skip_name()?;
    reader.take(4)?;
    let mut data = Vec::new();
    for _ in 0..answers {
        reader.skip_name()?;
        let fixed = reader.take(10)?;
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let is_asked = fixed[..2] == [0, kind as u8];
        let found = reader.take(length)?;
        if is_asked {
            data.push(found.to_vec());
        }
    }
    Ok(Answer { code, data })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at + length);
        self.at += length;
        taken.context("it ends early")
    }

    fn skip_name(&mut self) -> Result<()> {
        loop {
            match self.take(1)?[0] {
                0 => return Ok(()),
                // A pointer ends the name (RFC 1035 §4.1.4).
                byte if byte & 0xc0 != 0 => return self.take(1).map(drop),
                length => self.take(usize::from(length)).map(drop)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_travelled() {
        let mut bytes = question("a.b", RecordType::A);
        bytes[2] = 0x84;
        bytes[7] = 2;
        bytes.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 5, 0, 1, 0]);
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 64, 0, 1]);
        let answer = read(&bytes, RecordType::A).unwrap();
        let data = vec![vec![127, 64, 0, 1]];
        assert_eq!(answer, Answer { code: 0, data });
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], RecordType::A).is_err(), "{end}");
        }
    }

    #[test]
    fn the_serial_stands_before_four_numbers() {
        let mut data = vec![1, b'n', 0, 0xc0, 12];
        for number in [7u32, 1, 2, 3, 4] {
            data.extend(number.to_be_bytes());
        }
        let code = 0;
        let answer = Answer {
            code,
            data: vec![data],
        };
        assert_eq!(answer.serial(), Some(7));
    }
}
