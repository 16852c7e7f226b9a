//! Limits of every HTTP connection, in one place.

use std::time::Duration;

use hyper::{client, server};
use hyper_util::rt::TokioTimer;

use super::LocalExec;

/// Most header fields of a head; more is 431.
const FIELDS_MAX: usize = 100;
/// Longest head, bytes; longer is 431. Also the most that is read ahead of a slow reader.
const HEAD_MAX: usize = 60 << 10;
/// Longest time for a head, and for a peer's handshake. Shorter frees connections of
/// slow clients sooner.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Most concurrent requests a peer may have on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// What one HTTP/2 stream may have under way: enough for 100 Mbit/s at 80 ms.
const STREAM_WINDOW: u32 = 1 << 20;
/// What one HTTP/2 connection may have under way: bounds memory for peers that do not read.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// What may wait to be written on one HTTP/2 stream.
const SEND_BUFFER: usize = 256 << 10;
/// Larger frames: fewer calls for bulk; a small response waits behind at most one.
const FRAME: u32 = 64 << 10;
/// A quiet connection is asked for a sign of life this often.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Without an answer in this time it counts as dead.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

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

pub(crate) fn server_h2() -> server::conn::http2::Builder<LocalExec> {
    let mut builder = server::conn::http2::Builder::new(LocalExec);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .enable_connect_protocol()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
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

pub(crate) fn client_h2() -> client::conn::http2::Builder<LocalExec> {
    let mut builder = client::conn::http2::Builder::new(LocalExec);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
