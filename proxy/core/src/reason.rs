//! Every refusal a caller can see, with the codes each protocol has for it.

use std::fmt;

use weft_model::{Code, code};

/// Why a request or connection was refused or cut.
///
/// One list for log field, metric label, HTTP and gRPC status, relay status byte
/// and test. `weft explain WEFT-nnnn` expands [`Reason::code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The host names no service known here.
    NoRoute,
    /// The service has no such port.
    NoSuchPort,
    /// Routes are for the service, and no rule of theirs matches the request.
    NoRule,
    /// The rule that matches sends the request to a service or port that is not known here, or to
    /// none.
    NoBackend,
    /// The service has no endpoint that takes work.
    NoEndpoints,
    /// The endpoint asked for is not here (any more).
    NoSuchEndpoint,
    /// The service is not exported to the caller's cluster.
    NotExported,
    /// No tunnel to the endpoint's cluster is up.
    NoPath,
    /// The connection to the endpoint could not be made.
    ConnectFailed,
    /// The endpoint proved an identity that may not serve the service, or none.
    IdentityMismatch,
    /// Connecting, or the answer, took too long.
    Timeout,
    /// A limit on connections or requests is reached.
    Overload,
    /// A relay preamble was malformed, replayed or not authentic.
    BadPreamble,
    /// The process is going away and takes nothing new.
    Draining,
    /// The connection was cut before the answer was complete.
    UpstreamReset,
    /// The endpoint's answer broke its protocol.
    UpstreamProtocol,
    /// The request's framing or target was malformed or ambiguous.
    BadRequest,
    /// The client stopped sending the request's body.
    RequestStalled,
    /// The request's head exceeds 100 fields or 60 KiB.
    HeadTooLarge,
    /// The request asks for something this proxy does not do.
    NotSupported,
}

/// What a reason is called where.
struct Facts {
    label: &'static str,
    http: u16,
    grpc: u8,
    flag: &'static str,
    code: Code,
}

impl Reason {
    /// All of them, for tables and documentation.
    pub const ALL: [Self; 20] = [
        Self::NoRoute,
        Self::NoSuchPort,
        Self::NoRule,
        Self::NoBackend,
        Self::NoEndpoints,
        Self::NoSuchEndpoint,
        Self::NotExported,
        Self::NoPath,
        Self::ConnectFailed,
        Self::IdentityMismatch,
        Self::Timeout,
        Self::Overload,
        Self::BadPreamble,
        Self::Draining,
        Self::UpstreamReset,
        Self::UpstreamProtocol,
        Self::BadRequest,
        Self::RequestStalled,
        Self::HeadTooLarge,
        Self::NotSupported,
    ];

    /// The relay's status byte of success: from here on the stream belongs to its two ends.
    pub const CONNECTED: u8 = 0;

