//! TLS on `client-N`: the handshake's bytes go to and fro here, its arithmetic is done on `tls-N`.
//!
//! Blocks in `read`, until the deadline that the first head has as well. What it reads into is on the heap, as in
//! [`input`].

use std::time::{Duration, Instant};

use crate::connection::connection::Connection;
use crate::connection::timed_io::send_before;
use crate::http::response::{Response, Then};
use crate::net::maybe_tls::MaybeTls;
use crate::net::tls::duplex::TlsStream;
use crate::net::tls::handshake::{FULL, HandshakeProgress, Handshakes};
use crate::printable::printable;
use crate::server::client::Client;
use crate::server::input;

/// Bytes received at a time.
const READ: usize = 2048;
/// Most bytes of a client that wait for their end before the server answers: a whole TLS record. A hello has 2 KiB, and
/// 16 are what the capacity counts for TLS; rustls alone would keep one of 64.
const MAX_FLIGHT: usize = 16 << 10;

/// How long a client that is evicted may take for the alert, which fits into the empty buffer of a new socket.
const EVICTED_SEND: Duration = Duration::from_millis(10);

/// Blocks until the handshake is done, if there is to be one. False if it has failed, or the client has left: then it
/// knows why.
#[inline(never)]
pub(crate) fn handshake(client: &Client, deadline: Instant) -> bool {
    let connection = &client.connection;
    let (Some(handshakes), MaybeTls::Tls(tls)) = (&client.server.handshakes, &connection.link().transport)
    else {
        return true;
    };
    let is_done = exchange_flights(client, handshakes, tls, deadline);
    let counters = &connection.state().counters;
    if is_done { &counters.tls_handshakes } else { &counters.tls_handshakes_failed }.add(1);
    is_done
}

/// Does the handshake; see above.
#[inline(never)]
fn exchange_flights(client: &Client, handshakes: &Handshakes, tls: &TlsStream, deadline: Instant) -> bool {
    let connection = &client.connection;
    let mut handshake = handshakes.begin();
    let (mut is_first, mut flight) = (true, 0);
    loop {
        let mut received = vec![0; READ];
        match input::receive(client, &mut received, deadline) {
            Ok(0) if is_first && client.is_evicted() => {
                // As from a full server, where it has not heard anything else yet.
                let _ = send_before(connection, &FULL, Instant::now() + EVICTED_SEND);
                return false;
            }
            Ok(0) | Err(_) => return false,
            Ok(length) => received.truncate(length),
        }
        if is_first && received[0].is_ascii_uppercase() {
            refuse_plain(connection, deadline);
            return false;
        }
        is_first = false;
        flight += received.len();
        let Some(step) = handshakes.step(handshake, received, deadline) else { return false };
        if send_before(connection, &step.to_send, deadline).is_err() {
            return false;
        }
        if !step.to_send.is_empty() {
            flight = 0;
        }
        match step.progress {
            HandshakeProgress::Continues(_) if flight > MAX_FLIGHT => {
                log::debug!(target: crate::LOG, "{connection}: no TLS: more than {MAX_FLIGHT} bytes without an end");
                return false;
            }
            HandshakeProgress::Continues(next) => handshake = next,
            HandshakeProgress::Done(done) => {
                tls.begin(done);
                return true;
            }
            HandshakeProgress::Failed(why) => {
                log::debug!(target: crate::LOG, "{connection}: no TLS: {}", printable(why));
                return false;
            }
        }
    }
}

/// Answers a request that is not encrypted: no record begins with the letter of a method.
#[inline(never)]
fn refuse_plain(connection: &Connection, deadline: Instant) {
    log::debug!(target: crate::LOG, "{connection}: no TLS: a request in plain text");
    let response = Response::refusal(400, "400: This port speaks TLS: ask with https:// or wss://");
    let head = response.head(Then::Close).unwrap_or_default();
    // Who does not take it, does not.
    let _ = response.write_to(head, None, |bytes| send_before(connection, bytes, deadline));
}
