//! Why a connection between gateways was closed, in the words both sides see.

use quinn::{ApplicationClose, Connection, ConnectionError, Endpoint, VarInt};

/// An application error code of a tunnel connection. Codes are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Close {
    /// The gateway ends.
    Shutdown,
    /// Another connection to the same peer took this one's place.
    Superseded,
    /// The peer is not, or no longer, a member as seen from here.
    NotAMember,
    /// The peer's certificate is not that of the node it says it is.
    WrongIdentity,
    /// The certificate is valid, but not a gateway's.
    NotAGateway,
    /// The first stream held no hello that can be read.
    BadHello,
    /// The peer speaks a version of the hello that is not known here.
    Version,
    /// The peer said nothing in time.
    Timeout,
    /// The peer holds too many connections.
    TooMany,
}

impl Close {
    const ALL: [Self; 9] = [
        Self::Shutdown,
        Self::Superseded,
        Self::NotAMember,
        Self::WrongIdentity,
        Self::NotAGateway,
        Self::BadHello,
        Self::Version,
        Self::Timeout,
        Self::TooMany,
    ];

    fn code(self) -> u32 {
        match self {
            Self::Shutdown => 1,
            Self::Superseded => 2,
            Self::NotAMember => 3,
            Self::WrongIdentity => 4,
            Self::NotAGateway => 5,
            Self::BadHello => 6,
            Self::Version => 7,
            Self::Timeout => 8,
            Self::TooMany => 9,
        }
    }

    /// The sentence that travels with the code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "the gateway is shutting down",
            Self::Superseded => "another connection took this one's place",
            Self::NotAMember => {
                "you are not a member of the federation as seen from here; try again"
            }
            Self::WrongIdentity => "your certificate is not that of the node you say you are",
            Self::NotAGateway => "your certificate is not a gateway's",
            Self::BadHello => "the hello could not be read",
            Self::Version => "the version of the hello is not known here",
            Self::Timeout => "no hello arrived in time",
            Self::TooMany => "too many connections from one gateway",
        }
    }

    /// Closes `connection` for this reason.
    pub(super) fn apply(self, connection: &Connection) {
        connection.close(VarInt::from_u32(self.code()), self.as_str().as_bytes());
    }

    /// Closes all of an endpoint's connections for this reason; it accepts no more.
    pub(super) fn apply_all(self, endpoint: &Endpoint) {
        endpoint.close(VarInt::from_u32(self.code()), self.as_str().as_bytes());
    }

    /// The reason that the peer gave, if it closed the connection and gave one.
    pub(super) fn of(error: &ConnectionError) -> Option<Self> {
        let ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. }) = error else {
            return None;
        };
        Self::ALL
            .into_iter()
            .find(|close| u64::from(close.code()) == error_code.into_inner())
    }
}

impl std::fmt::Display for Close {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
