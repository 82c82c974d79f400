//! TLS on `client-N`: `client-N` sends and receives the handshake's bytes, `tls-N` does the arithmetic.
//!
//! Blocks in `read`, until the deadline of the first head. Its buffers are on the heap, as in [`input`].

use std::time::Duration;

use crate::connection::connection::Connection;
use crate::connection::timed_io::{Deadline, send_before};
use crate::http::response::{Response, Then};
use crate::net::maybe_tls::MaybeTls;
use crate::net::tls::duplex::TlsStream;
use crate::net::tls::threads::{FULL, TlsHandshakes, TlsProgress};
use crate::printable::printable;
use crate::server::client::Client;
use crate::server::input;

/// Bytes per receive.
const READ: usize = 2048;
/// Most bytes of an incomplete message before the server answers: a whole TLS record. A hello has 2 KiB, and the
/// capacity counts 16 for TLS; rustls alone would accept 64.
const MAX_FLIGHT: usize = 16 << 10;

/// How long sending the alert to an evicted client may take. It fits into the empty buffer of a new socket.
const EVICTED_SEND: Duration = Duration::from_millis(10);

/// Blocks until the handshake is done, if the server uses TLS. False if it has failed, or the client has left; the
/// client already knows why.
#[inline(never)]
pub(crate) fn begin_tls(client: &Client, deadline: Deadline) -> bool {
    let connection = &client.connection;
    let (Some(handshakes), MaybeTls::Tls(tls)) =
        (&client.server.tls_handshakes, &connection.link().transport)
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
fn exchange_flights(
    client: &Client,
    handshakes: &TlsHandshakes,
    tls: &TlsStream,
    deadline: Deadline,
) -> bool {
    let connection = &client.connection;
    let mut handshake = handshakes.begin();
    let (mut is_first, mut flight) = (true, 0);
    loop {
        let mut received = vec![0; READ];
        match input::receive(client, &mut received, deadline) {
            Ok(0) if is_first && client.is_evicted() => {
                // The answer of a full server, because the client has received nothing yet.
                let _ = send_before(
                    connection,
                    &FULL,
                    Deadline::within(EVICTED_SEND, "it does not take the alert"),
                );
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
        let Some(step) = handshakes.step(handshake, received, deadline.at) else { return false };
        if send_before(connection, &step.to_send, deadline).is_err() {
            return false;
        }
        if !step.to_send.is_empty() {
            flight = 0;
        }
        match step.progress {
            TlsProgress::Continues(_) if flight > MAX_FLIGHT => {
                log::debug!("{connection}: no TLS: more than {MAX_FLIGHT} bytes without an end");
                return false;
            }
            TlsProgress::Continues(next) => handshake = next,
            TlsProgress::Done(done) => {
                tls.begin(done);
                return true;
            }
            TlsProgress::Failed(why) => {
                log::debug!("{connection}: no TLS: {}", printable(why));
                return false;
            }
        }
    }
}

/// Answers an unencrypted request: no record begins with the letter of a method.
#[inline(never)]
fn refuse_plain(connection: &Connection, deadline: Deadline) {
    log::debug!("{connection}: no TLS: a request in plain text");
    let response = Response::refusal(400, "400: This port speaks TLS: use https:// or wss://");
    let head = response.head(Then::Close).unwrap_or_default();
    // A failed write does not matter.
    let _ = response.write_to(head, None, |bytes| send_before(connection, bytes, deadline));
}
