//! What `client-N` reads before there is a WebSocket: heads, bodies, and what comes after the end.
//!
//! Blocks in `read`, each time until a deadline. What it reads into is on the heap, and given back: a page of
//! stack that was touched once stays with the thread, and an idle client keeps nothing of a request.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::connection::Connection;
use crate::connection::timed_io::{discard_until, recv_before};
use crate::error::{Error, Result};
use crate::http::request::Request;
use crate::http::request_body::{BodyDecoder, Pace};
use crate::net::buffers::{Held, HoldError};
use crate::net::closer::CLOSE_GRACE;
use crate::net::transport::Transport;
use crate::printable::printable;
use crate::server::client::{Client, Stage};
use crate::server::half_open::Wait;
use crate::server::rejection::Rejection;

/// How long a request head may take from the accept, TLS included, or from the response before it, to its end, whatever
/// the rate of its bytes.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes received at a time while a head is read. More than the 1 KiB that glibc's allocator keeps for each
/// thread when they are freed.
const HEAD_READ: usize = 2048;
/// Bytes received at a time while a body is read.
const BODY_READ: usize = 16 << 10;
/// How long those linger that gave way, how long after the last bytes, and how often they look.
const SHUT_LINGER: Duration = Duration::from_secs(1);
const SHUT_QUIET: Duration = Duration::from_millis(250);
const SHUT_STEP: Duration = Duration::from_millis(10);
/// `Retry-After` of a 503, in seconds: for want of room for a client, or for its body.
pub(crate) const RETRY_AFTER: &str = "5";
/// Asks for the body of a client that waits with it.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Returns when a head that begins now has to be here.
pub(crate) fn head_deadline() -> Instant {
    Instant::now() + HEAD_DEADLINE
}

/// Blocks until a whole head is here; `None` if the client left, or took too long. The request is on the heap: it
/// lies below the stack of all that answers it.
#[inline(never)]
pub(crate) fn read_head(
    client: &Client,
    received: &mut Vec<u8>,
    deadline: Instant,
) -> Result<Option<Box<Request>>> {
    loop {
        let link = client.connection.link();
        if let Some((mut request, length)) = Request::parse(received, link.peer)? {
            if link.transport.is_secure() {
                request.set_secure();
            }
            request.trust(&client.server.settings.proxies);
            received.drain(..length);
            return Ok(Some(Box::new(request)));
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

/// Refuses what a client has asked for that makes room for another one. Without this it would be cut without a word.
#[cold]
#[inline(never)]
pub(crate) fn check_evicted(client: &Client) -> Result<()> {
    if !client.is_evicted() {
        return Ok(());
    }
    Err(Rejection::Full { most: client.server.max_clients }.to_error())
}

/// Says so in the log, unless the client was only silent. Not inlined: it has no room on the stack below a read.
#[cold]
#[inline(never)]
fn lost<T>(client: &Client, error: &io::Error) -> Option<T> {
    if error.kind() == ErrorKind::InvalidData {
        log::debug!(target: crate::LOG, "{}: lost: {}", client.connection, printable(error));
    }
    None
}

/// Blocks until the body of a request is here, if it has one, and returns what it holds; `None` if the client
/// left. The error is a refusal, behind which nothing can be read as a request. `received` is left with what
/// came behind the body.
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
    // A body that does not come must not keep others out, as a head does not.
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
        match receive(client, received, pace.deadline()) {
            Ok(0) if connection.has_given_way() => return Err(no_room(client, HoldError::GiveWay)),
            Ok(0) => return check_evicted(client).map(|()| None),
            Ok(length) => {
                received.truncate(length);
                pace.took(length, Instant::now());
            }
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                return Err(Error::refused(408, "The body came too slowly."));
            }
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

/// Refuses a body for want of room.
#[cold]
#[inline(never)]
fn no_room(client: &Client, error: HoldError) -> Error {
    let refusal = match error {
        HoldError::Full => Error::refused(503, "503: No room for this body, try again later"),
        HoldError::GiveWay => {
            client.connection.set_given_way();
            Error::refused(413, "413: No room for all of this body, try again later")
        }
    };
    refusal.with_header("Retry-After", RETRY_AFTER)
}

/// Asks for the body. `false` if the client takes nothing.
fn send_continue(client: &Client) -> bool {
    let transport = &client.connection.link().transport;
    let Ok(line) = transport.seal_all(CONTINUE) else { return false };
    loop {
        match transport.send(&line) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A socket that is full takes no part of so short a line: its client has left answers unread.
            result => return matches!(result, Ok(sent) if sent == line.len()),
        }
    }
}

/// All is written; the peer's bytes are read to their end, since closing a socket with unread input makes
/// the kernel send RST, and the peer would lose what is still on its way to it. Nobody decrypts them.
#[inline(never)]
pub(crate) fn linger(client: &Client) {
    let connection = &client.connection;
    if connection.has_given_way() {
        linger_shut(connection);
    }
    connection.link().transport.shutdown(Shutdown::Write);
    let is_websocket = connection.is_websocket();
    if !is_websocket {
        client.begin_wait(Wait::ForInput);
    }
    if is_websocket || !client.is_evicted() {
        let read = discard_until(connection, Instant::now() + CLOSE_GRACE);
        let _ = read.inspect_err(|error| note_reset(client, error));
    }
}

/// Does so for one that gave way, before it is told that nothing follows: its socket is shut for reading, and then the
/// kernel resets what sends more. Whose socket is shut cannot wait for bytes.
#[cold]
#[inline(never)]
fn linger_shut(connection: &Connection) {
    connection.state().trouble().warn_of(
        "messages and bodies that are not whole leave no room for others",
        &"who holds most has to give way",
        connection,
    );
    let (begun, mut bytes) = (Instant::now(), vec![0; BODY_READ]);
    let mut heard = begun;
    while begun.elapsed() < SHUT_LINGER && heard.elapsed() < SHUT_QUIET {
        match connection.link().transport.tcp().recv(&mut bytes) {
            Ok(0) => thread::sleep(SHUT_STEP),
            Ok(_) => heard = Instant::now(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Receives once, and no longer than until the deadline.
pub(crate) fn receive(client: &Client, bytes: &mut [u8], deadline: Instant) -> io::Result<usize> {
    recv_before(&client.connection, bytes, deadline).inspect_err(|error| note_reset(client, error))
}

/// A client that has reset is remembered for a while.
fn note_reset(client: &Client, error: &io::Error) {
    if error.kind() == ErrorKind::ConnectionReset {
        client.set_reset();
    }
}