    /// The word in logs, metrics and the `x-weft-reason` header.
    pub fn label(self) -> &'static str {
        self.facts().label
    }

    /// HTTP status (RFC 9110; 431 is RFC 6585).
    pub fn http_status(self) -> u16 {
        self.facts().http
    }

    /// gRPC status code. An Envoy-compatible client derives the same from the HTTP status.
    pub fn grpc_status(self) -> u8 {
        self.facts().grpc
    }

    /// Envoy's response flag where the meaning is equal.
    pub fn response_flag(self) -> &'static str {
        self.facts().flag
    }

    /// The stable code: `WEFT-4nnn`.
    pub fn code(self) -> Code {
        self.facts().code
    }

    /// What happened, one clause.
    pub fn what(self) -> &'static str {
        self.facts().code.title
    }

    /// What the reader can do next.
    pub fn next_step(self) -> &'static str {
        self.facts().code.next
    }

    /// The relay's status byte for this reason, never [`Reason::CONNECTED`]. Reasons that
    /// a relay cannot have are told as [`Reason::ConnectFailed`].
    pub fn to_wire(self) -> u8 {
        match self {
            Self::NoSuchEndpoint
            | Self::NoRoute
            | Self::NoSuchPort
            | Self::NoRule
            | Self::NoBackend
            | Self::NoEndpoints => 1,
            Self::NotExported => 2,
            Self::NoPath => 3,
            Self::ConnectFailed
            | Self::IdentityMismatch
            | Self::UpstreamReset
            | Self::UpstreamProtocol
            | Self::NotSupported => 4,
            Self::Timeout => 5,
            Self::Overload => 6,
            Self::BadPreamble | Self::BadRequest | Self::RequestStalled | Self::HeadTooLarge => 7,
            Self::Draining => 8,
        }
    }

    /// Reads a relay's status byte: `Ok` is connected. A number from a newer
    /// gateway counts as a failed connection.
    pub fn from_wire(status: u8) -> Result<(), Self> {
        Err(match status {
            Self::CONNECTED => return Ok(()),
            1 => Self::NoSuchEndpoint,
            2 => Self::NotExported,
            3 => Self::NoPath,
            5 => Self::Timeout,
            6 => Self::Overload,
            7 => Self::BadPreamble,
            8 => Self::Draining,
            _ => Self::ConnectFailed,
        })
    }

    #[rustfmt::skip]
    fn facts(self) -> Facts {
        let facts = |label, http, grpc, flag, code| Facts { label, http, grpc, flag, code };
        match self {
            Self::NoRoute => facts("no_route", 404, 12, "NR", code::NO_ROUTE),
            Self::NoSuchPort => facts("no_such_port", 404, 12, "NR", code::NO_SUCH_PORT),
            Self::NoRule => facts("no_rule", 404, 12, "NR", code::NO_RULE),
            Self::NoBackend => facts("no_backend", 500, 14, "NC", code::NO_BACKEND),
            Self::NoEndpoints => facts("no_endpoints", 503, 14, "UH", code::NO_HEALTHY_UPSTREAM),
            Self::NoSuchEndpoint => facts("no_such_endpoint", 503, 14, "UH", code::ENDPOINT_GONE),
            Self::NotExported => facts("not_exported", 403, 7, "UAEX", code::NOT_EXPORTED),
            Self::NoPath => facts("no_path", 503, 14, "UH", code::NO_PATH),
            Self::ConnectFailed => facts("connect_failed", 503, 14, "UF", code::CONNECT_FAILURE),
            Self::IdentityMismatch => facts("identity_mismatch", 503, 14, "UF", code::IDENTITY_MISMATCH),
            Self::Timeout => facts("timeout", 504, 4, "UT", code::TIMEOUT),
            Self::Overload => facts("overload", 503, 8, "UO", code::OVERLOAD),
            Self::BadPreamble => facts("bad_preamble", 503, 14, "UF", code::BAD_PREAMBLE),
            Self::Draining => facts("draining", 503, 14, "UH", code::DRAINING),
            Self::UpstreamReset => facts("upstream_reset", 503, 14, "UC", code::UPSTREAM_RESET),
            Self::UpstreamProtocol => facts("upstream_protocol", 502, 13, "UPE", code::UPSTREAM_PROTOCOL),
            Self::BadRequest => facts("bad_request", 400, 13, "DPE", code::BAD_REQUEST),
            Self::RequestStalled => facts("request_stalled", 408, 4, "SI", code::REQUEST_STALLED),
            Self::HeadTooLarge => facts("head_too_large", 431, 8, "DPE", code::HEADERS_TOO_LARGE),
            Self::NotSupported => facts("not_supported", 501, 12, "DPE", code::NOT_SUPPORTED),
        }
    }
}

impl fmt::Display for Reason {
    /// `WEFT-4002: no endpoint of the service takes work`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.facts();
        write!(f, "{}: {}", facts.code, facts.code.title)
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn labels_and_codes_are_unique() {
        let labels: BTreeSet<_> = Reason::ALL.iter().map(|r| r.label()).collect();
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(
            (labels.len(), codes.len()),
            (Reason::ALL.len(), Reason::ALL.len())
        );
    }

    #[test]
    fn every_reason_has_a_status_byte_that_is_not_connected() {
        for reason in Reason::ALL {
            assert!(Reason::from_wire(reason.to_wire()).is_err());
        }
        for byte in 1..=8 {
            let reason = Reason::from_wire(byte).unwrap_err();
            assert_eq!(reason.to_wire(), byte, "{reason}");
        }
        assert_eq!(Reason::from_wire(Reason::CONNECTED), Ok(()));
        assert_eq!(Reason::from_wire(200), Err(Reason::ConnectFailed));
    }
}
