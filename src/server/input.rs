//! The reads of `client-N` outside of a WebSocket: heads, bodies, and bytes after the end.
//!
//! Blocks in `read`, each time until a deadline. Its buffers are on the heap, and freed: a touched page of stack stays
//! with the thread, and an idle client keeps nothing of a request.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::connection::Connection;
use crate::connection::timed_io::{Deadline, discard_until, recv_before};
use crate::error::{Error, Result, is_timeout, uninterrupted};
use crate::http::request::Request;
use crate::http::request_body::{BodyDecoder, Pace};
use crate::net::buffers::{Held, HoldError};
use crate::net::closer::CLOSE_GRACE;
use crate::net::seal::Seal;
use crate::printable::printable;
use crate::server::client::{Client, Stage};
use crate::server::half_open::Wait;
use crate::server::rejection::Rejection;

/// How long a request head may take from the accept, TLS included, or from the response before it, to its end, whatever
/// the rate of its bytes.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes per receive while it reads a head. More than the 1 KiB that glibc's allocator keeps for each thread when they
/// are freed.
const HEAD_READ: usize = 2048;
/// Bytes per receive while it reads a body.
const BODY_READ: usize = 16 << 10;
/// How long a client that gave way lingers, how long after the last bytes, and how often its thread looks.
const SHUT_LINGER: Duration = Duration::from_secs(1);
const SHUT_QUIET: Duration = Duration::from_millis(250);
const SHUT_STEP: Duration = Duration::from_millis(10);
/// `Retry-After` of a 503, in seconds, if the server lacks room for a client or its body.
pub(crate) const RETRY_AFTER: &str = "5";
/// The reason, in the log and in the client's response.
const TOO_SLOW: &str = "The body came too slowly.";
/// Asks for the body of a client that waits with it.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Returns the deadline of a head that begins now.
pub(crate) fn head_deadline() -> Deadline {
    Deadline::within(HEAD_DEADLINE, "the head did not come in time")
}

/// Blocks until a whole head has arrived; `None` if the client left, or took too long. `relayed` is the client that a
/// PROXY header has named.
#[inline(never)]
pub(crate) fn read_head(
    client: &Client,
    received: &mut Vec<u8>,
    deadline: Deadline,
    relayed: Option<SocketAddr>,
) -> Result<Option<Box<Request>>> {
    loop {
        let link = client.connection.link();
        if let Some((mut request, length)) = Request::parse(received, link.peer)? {
            if link.transport.is_secure() {
                request.set_secure();
            }
            relayed.inspect(|client| request.set_relayed(*client));
            request.trust(&client.server.settings.proxies);
            received.drain(..length);
            return Ok(Some(request));
        }
        let have = received.len();
        received.resize(have + HEAD_READ, 0);
        match receive(client, &mut received[have..], deadline) {
            Ok(0) => return check_evicted(client).map(|()| None),
            Ok(length) => {
                client.set_stage(Stage::Asking);
                received.truncate(have + length);
            }
            Err(error) => return Ok(lost(client, &error)),
        }
    }
}

/// Refuses the request of a client that makes room for another one. Without this the client would get no answer.
#[cold]
#[inline(never)]
pub(crate) fn check_evicted(client: &Client) -> Result<()> {
    if !client.is_evicted() {
        return Ok(());
    }
    Err(Rejection::Full { most: client.server.max_clients }.to_error())
}

/// Logs it, unless the client was only silent. Not inlined: it has no room on the stack below a read.
#[cold]
#[inline(never)]
fn lost<T>(client: &Client, error: &io::Error) -> Option<T> {
    if error.kind() == ErrorKind::InvalidData {
        log::debug!("{}: lost: {}", client.connection, printable(error));
    }
    None
}

