//! A ticket: that one gateway asks a second to carry one connection to a third. Pure.
//!
//! It is signed with the key that the log knows the asking gateway by, names all three, is good for
//! one connection, and for as long as clocks may differ.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use weft_identity::SigningKey;
use weft_model::{NodeId, PublicKey, WallTime};
use weft_plan::Moment;
use weft_proto::peer::{RelayTicket, ThroughStream};

const FORMAT: u32 = 1;
/// What is signed begins so, so that the signature is of nothing else.
const CONTEXT: &[u8] = b"weft relay ticket\0";
/// How long it is good for, and how far clocks may differ either way.
const LIFE: Duration = Duration::from_secs(30);
const SKEW: Duration = Duration::from_secs(300);
/// A ticket that is spent is remembered for as long as one could hold, by the monotonic clock.
const MEMORY: Duration = Duration::from_secs(LIFE.as_secs() + 2 * SKEW.as_secs());
/// So many are remembered; more are refused.
const SPENT_MAX: usize = 65_536;

/// A ticket whose fields make sense; who signed it is judged apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tunnel) struct Ticket {
    pub(in crate::tunnel) from: NodeId,
    pub(in crate::tunnel) via: NodeId,
    pub(in crate::tunnel) to: NodeId,
    pub(in crate::tunnel) nonce: [u8; 16],
    pub(in crate::tunnel) issued: WallTime,
}

impl Ticket {
    /// Signed, as it travels.
    pub(in crate::tunnel) fn sign(&self, key: &SigningKey) -> ThroughStream {
        let ticket = RelayTicket {
            format: FORMAT,
            from: self.from.0,
            via: self.via.0,
            to: self.to.0,
            nonce: self.nonce.to_vec().into(),
            issued_ms: self.issued.0,
        };
        let ticket = ticket.encode_to_vec();
        let signature = key.sign(&signed(&ticket));
        ThroughStream {
            ticket: ticket.into(),
            signature: signature.to_vec().into(),
        }
    }

    /// Whether it is neither too old nor from too far ahead.
    pub(in crate::tunnel) fn is_fresh(&self, now: WallTime) -> bool {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let oldest = now.0.saturating_sub(millis(LIFE + SKEW));
        let newest = now.0.saturating_add(millis(SKEW));
        (oldest..=newest).contains(&self.issued.0)
    }
}

/// Reads what travelled; none if it is no ticket.
pub(in crate::tunnel) fn read(header: &ThroughStream) -> Option<Ticket> {
    let ticket = RelayTicket::decode(&*header.ticket).ok()?;
    if ticket.format != FORMAT {
        return None;
    }
    Some(Ticket {
        from: NodeId(ticket.from),
        via: NodeId(ticket.via),
        to: NodeId(ticket.to),
        nonce: ticket.nonce.as_ref().try_into().ok()?,
        issued: WallTime(ticket.issued_ms),
    })
}

/// Whether the bytes that travelled were signed with the private half of `key`.
pub(in crate::tunnel) fn is_signed(header: &ThroughStream, key: &PublicKey) -> bool {
    weft_identity::verify(key, &signed(&header.ticket), &header.signature)
}

fn signed(ticket: &[u8]) -> Vec<u8> {
    [CONTEXT, ticket].concat()
}

/// The tickets that have been used here.
#[derive(Debug, Default)]
pub(in crate::tunnel) struct Spent {
    seen: BTreeMap<(NodeId, [u8; 16]), Moment>,
}

impl Spent {
    /// Spends it; false if it was spent before, or too many are remembered.
    pub(in crate::tunnel) fn spend(&mut self, ticket: &Ticket, now: Moment) -> bool {
        self.seen.retain(|_, at| now.since(*at) < MEMORY);
        let key = (ticket.from, ticket.nonce);
        if self.seen.len() >= SPENT_MAX || self.seen.contains_key(&key) {
            return false;
        }
        self.seen.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            from: NodeId(1),
            via: NodeId(3),
            to: NodeId(2),
            nonce: [7; 16],
            issued: WallTime(1_000_000),
        }
    }

    #[test]
    fn a_ticket_survives_the_wire_and_no_changed_bit_does() {
        let key = SigningKey::from_seed([1; 32]);
        let header = ticket().sign(&key);
        assert_eq!(read(&header), Some(ticket()));
        assert!(is_signed(&header, &key.public()));
        assert!(!is_signed(
            &header,
            &SigningKey::from_seed([2; 32]).public()
        ));
        for bit in 0..header.ticket.len() * 8 {
            let mut bytes = header.ticket.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let forged = ThroughStream {
                ticket: bytes.into(),
                ..header.clone()
            };
            assert!(!is_signed(&forged, &key.public()), "bit {bit}");
        }
        // Without what goes before it, the signature is of something else.
        let bare = key.sign(&header.ticket).to_vec();
        let bare = ThroughStream {
            signature: bare.into(),
            ..header
        };
        assert!(!is_signed(&bare, &key.public()));
    }

    #[test]
    fn a_ticket_is_good_for_as_long_as_clocks_may_differ() {
        let check = |seconds: i64, expect: bool| {
            let now = WallTime(1_000_000_i64.saturating_add(seconds * 1000) as u64);
            assert_eq!(ticket().is_fresh(now), expect, "{seconds} s later");
        };
        check(0, true);
        check(330, true);
        check(331, false);
        check(-300, true);
        check(-301, false);
    }

    #[test]
    fn a_ticket_is_spent_once_for_as_long_as_it_could_hold() {
        let mut spent = Spent::default();
        let at = |seconds| Moment(Duration::from_secs(seconds));
        assert!(spent.spend(&ticket(), at(0)));
        assert!(!spent.spend(&ticket(), at(629)));
        let other = Ticket {
            nonce: [8; 16],
            ..ticket()
        };
        assert!(spent.spend(&other, at(629)));
        assert!(!other.is_fresh(WallTime(other.issued.0 + 631_000)));
        assert_eq!(spent.seen.len(), 2);
        assert!(spent.spend(&ticket(), at(631)), "it holds no longer anyway");
    }
}
