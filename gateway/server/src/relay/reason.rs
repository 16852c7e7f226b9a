//! Why a relayed connection was not made: one byte, the same between sidecar
//! and gateway and between gateways.

/// The answer to a preamble or a relay stream, other than 0, "connected". Codes are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[repr(u8)]
pub enum Reason {
    /// The endpoint or service is not known there.
    #[error("no such endpoint")]
    NoSuchEndpoint = 1,
    /// The service is not exported to the caller's cluster.
    #[error("not exported to the caller's cluster")]
    NotExported = 2,
    /// No gateway of the target's cluster can be reached.
    #[error("no path to the cluster")]
    NoPath = 3,
    /// The endpoint did not accept the connection.
    #[error("the endpoint refused the connection")]
    ConnectFailed = 4,
    /// The endpoint, or the far gateway, did not answer in time.
    #[error("no answer in time")]
    Timeout = 5,
    /// Too many connections of this caller, or in all.
    #[error("too many relayed connections")]
    Overload = 6,
    /// The preamble could not be read, its session is unknown, or its proof is
    /// wrong or was used before.
    #[error("the preamble was refused")]
    BadPreamble = 7,
    /// The gateway is shutting down: another one may serve.
    #[error("the gateway is draining")]
    Draining = 8,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::NoSuchEndpoint,
        Self::NotExported,
        Self::NoPath,
        Self::ConnectFailed,
        Self::Timeout,
        Self::Overload,
        Self::BadPreamble,
        Self::Draining,
    ];

    /// The byte on the wire.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What a status byte says: [`CONNECTED`] is success, and a code of a later
    /// version counts as [`Reason::ConnectFailed`].
    ///
    /// # Errors
    /// The connection was not made, for the reason returned.
    pub fn check(status: u8) -> Result<(), Self> {
        if status == CONNECTED {
            return Ok(());
        }
        let known = Self::ALL.into_iter().find(|reason| reason.code() == status);
        Err(known.unwrap_or(Self::ConnectFailed))
    }

    /// The value of a metric label or log field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchEndpoint => "no_such_endpoint",
            Self::NotExported => "not_exported",
            Self::NoPath => "no_path",
            Self::ConnectFailed => "connect_failed",
            Self::Timeout => "timeout",
            Self::Overload => "overload",
            Self::BadPreamble => "bad_preamble",
            Self::Draining => "draining",
        }
    }

    /// Whether another gateway of the same cluster may do better.
    pub(super) fn is_of_gateway(self) -> bool {
        match self {
            Self::Draining | Self::Overload => true,
            Self::NoSuchEndpoint
            | Self::NotExported
            | Self::NoPath
            | Self::ConnectFailed
            | Self::Timeout
            | Self::BadPreamble => false,
        }
    }
}

/// The status byte of success: from here on the stream belongs to the two ends.
pub const CONNECTED: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_stable() {
        let codes: Vec<u8> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8]);
        for reason in Reason::ALL {
            assert_eq!(Reason::check(reason.code()), Err(reason));
        }
        assert_eq!(Reason::check(CONNECTED), Ok(()));
        assert_eq!(Reason::check(200), Err(Reason::ConnectFailed));
    }
}
