//! Answers as bytes: compiled once, written many times.

use super::writer::Writer;
use super::{HEADER, Query, TCP_MAX, UDP_MAX};
use crate::dns::{Answer, ExtendedError, Question, RecordType, Unknown, Verdict};

/// What a response says of its query as a whole (RFC 1035 §4.1.1, RFC 6895 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResponseCode {
    /// NOERROR.
    NoError = 0,
    /// FORMERR: the query is malformed.
    FormErr = 1,
    /// SERVFAIL: the answer is not known here and now.
    ServFail = 2,
    /// NXDOMAIN: the name does not exist.
    NxDomain = 3,
    /// NOTIMP: no such operation here.
    NotImp = 4,
    /// REFUSED: not for this client, zone or class.
    Refused = 5,
}

/// Whether this server asks others for names that are not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursion {
    /// It does.
    Available,
    /// It does not.
    Unavailable,
}

/// What [`Compiled::write`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The whole answer, perhaps without its additional records.
    Whole,
    /// Only that there is more than fits: the client comes back over TCP.
    Truncated,
}

/// The response to a question, but for what each query brings: its id, its letter
/// case, its flags and its EDNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    code: ResponseCode,
    authoritative: bool,
    answers: u16,
    authorities: u16,
    additionals: u16,
    /// The sections after the question.
    body: Vec<u8>,
    /// Where in the body the additional records begin.
    additional_at: usize,
    error: Option<(ExtendedError, String)>,
}

/// Room for header, question and OPT beside the longest body.
const BODY_MAX: usize = TCP_MAX - 1024;
/// The longest text beside an extended error, in bytes.
const ERROR_TEXT_MAX: usize = 200;
/// The length of an OPT record without options.
const OPT: usize = 11;

impl Compiled {
    /// Compiles an answer; none if the name is [not ours](Verdict::NotOurs).
    ///
    /// Of more records than a message over TCP holds, as many as fit are taken.
    pub fn new(question: &Question, answer: &Answer) -> Option<Self> {
        let code = match &answer.verdict {
            Verdict::NotOurs => return None,
            Verdict::CannotKnow(Unknown { error, why }) => {
                return Some(Self::failure(ResponseCode::ServFail, *error, why));
            }
            Verdict::Found | Verdict::NoData => ResponseCode::NoError,
            Verdict::NoName => ResponseCode::NxDomain,
        };
        let mut writer = Writer::new(&question.name);
        let answers = writer.records(&answer.answers, BODY_MAX);
        let authorities = writer.records(&answer.authority, BODY_MAX);
        let additional_at = writer.length();
        let additionals = writer.records(&answer.additional, BODY_MAX);
        Some(Self {
            code,
            authoritative: true,
            answers,
            authorities,
            additionals,
            body: writer.into_bytes(),
            additional_at,
            error: None,
        })
    }

    /// A response without records that says why.
    pub fn failure(code: ResponseCode, error: ExtendedError, why: &str) -> Self {
        let cut = (0..=why.len().min(ERROR_TEXT_MAX))
            .rev()
            .find(|at| why.is_char_boundary(*at));
        Self {
            code,
            authoritative: false,
            answers: 0,
            authorities: 0,
            additionals: 0,
            body: Vec::new(),
            additional_at: 0,
            error: Some((error, why[..cut.unwrap_or(0)].to_owned())),
        }
    }

    /// What it says as a whole.
    pub fn code(&self) -> ResponseCode {
        self.code
    }

    /// Its extended error, if it has one.
    pub fn error(&self) -> Option<ExtendedError> {
        self.error.as_ref().map(|(error, _)| *error)
    }

    /// Writes the response to `query` over what `out` holds, at most `limit` bytes.
    ///
    /// `query` has to ask what this was compiled for.
    pub fn write(
        &self,
        query: &Query<'_>,
        limit: usize,
        recursion: Recursion,
        out: &mut Vec<u8>,
    ) -> Written {
        let question = query.question_bytes();
        let opt = query.edns().map_or(0, |_| OPT + self.error_option());
        let room = limit.saturating_sub(HEADER + question.len() + opt);
        let (body, additionals, written) = if self.body.len() <= room {
            (&*self.body, self.additionals, Written::Whole)
        } else if self.additional_at <= room {
            (&self.body[..self.additional_at], 0, Written::Whole)
        } else {
            (&[][..], 0, Written::Truncated)
        };
        let (answers, authorities) = match written {
            Written::Whole => (self.answers, self.authorities),
            Written::Truncated => (0, 0),
        };
        out.clear();
        self.write_head(query, written, recursion, out);
        let opts = u16::from(query.edns().is_some());
        for count in [1, answers, authorities, additionals + opts] {
            out.extend(count.to_be_bytes());
        }
        out.extend(question);
        out.extend(body);
        self.write_opt(query, out);
        written
    }

    fn write_head(
        &self,
        query: &Query<'_>,
        written: Written,
        recursion: Recursion,
        out: &mut Vec<u8>,
    ) {
        let [id_high, id_low, flags] = query.head();
        let authoritative = u8::from(self.authoritative) << 2;
        let truncated = u8::from(written == Written::Truncated) << 1;
        let available = u8::from(recursion == Recursion::Available) << 7;
        // AD and CD stay clear: nothing here is signed (RFC 4035 §3.1.6).
        out.extend([
            id_high,
            id_low,
            0x80 | authoritative | truncated | flags & 1,
            available | self.code as u8,
        ]);
    }

    /// Bytes that the extended error takes in OPT.
    fn error_option(&self) -> usize {
        self.error.as_ref().map_or(0, |(_, text)| 6 + text.len())
    }

    fn write_opt(&self, query: &Query<'_>, out: &mut Vec<u8>) {
        let Some(edns) = query.edns() else { return };
        out.push(0);
        out.extend(RecordType::OPT.0.to_be_bytes());
        out.extend((UDP_MAX as u16).to_be_bytes());
        out.extend([0, 0, u8::from(edns.dnssec_ok) << 7, 0]);
        out.extend((self.error_option() as u16).to_be_bytes());
        if let Some((error, text)) = &self.error {
            out.extend([0, 15]);
            out.extend((2 + text.len() as u16).to_be_bytes());
            out.extend(error.code().to_be_bytes());
            out.extend(text.as_bytes());
        }
    }
}
