//! The thread `client-N`: one client's whole life. Heads are read, pages answered, and if the client
//! asks for a WebSocket it stays one until its end.
//!
//! Blocks in `read`. Whatever happens here, the others do not notice, and the end is orderly: what was
//! accepted is written, the peer's bytes are read to their end, then the socket goes.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::http::exchange::Exchange;
use crate::http::request::Request;
use crate::http::response::{Response, Then};
use crate::http::router::Router;
use crate::metrics::DisconnectReason;
use crate::net::closer::CLOSE_GRACE;
use crate::net::transport::Transport;
use crate::observer::Event;
use crate::server::answer;
use crate::server::application::{MakeFor, Route};
use crate::server::connection::Connection;
use crate::server::registry::Registry;
use crate::server::session::{Session, guarded};
use crate::ws::handshake;

/// How long a request head may take from the accept, or from the response before it, to its end, whatever
/// the rate of its bytes.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes received at a time while a head is read. More than the 1 KiB that glibc's allocator keeps for each
/// thread when they are freed.
const HEAD_READ: usize = 2048;

/// What follows a request.
enum Next<'a> {
    /// Another one, on the same connection.
    Request,
    /// A WebSocket.
    Session(Session<'a>),
    /// The end.
    End,
}

/// Serves one client until it is gone.
pub(crate) fn run(connection: &Connection, routes: &Router<Route>, registry: &Registry) {
    let guard = ClientGuard { connection, registry };
    connection.state().counters.accepted.add(1);
    let reason = serve(connection, routes);
    connection.leave_topics();
    linger(connection);
    guard.deregister(if connection.state().is_stopping() { DisconnectReason::Shutdown } else { reason });
}

/// Answers requests, and runs the WebSocket that one of them may become. Returns who ended it.
#[inline(never)]
fn serve(connection: &Connection, routes: &Router<Route>) -> DisconnectReason {
    let mut received = Vec::new();
    loop {
        match serve_one(connection, routes, &mut received) {
            Next::Request => {}
            Next::End => return DisconnectReason::Done,
            Next::Session(mut session) => {
                let reason = session.run(received);
                session.close();
                connection.leave_topics();
                connection.outbox().wait_until_written();
                return reason;
            }
        }
    }
}

/// Reads one request and answers it. `received` is what has come in and is not used yet.
///
/// This and what it calls is not inlined, and gone when the session begins: an idle client keeps neither
/// its request nor the stack pages that the handshake would need on top of the read loop's.
#[inline(never)]
fn serve_one<'a>(connection: &'a Connection, routes: &Router<Route>, received: &mut Vec<u8>) -> Next<'a> {
    connection.set_evictable(true);
    let request = match read_head(connection, received) {
        Ok(Some(request)) => request,
        Ok(None) => return Next::End,
        Err(refusal) => return refuse(connection, &refusal),
    };
    // Whose request is here gets its answer, or a 503; but see `answer`.
    connection.set_evictable(false);
    match routes.find(request.path()) {
        Some((Route::WebSocket(make), _)) if request.method() == "GET" => {
            match open(connection, &request, make) {
                Ok(session) => Next::Session(session),
                Err(refusal) => refuse(connection, &refusal),
            }
        }
        _ => answer(connection, routes, &request),
    }
}

/// Blocks until a whole head is here; `None` if the client left, or took too long.
#[inline(never)]
fn read_head(connection: &Connection, received: &mut Vec<u8>) -> Result<Option<Request>> {
    let deadline = Instant::now() + HEAD_DEADLINE;
    loop {
        if let Some((mut request, length)) = Request::parse(received, connection.link().peer)? {
            request.trust(&connection.state().settings.proxies);
            received.drain(..length);
            return Ok(Some(request));
        }
        // On the heap, and given back: a page of stack that was touched once stays with the thread.
        let have = received.len();
        received.resize(have + HEAD_READ, 0);
        match recv_before(connection, &mut received[have..], deadline) {
            Ok(0) | Err(_) => return Ok(None),
            Ok(length) => received.truncate(have + length),
        }
    }
}

/// Answers a request that is none for a WebSocket.
#[inline(never)]
fn answer<'a>(connection: &Connection, routes: &Router<Route>, request: &Request) -> Next<'a> {
    let response = page(connection, routes, request).with_etag(request);
    let then = if request.keep_alive() { Then::KeepAlive } else { Then::Close };
    respond(connection, Some(request), &response, then)
}