/// Blocks until the body of a request has arrived, if it has one, and returns its share of the buffers; `None` if the
/// client left. The error is a refusal, after which the connection cannot carry another request. `received` keeps the
/// bytes behind the body.
#[inline(never)]
pub(crate) fn read_body(
    client: &Client,
    request: &mut Request,
    received: &mut Vec<u8>,
) -> Result<Option<Held>> {
    let connection = &client.connection;
    let mut held = Held::new(&connection.state().buffers);
    let Some(framing) = request.unread_body() else { return Ok(Some(held)) };
    request.check_media_type()?;
    let mut decoder = BodyDecoder::new(framing, client.server.settings.max_body)?;
    if request.expects_continue() && !send_continue(client) {
        return Ok(None);
    }
    // A body that does not arrive must not keep other clients out, just as a head must not.
    client.begin_wait(Wait::ForInput);
    let mut pace = Pace::begin(Instant::now());
    loop {
        let taken = decoder.take(received)?;
        received.drain(..taken);
        let grown = held.grow_to(decoder.len() as u64, connection.outbox());
        grown.map_err(|error| no_room(client, error))?;
        if decoder.is_done() {
            break;
        }
        received.resize(BODY_READ, 0);
        match receive(client, received, Deadline { at: pace.deadline(), what: TOO_SLOW }) {
            Ok(0) if connection.link().has_given_way() => return Err(no_room(client, HoldError::GiveWay)),
            Ok(0) => return check_evicted(client).map(|()| None),
            Ok(length) => {
                received.truncate(length);
                pace.took(length, Instant::now());
            }
            Err(error) if is_timeout(&error) => return Err(Error::refused(408, TOO_SLOW)),
            Err(_) => return Ok(None),
        }
    }
    if !held.settle() {
        return Err(no_room(client, HoldError::GiveWay));
    }
    received.shrink_to_fit();
    client.end_wait();
    request.set_body(decoder.into_body());
    Ok(Some(held))
}

/// Refuses a body because the buffers are full.
#[cold]
#[inline(never)]
fn no_room(client: &Client, error: HoldError) -> Error {
    let refusal = match error {
        HoldError::Full => Error::refused(503, "503: No room for this body, try again later"),
        HoldError::GiveWay => {
            client.connection.link().set_given_way();
            Error::refused(413, "413: No room for all of this body, try again later")
        }
    };
    refusal.with_header("Retry-After", RETRY_AFTER)
}

/// Asks for the body. `false` if the client reads nothing.
fn send_continue(client: &Client) -> bool {
    let transport = &client.connection.link().transport;
    let Ok(line) = transport.seal_all(CONTINUE) else { return false };
    // A full socket refuses even this short line: its client has left answers unread.
    uninterrupted(|| transport.send(&line)).is_ok_and(|sent| sent == line.len())
}

/// Reads the peer's bytes to their end, without decryption, when everything is written. Closing a socket with unread
/// input makes the kernel send RST, and the peer would lose data that is still on its way.
#[inline(never)]
pub(crate) fn linger(client: &Client) {
    let connection = &client.connection;
    if connection.link().has_given_way() {
        linger_shut(connection);
    }
    connection.link().tcp().shutdown(Shutdown::Write);
    let is_websocket = connection.link().is_websocket();
    if !is_websocket {
        client.begin_wait(Wait::ForInput);
    }
    if is_websocket || !client.is_evicted() {
        let read = discard_until(connection, Deadline::within(CLOSE_GRACE, "its end did not come in time"));
        let _ = read.inspect_err(|error| note_reset(client, error));
    }
}

/// Lingers for a client that gave way, before the end of its TCP stream. Its socket is shut for reading, so the kernel
/// resets a peer that sends more, and the thread cannot wait for bytes.
#[cold]
#[inline(never)]
fn linger_shut(connection: &Connection) {
    connection.state().trouble().warn_of(
        "incomplete messages and bodies fill their share of the memory",
        &"closing the client that holds the most",
        connection,
    );
    let (begun, mut bytes) = (Instant::now(), vec![0; BODY_READ]);
    let mut heard = begun;
    while begun.elapsed() < SHUT_LINGER && heard.elapsed() < SHUT_QUIET {
        match uninterrupted(|| connection.link().tcp().recv(&mut bytes)) {
            Ok(0) => thread::sleep(SHUT_STEP),
            Ok(_) => heard = Instant::now(),
            Err(_) => return,
        }
    }
}

/// Receives once, and blocks at most until the deadline.
pub(crate) fn receive(client: &Client, bytes: &mut [u8], deadline: Deadline) -> io::Result<usize> {
    recv_before(&client.connection, bytes, deadline).inspect_err(|error| note_reset(client, error))
}

/// The server remembers a client that has reset for a while.
fn note_reset(client: &Client, error: &io::Error) {
    if error.kind() == ErrorKind::ConnectionReset {
        client.set_reset();
    }
}
