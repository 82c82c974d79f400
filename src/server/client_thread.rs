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
use crate::server::application::{MakeFor, Route};
use crate::server::client::{Client, Stage};
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
pub(crate) fn run(client: &Client, routes: &Router<Route>, registry: &Registry) {
    let guard = ClientGuard { client, registry };
    let connection = &client.connection;
    connection.state().counters.accepted.add(1);
    let reason = serve(client, routes, registry);
    connection.leave_topics();
    client.set_stage(Stage::Lingering);
    if client.server.is_stopping() && !connection.is_websocket() {
        registry.has_answered();
    }
    input::linger(client);
    guard.deregister(match reason {
        _ if client.server.is_stopping() => DisconnectReason::Shutdown,
        _ if client.is_evicted() => DisconnectReason::Evicted,
        _ if connection.has_given_way() => DisconnectReason::GaveWay,
        reason => reason,
    });
}

/// Answers requests, and runs the WebSocket that one of them may become. Returns who ended it.
#[inline(never)]
fn serve(client: &Client, routes: &Router<Route>, registry: &Registry) -> DisconnectReason {
    let mut received = Vec::new();
    let mut deadline = input::head_deadline();
    #[cfg(feature = "tls")]
    if !secure::handshake(client, deadline) {
        return DisconnectReason::Done;
    }
    let connection = &client.connection;
    let transport = &connection.link().transport;
    loop {
        match serve_one(client, routes, registry, &mut received, deadline) {
            Next::Request => {
                client.set_stage(if received.is_empty() { Stage::Idle } else { Stage::Asking });
                deadline = input::head_deadline();
            }
            Next::End => {
                transport.finish();
                return DisconnectReason::Done;
            }
            Next::Session(mut session) => {
                let reason = session.run(received);
                session.close();
                connection.leave_topics();
                connection.outbox().wait_until_written();
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
    client: &'a Client,
    routes: &Router<Route>,
    registry: &Registry,
    received: &mut Vec<u8>,
    deadline: Instant,
) -> Next<'a> {
    let asked = read_request(client, routes, received, deadline);
    client.set_stage(Stage::Answering);
    let (mut request, route) = match asked {
        Ok(Some(found)) => found,
        Ok(None) => return Next::End,
        Err(refusal) => return refuse(client, &refusal),
    };
    match route.and_then(|route| websocket_for(route, &request)) {
        Some(make) => match open(client, registry, &request, make) {
            Ok(session) => {
                client.connection.state().counters.handshakes.add(1);
                Next::Session(session)
            }
            Err(refusal) => {
                client.connection.state().counters.handshakes_failed.add(1);
                refuse(client, &refusal)
            }
        },
        None => answer(client, registry, route, &mut request, received),
    }
}

/// Blocks until a request is here, and finds its route; `None` if the client left.
#[inline(never)]
fn read_request<'r>(
    client: &Client,
    routes: &'r Router<Route>,
    received: &mut Vec<u8>,
    deadline: Instant,
) -> Result<Option<(Box<Request>, Option<&'r Route>)>> {
    client.begin_wait(Wait::ForInput);
    let Some(mut request) = input::read_head(client, received, deadline)? else { return Ok(None) };
    // Whose request is here gets its answer; but see `answer`.
    client.end_wait();
    input::check_evicted(client)?;
    let found = routes.find(request.path());
    check_host(client, found.as_ref().map(|found| found.route), &request)?;
    let Some(found) = found else { return Ok(Some((request, None))) };
    let route = found.route;
    request.set_route(found.path, &found.arguments)?;
    Ok(Some((request, Some(route))))
}

/// Refuses a request for another server, unless it is for a page that does not care.
#[inline(never)]
fn check_host(client: &Client, route: Option<&Route>, request: &Request) -> Result<()> {
    if client.server.settings.hosts.include(request.header("Host").as_deref()) {
        return Ok(());
    }
    if route.is_some_and(|route| route.any_host && websocket_for(route, request).is_none()) {
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
    client: &Client,
    registry: &Registry,
    route: Option<&Route>,
    request: &mut Request,
    received: &mut Vec<u8>,
) -> Next<'a> {
    let Some(response) = pages::answer(client, route, request, received) else { return Next::End };
    // What follows a body that was not read to its end is no request. Beyond the clients there are places for requests,
    // but not to keep.
    let goes_on = request.keep_alive()
        && request.unread_body().is_none()
        && !registry.is_crowded()
        && !client.connection.state().counters.is_draining();
    let then = if goes_on { Then::KeepAlive } else { Then::Close };
    respond(client, Some(request), &response, then)
}

/// Writes a response; what follows is as it says, if it could be written.
fn respond<'a>(client: &Client, request: Option<&Request>, response: &Response, then: Then) -> Next<'a> {
    match answer::write(client, request, response, then) {
        Ok(()) if then == Then::KeepAlive => Next::Request,
        _ => Next::End,
    }
}

/// Answers with an error, and ends.
#[inline(never)]
fn refuse<'a>(client: &Client, error: &Error) -> Next<'a> {
    respond(client, None, &pages::refusal(&client.connection, error), Then::Close)
}

/// Opens a WebSocket; an error is a refusal that has not been sent.
#[inline(never)]
fn open<'a>(
    client: &'a Client,
    registry: &Registry,
    request: &Request,
    make: &MakeFor,
) -> Result<Session<'a>> {
    // Here, so that its stack is not on top of what the session needs.
    let upgrade = handshake::accept(request)?;
    registry.upgrade(client, request.peer_addr())?;
    let connection = &client.connection;
    connection.set_path(request.path(), request.peer_addr());
    let (session, head) = Session::open(make, client, request, upgrade)?;
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
    client: &'a Client,
    registry: &'a Registry,
}

impl ClientGuard<'_> {
    #[inline(never)]
    fn deregister(&self, reason: DisconnectReason) {
        let connection = &self.client.connection;
        connection.leave_topics();
        connection.outbox().kill(reason);
        connection.link().join_pump();
        connection.report(Event::Gone);
        self.registry.remove(self.client);
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
