//! The thread `client-N`: one client's whole life. Heads are read, pages answered, and if the client
//! asks for a WebSocket it stays one until its end.
//!
//! Blocks in `read`. Whatever happens here, the others do not notice, and the end is orderly: what was
//! accepted is written, the peer's bytes are read to their end, then the socket goes.

use std::thread;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::http::request::Request;
use crate::http::response::{Response, Then};
use crate::http::router::Router;
use crate::metrics::DisconnectReason;
use crate::net::transport::Transport;
use crate::observer::Event;
use crate::server::accessed::{self, Asked};
use crate::server::application::{MakeFor, Route};
use crate::server::connection::Connection;
use crate::server::half_open::Wait;
use crate::server::registry::Registry;
#[cfg(feature = "tls")]
use crate::server::secure;
use crate::server::session::Session;
use crate::server::{answer, input, pages};
use crate::ws::handshake;

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
    let reason = serve(connection, routes, registry);
    connection.leave_topics();
    input::linger(connection);
    guard.deregister(match reason {
        _ if connection.state().is_stopping() => DisconnectReason::Shutdown,
        _ if connection.is_evicted() => DisconnectReason::Evicted,
        _ if connection.has_given_way() => DisconnectReason::GaveWay,
        reason => reason,
    });
}

/// Answers requests, and runs the WebSocket that one of them may become. Returns who ended it.
#[inline(never)]
fn serve(connection: &Connection, routes: &Router<Route>, registry: &Registry) -> DisconnectReason {
    let mut received = Vec::new();
    let mut deadline = input::head_deadline();
    #[cfg(feature = "tls")]
    if !secure::handshake(connection, deadline) {
        return DisconnectReason::Done;
    }
    let transport = &connection.link().transport;
    loop {
        match serve_one(connection, routes, registry, &mut received, deadline) {
            Next::Request => deadline = input::head_deadline(),
            Next::End => {
                transport.finish();
                return DisconnectReason::Done;
            }
            Next::Session(mut session) => {
                let reason = session.run(received);
                let failed = session.failed();
                session.close();
                connection.leave_topics();
                connection.outbox().wait_until_written();
                accessed::ended(connection, failed);
                // Not beside a Close of ours that waits for an answer: who gets both drops what it has to say. Without
                // a Close others may still write.
                if reason == DisconnectReason::Done && connection.outbox().state().is_closing() {
                    transport.finish();
                }
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
fn serve_one<'a>(
    connection: &'a Connection,
    routes: &Router<Route>,
    registry: &Registry,
    received: &mut Vec<u8>,
    deadline: Instant,
) -> Next<'a> {
    let (mut request, route) = match read_request(connection, routes, received, deadline) {
        Ok(Some(found)) => found,
        Ok(None) => return Next::End,
        Err(refusal) => return refuse(connection, None, &refusal),
    };
    let begun = connection.state().settings.access.begin();
    match route.and_then(|route| websocket_for(route, &request)) {
        Some(make) => match open(connection, registry, &request, make) {
            Ok(session) => Next::Session(session),
            Err(refusal) => refuse(connection, begun.map(|begun| (&*request, begun)), &refusal),
        },
        None => answer(connection, registry, route, &mut request, received, begun),
    }
}

/// Blocks until a request is here, and finds its route; `None` if the client left.
#[inline(never)]
fn read_request<'r>(
    connection: &Connection,
    routes: &'r Router<Route>,
    received: &mut Vec<u8>,
    deadline: Instant,
) -> Result<Option<(Box<Request>, Option<&'r Route>)>> {
    connection.begin_wait(Wait::ForInput);
    let Some(mut request) = input::read_head(connection, received, deadline)? else { return Ok(None) };
    // Whose request is here gets its answer; but see `answer`.
    connection.end_wait();
    input::check_evicted(connection)?;
    check_host(connection, &request)?;
    let Some(found) = routes.find(request.path()) else { return Ok(Some((request, None))) };
    let route = found.route;
    request.set_route(found.path, &found.arguments)?;
    Ok(Some((request, Some(route))))
}

/// Refuses a request for another server.
#[inline(never)]
fn check_host(connection: &Connection, request: &Request) -> Result<()> {
    if connection.state().settings.hosts.include(request.header("Host").as_deref()) {
        return Ok(());
    }
    Err(Error::refused(421, "421: Misdirected Request: this server has no such name"))
}

/// Returns the WebSocket of a route, if the request is for it: a GET, which says so where there is a page too.
fn websocket_for<'r>(route: &'r Route, request: &Request) -> Option<&'r MakeFor> {
    let asked = route.page.is_none() || request.has_token("Upgrade", "websocket");
    route.websocket.as_ref().filter(|_| request.method() == "GET" && asked)
}

/// Answers a request that is none for a WebSocket.
#[inline(never)]
fn answer<'a>(
    connection: &Connection,
    registry: &Registry,
    route: Option<&Route>,
    request: &mut Request,
    received: &mut Vec<u8>,
    begun: Option<Instant>,
) -> Next<'a> {
    let Some(response) = pages::answer(connection, route, request, received) else { return Next::End };
    // What follows a body that was not read to its end is no request. Beyond the clients there are places for requests,
    // but not to keep.
    let goes_on = request.keep_alive() && request.unread_body().is_none() && !registry.is_crowded();
    let then = if goes_on { Then::KeepAlive } else { Then::Close };
    respond(connection, begun.map(|begun| (&*request, begun)), Some(request), &response, then)
}

/// Writes a response; what follows is as it says, if it could be written.
fn respond<'a>(
    connection: &Connection,
    asked: Asked<'_>,
    request: Option<&Request>,
    response: &Response,
    then: Then,
) -> Next<'a> {
    let (written, bytes) = answer::write(connection, request, response, then);
    accessed::answered(connection, asked, response.status, bytes);
    match written {
        Ok(()) if then == Then::KeepAlive => Next::Request,
        _ => Next::End,
    }
}

/// Answers with an error, and ends.
#[inline(never)]
fn refuse<'a>(connection: &Connection, asked: Asked<'_>, error: &Error) -> Next<'a> {
    respond(connection, asked, None, &pages::refusal(connection, error), Then::Close)
}

/// Opens a WebSocket; an error is a refusal that has not been sent.
#[inline(never)]
fn open<'a>(
    connection: &'a Connection,
    registry: &Registry,
    request: &Request,
    make: &MakeFor,
) -> Result<Session<'a>> {
    // Here, so that its stack is not on top of what the session needs.
    let upgrade = handshake::accept(request)?;
    registry.upgrade(connection, request.peer_addr())?;
    connection.set_request(request.path(), request.peer_addr());
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
