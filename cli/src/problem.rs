//! What the user sees when something fails: what, why, next step, code, exit status.

use std::fmt;
use std::process::ExitCode;

use weft_model::Code;

use crate::output::{self, Format};

/// The exit statuses of `weft`; `weft help exit-codes` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed; or `diff` found differences; or unhealthy.
    Failed = 1,
    /// Wrong usage or an invalid file; nothing was sent.
    Usage = 2,
    /// A check failed.
    CheckFailed = 3,
    /// Warnings only, with `--fail-on warn`.
    Warnings = 4,
    /// Timed out.
    TimedOut = 5,
    /// Refused: precondition, policy, not authorised.
    Refused = 6,
    /// No leader, or not reachable; safe to retry.
    Unreachable = 7,
}

impl Exit {
    /// All of them, by number.
    pub(crate) const ALL: [Self; 8] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::CheckFailed,
        Self::Warnings,
        Self::TimedOut,
        Self::Refused,
        Self::Unreachable,
    ];

    /// What it says, for `weft help exit-codes`.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done; for diff: no difference; for check: nothing failed",
            Self::Failed => "failed; for diff: differences; for status: something is unhealthy",
            Self::Usage => "wrong usage, or an invalid file; nothing was sent",
            Self::CheckFailed => "check: something failed",
            Self::Warnings => "check and status: warnings alone, with --fail-on warn",
            Self::TimedOut => "timed out; a write's outcome may not be known",
            Self::Refused => "refused: a precondition, a policy, or not authorised",
            Self::Unreachable => "no leader, or not reachable; safe to try again",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure as the user reads it. The code brings the why and the next step;
/// `detail` and `next` say more where more is known.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) what: String,
    pub(crate) detail: Option<Box<str>>,
    pub(crate) next: Option<Box<str>>,
    pub(crate) exit: Exit,
}

impl Problem {
    /// A failure of this kind; its exit status follows from the code.
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            detail: None,
            next: None,
            exit: exit_of(code),
        }
    }

    /// Adds what was found, shown below the first line.
    pub(crate) fn detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string().into());
        self
    }

    /// Replaces the code's general next step by a particular one.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into().into());
        self
    }
}

fn exit_of(code: Code) -> Exit {
    use weft_model::code::*;
    match code {
        FILE_UNREADABLE | SYNTAX | UNKNOWN_FIELD | WRONG_VALUE | NOT_ENFORCED | UNKNOWN_KIND
        | USAGE | NO_CONTEXT | NOT_A_TAP | TOKEN_MALFORMED | INVALID_RESOURCE | AS_OF_LIVE => {
            Exit::Usage
        }
        NOT_AUTHORISED | STALE_INDEX | REFUSED | TOKEN_USED | TOKEN_EXPIRED | TOKEN_REVOKED
        | TOKEN_UNKNOWN | PIN_MISMATCH | ALREADY_RUNNING | NOT_MEMBER | ALREADY_MEMBER | AHEAD
        | NOTHING_TO_RECOVER | ROLE_SETTLED | FOLLOWS_NOBODY | OUTRANKED | NOT_PRIVILEGED
        | RELEASE_OTHER | RELEASE_MOVED | RELEASE_PHASE | RELEASE_FIXED | RELEASE_SUPERSEDED
        | RELEASE_PLACE | RELEASE_VERSION | RELEASE_AUDIENCE | CLAMP_REGION | CLAMPS_FULL
        | RELEASE_ENDED | RELEASE_NO_WAY_BACK | NOT_REVERSIBLE => Exit::Refused,
        NO_LEADER | READ_ONLY | UNREACHABLE | UDP_BLOCKED | NAME_UNRESOLVED => Exit::Unreachable,
        OUTCOME_UNKNOWN | WAIT_OVER => Exit::TimedOut,
        _ => Exit::Failed,
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.what)?;
        if let Some(detail) = &self.detail {
            for line in detail.trim_end().lines() {
                writeln!(f, "  {line}")?;
            }
        }
        writeln!(f, "  why   {}", self.code.why)?;
        writeln!(
            f,
            "  next  {}",
            self.next.as_deref().unwrap_or(self.code.next)
        )?;
        write!(
            f,
            "  code  {}   (more: weft explain {})",
            self.code, self.code
        )
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// As programs read it.
    pub(crate) fn document(&self) -> serde_json::Value {
        serde_json::json!({ "apiVersion": "weft.dev/v1", "error": {
            "code": self.code.to_string(),
            "what": self.what,
            "detail": self.detail,
            "why": self.code.why,
            "next": self.next.as_deref().unwrap_or(self.code.next),
            "exit": self.exit as u8,
        }})
    }

    /// Tells it on standard error, in the form that was asked for: a document on one line for
    /// JSON, so that a log of several stays one of lines.
    pub(crate) fn tell(&self, format: Format) {
        output::tell(&match format {
            Format::Json => self.document().to_string(),
            Format::Yaml => output::yaml(&self.document()),
            _ => self.to_string(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_why_and_next() {
        let problem = Problem::new(weft_model::code::PORT_IN_USE, "127.0.0.1:7444 is in use")
            .detail("bound by another process");
        let text = problem.to_string();
        for part in [
            "error: 127.0.0.1:7444",
            "  bound by",
            "  why ",
            "  next ",
            "WEFT-1007",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn exit_statuses_count_from_0() {
        for (number, exit) in (0..).zip(Exit::ALL) {
            assert_eq!(exit as u8, number);
        }
    }

    #[test]
    fn programs_read_the_same() {
        let problem = Problem::new(weft_model::code::NOT_MEMBER, "x").next("join");
        let read = problem.document();
        assert_eq!(read["apiVersion"], "weft.dev/v1");
        assert_eq!(read["error"]["code"], "WEFT-1014");
        assert_eq!(read["error"]["next"], "join");
        assert_eq!(read["error"]["exit"], 6);
    }
}
