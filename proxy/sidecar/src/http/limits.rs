//! Limits of every HTTP connection, in one place.

use std::time::Duration;

use http::HeaderMap;
use hyper::{client, server};

/// Most header fields of a head; more is 431.
const FIELDS_MAX: usize = 100;
/// Fields that one sidecar may add for the next.
const OWN_FIELDS: usize = 12;
/// Longest head, bytes; longer is 431. Also the most that is read ahead of a slow reader.
const HEAD_MAX: usize = 60 << 10;
/// Longest time for a head, and for a peer's handshake. Shorter frees connections of
/// slow clients sooner.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Most concurrent requests a peer may have on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Requests that may be sent before the peer has said how many it takes (RFC 9113 §6.5.2
/// advises peers to take as many).
const FIRST_STREAMS_MAX: usize = 100;
/// What one HTTP/2 stream may have under way: enough for 50 Mbit/s at 80 ms.
const STREAM_WINDOW: u32 = 512 << 10;
/// What one HTTP/2 connection may have under way: as much as all its streams, so
/// that those whose readers pause never hold up the others. Memory is taken by what
/// is not read yet alone.
const CONNECTION_WINDOW: u32 = STREAMS_MAX * STREAM_WINDOW;
/// What may wait to be written on one HTTP/2 stream.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that a client may reset before they were looked at; more ends its connection.
const EARLY_RESETS_MAX: usize = 20;
/// Streams that a client may have us reset by breaking the protocol; more ends its
/// connection.
const BROKEN_MAX: usize = 100;
/// What HPACK may remember of a peer's fields, bytes (the protocol's default).
const TABLE: u32 = 4 << 10;
/// Larger frames: fewer calls for bulk; a small response waits behind at most one.
const FRAME: u32 = 64 << 10;
/// A peer is asked for a sign of life this often, by a client while it waits for something.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Without an answer in this time it counts as dead. The question waits behind what is
/// under way, some 4 MiB of socket buffers and tunnel windows: longer spares slow paths,
/// down to half a megabit per second, shorter finds a host sooner that died without a word.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether a request's head has few enough fields. A crumb of a cookie is a field:
/// each costs memory, however short it is. HTTP/1 heads are counted by hyper.
pub(crate) fn fits(headers: &HeaderMap) -> bool {
    headers.len() <= FIELDS_MAX + OWN_FIELDS
}

pub(crate) fn server_h1() -> server::conn::http1::Builder {
    let mut builder = server::conn::http1::Builder::new();
    builder
        .header_read_timeout(None)
        // A client may end its side after the request and wait for the answer.
        .half_close(true)
        .max_headers(FIELDS_MAX)
        .max_header_size(HEAD_MAX)
        .max_buf_size(HEAD_MAX);
    // Not `pipeline_flush`: it keeps answers back while unread bytes wait, also
    // the last ones before a tunnel or a refusal's close.
    builder
}

pub(super) fn http2_server() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(EARLY_RESETS_MAX)
        .max_local_error_reset_streams(Some(BROKEN_MAX))
        .header_table_size(TABLE)
        .enable_connect_protocol()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
        .max_frame_size(FRAME)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

pub(crate) fn client_h1() -> client::conn::http1::Builder {
    let mut builder = client::conn::http1::Builder::new();
    builder
        .max_headers(FIELDS_MAX)
        .max_header_size(HEAD_MAX)
        .max_buf_size(HEAD_MAX);
    builder
}

pub(super) fn http2_client() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(FIRST_STREAMS_MAX)
        .max_local_error_reset_streams(Some(BROKEN_MAX))
        .header_table_size(TABLE)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
        .max_frame_size(FRAME)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}