/// Writes a response; what follows is as it says, if it could be written.
fn respond<'a>(
    connection: &Connection,
    request: Option<&Request>,
    response: &Response,
    then: Then,
) -> Next<'a> {
    match answer::write(connection, request, response, then) {
        Ok(()) if then == Then::KeepAlive => Next::Request,
        _ => Next::End,
    }
}

fn page(connection: &Connection, routes: &Router<Route>, request: &Request) -> Response {
    let Some((route, rest)) = routes.find(request.path()) else {
        return Response::refusal(404, "404: Not Found");
    };
    let allowed = match route {
        Route::WebSocket(_) => "GET",
        Route::Page(_) | Route::Static(_) => "GET, HEAD",
    };
    if !allowed.split(", ").any(|method| method == request.method()) {
        return Response::refusal(405, "405: Method Not Allowed").with("Allow", allowed);
    }
    let mut exchange = Exchange::new(request, &connection.state().settings.cookies);
    let result = match route {
        Route::Page(make) => {
            let got = guarded(connection, "get", || {
                let got = make().get(&mut exchange);
                exchange.keep_headers(got)
            });
            got.unwrap_or_else(|panicked| Err(panicked.into()))
        }
        Route::Static(files) => exchange.render(files, rest),
        Route::WebSocket(_) => unreachable!("GET of a WebSocket route is answered by its handshake"),
    };
    match result {
        Ok(()) => exchange.response,
        Err(error) => refusal(connection, &error),
    }
}

/// Answers with an error, and ends.
#[inline(never)]
fn refuse<'a>(connection: &Connection, error: &Error) -> Next<'a> {
    respond(connection, None, &refusal(connection, error), Then::Close)
}

/// The response to an error, which is logged as such unless it is the client's own fault.
fn refusal(connection: &Connection, error: &Error) -> Response {
    match error {
        Error::Refused { .. } => log::debug!(target: crate::LOG, "{connection}: {error}"),
        _ => log::error!(target: crate::LOG, "{connection}: the handler failed: {error}"),
    }
    Response::from_error(error)
}

/// Opens a WebSocket; an error is a refusal that has not been sent.
fn open<'a>(connection: &'a Connection, request: &Request, make: &MakeFor) -> Result<Session<'a>> {
    connection.set_request(request.path(), request.peer_addr());
    // Here, so that its stack is not on top of what the session needs.
    let upgrade = handshake::accept(request)?;
    let (session, head) = Session::open(make, connection, request, upgrade)?;
    let transport = &connection.link().transport;
    // A socket that takes none of these is gone; then the first read says so.
    let _ = transport.set_nodelay(true);
    let _ = transport.set_recv_timeout(connection.state().settings.ping_interval);
    let _ = connection.outbox().begin(head.into());
    if connection.state().observer.is_watching() {
        connection.report(Event::Opened(request.target().to_owned()));
    }
    Ok(session)
}

/// All is written; the peer's bytes are read to their end, since closing a socket with unread input makes
/// the kernel send RST, and the peer would lose what is still on its way to it.
#[inline(never)]
fn linger(connection: &Connection) {
    connection.link().transport.shutdown(Shutdown::Write);
    let deadline = Instant::now() + CLOSE_GRACE;
    let mut bytes = vec![0; HEAD_READ];
    while matches!(recv_before(connection, &mut bytes, deadline), Ok(received) if received > 0) {}
}

/// Receives once, and no longer than until the deadline.
fn recv_before(connection: &Connection, bytes: &mut [u8], deadline: Instant) -> io::Result<usize> {
    let transport = &connection.link().transport;
    connection.report(Event::Reads);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        transport.set_recv_timeout(Some(left))?;
        match transport.recv(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => {
                connection.report(Event::Wakes);
                return result;
            }
        }
    }
}

/// Takes a client out of the registry, whose thread is about to end.
struct ClientGuard<'a> {
    connection: &'a Connection,
    registry: &'a Registry,
}

impl ClientGuard<'_> {
    #[inline(never)]
    fn deregister(&self, reason: DisconnectReason) {
        self.connection.leave_topics();
        self.connection.outbox().kill(reason);
        self.connection.link().join_pump();
        self.connection.report(Event::Gone);
        self.registry.remove(self.connection);
    }
}

impl Drop for ClientGuard<'_> {
    fn drop(&mut self) {
        // A handler's panic is caught: this one is ours.
        if thread::panicking() {
            self.deregister(DisconnectReason::Panicked);
        }
    }
}
