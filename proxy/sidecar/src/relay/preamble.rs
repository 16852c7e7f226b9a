//! The first frame on a relayed connection, in the layout of docs/architecture.md.

use aws_lc_rs::hmac;
use prost::Message;
use weft_proto::peer::{RelayStream, relay_stream};

use super::RelaySession;
use crate::inner::RemoteTarget;

/// Builds a preamble: u16 length of the rest, then
/// `session(16) ‖ counter(8) ‖ RelayStream` and the HMAC-SHA-256 of these under
/// the session's key. Each is good for one connection.
pub(super) fn preamble(session: &RelaySession, target: RemoteTarget<'_>) -> Vec<u8> {
    let stream = RelayStream {
        target: Some(relay_stream::Target::Endpoint(
            target.endpoint().0.to_vec().into(),
        )),
        port: u32::from(target.port.get()),
        priority: 0,
        hops: 0,
    };
    let mut signed = Vec::with_capacity(64);
    signed.extend(session.session().0);
    signed.extend(session.next_counter().to_be_bytes());
    signed.extend(stream.encode_to_vec());
    let tag = hmac::sign(session.key(), &signed);
    let length = u16::try_from(signed.len() + tag.as_ref().len())
        .expect("an endpoint id and three numbers are short");
    let mut frame = Vec::with_capacity(2 + usize::from(length));
    frame.extend(length.to_be_bytes());
    frame.extend(&signed);
    frame.extend(tag.as_ref());
    frame
}
