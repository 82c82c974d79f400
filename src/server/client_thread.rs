//! The thread `client-N`: one client's whole life. It reads heads and answers pages. If the client asks for a
//! WebSocket, it stays one until its end.
//!
//! Blocks in `read`. A failure affects no other client, and the end is orderly: it writes all accepted frames, reads
//! the peer's bytes to their end, and then closes the socket.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use crate::connection::connection::Connection;
use crate::connection::timed_io::Deadline;
use crate::error::{Error, Result};
use crate::http::request::Request;
use crate::http::response::{Response, Then};
use crate::http::router::Router;
use crate::metrics::DisconnectReason;
use crate::observer::Event;
use crate::server::accessed::{self, Asked};
use crate::server::application::{MakeFor, Route};
use crate::server::client::{Client, Stage};
use crate::server::half_open::Wait;
use crate::server::registry::Registry;
#[cfg(feature = "tls")]
use crate::server::secure;
use crate::server::session::Session;
use crate::server::{input, pages, proxy_header, responding};
use crate::ws::handshake;

/// The next step after a request.
enum Next<'a> {
    /// Another one, on the same connection.
    Request,
    /// A WebSocket.
    Session(Session<'a>),
    /// The end.
    End,
}

/// Serves one client until it is gone.
pub(crate) fn serve_client(client: &Client, routes: &Router<Route>, registry: &Registry) {
    let guard = ClientGuard { client, registry };
    let connection = &client.connection;
    connection.state().counters.accepted.add(1);
    let reason = serve(client, routes, registry);
    connection.link().leave_topics();
    client.set_stage(Stage::Lingering);
    if client.server.is_stopping() && !connection.link().is_websocket() {
        registry.has_answered();
    }
    input::linger(client);
    guard.deregister(why(client, reason));
}

/// Returns why the client has ended, given why its reading has ended.
fn why(client: &Client, reason: DisconnectReason) -> DisconnectReason {
    match reason {
        _ if client.server.is_stopping() => DisconnectReason::Shutdown,
        _ if client.is_evicted() => DisconnectReason::Evicted,
        _ if client.connection.link().has_given_way() => DisconnectReason::GaveWay,
        reason => reason,
    }
}

/// Answers requests, and runs the WebSocket that one of them may become. Returns which side ended it.
#[inline(never)]
fn serve(client: &Client, routes: &Router<Route>, registry: &Registry) -> DisconnectReason {
    let mut received = Vec::new();
    let mut deadline = input::head_deadline();
    let relayed = if client.server.settings.proxy_protocol {
        let Some(relayed) = proxy_header::read(client, deadline) else { return DisconnectReason::Done };
        relayed
    } else {
        None
    };
    #[cfg(feature = "tls")]
    if !secure::begin_tls(client, deadline) {
        return DisconnectReason::Done;
    }
    let connection = &client.connection;
    let transport = &connection.link().transport;
    loop {
        match serve_one(client, routes, registry, &mut received, deadline, relayed) {
            Next::Request => {
                client.set_stage(if received.is_empty() { Stage::Idle } else { Stage::Asking });
                deadline = input::head_deadline();
            }
            Next::End => {
                transport.finish();
                return DisconnectReason::Done;
            }
            Next::Session(mut session) => {
                let (reason, is_over) = session.run(received);
                connection.link().set_ended(why(client, reason));
                let failed = session.failed();
                session.close();
                connection.link().leave_topics();
                connection.outbox().wait_until_written();
                accessed::ended(client, failed);
                // Not together with a Close of ours that waits for an answer: a peer that gets both drops its own data.
                // Without a Close other threads may still write.
                if is_over && reason == DisconnectReason::Done && connection.outbox().state().is_closing() {
                    transport.finish();
                }
                return reason;
            }
        }
    }
}

/// Reads one request and answers it. `received` has the unused bytes that have arrived.
///
/// This function and its callees are not inlined, and have returned when the session begins. So an idle client keeps
/// neither its request nor the stack pages that the handshake needs.
#[inline(never)]
fn serve_one<'a>(
    client: &'a Client,
    routes: &Router<Route>,
    registry: &Registry,
    received: &mut Vec<u8>,
    deadline: Deadline,
    relayed: Option<SocketAddr>,
) -> Next<'a> {
    let asked = read_request(client, routes, received, deadline, relayed);
    client.set_stage(Stage::Answering);
    let (mut request, route) = match asked {
        Ok(Some(found)) => found,
        Ok(None) => return Next::End,
        Err(refusal) => return refuse(client, None, &refusal),
    };
    let begun = client.server.settings.access.begin();
    match route.and_then(|route| websocket_for(route, &request)) {
        Some(make) => match open(client, registry, &request, make) {
            Ok(session) => {
                client.connection.state().counters.handshakes.add(1);
                Next::Session(session)
            }
            Err(refusal) => {
                client.connection.state().counters.handshakes_failed.add(1);
                refuse(client, begun.map(|begun| (&*request, begun)), &refusal)
            }
        },
        None => serve_page(client, registry, route, &mut request, received, begun),
    }
}

/// Blocks until a request arrives, and finds its route; `None` if the client left.
#[inline(never)]
fn read_request<'r>(
    client: &Client,
    routes: &'r Router<Route>,
    received: &mut Vec<u8>,
    deadline: Deadline,
    relayed: Option<SocketAddr>,
) -> Result<Option<(Box<Request>, Option<&'r Route>)>> {
    client.begin_wait(Wait::ForInput);
    let Some(mut request) = input::read_head(client, received, deadline, relayed)? else { return Ok(None) };
    // A client whose request has arrived gets its answer; but see `responding`.
    client.end_wait();
    input::check_evicted(client)?;
    let found = routes.find(request.path());
    check_host(client, found.as_ref().map(|found| found.route), &request)?;
    let Some(found) = found else { return Ok(Some((request, None))) };
    let route = found.route;
    request.set_route(found.path, &found.arguments)?;
    Ok(Some((request, Some(route))))
}

/// Refuses a request for another server, unless its page accepts any host.
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

/// Returns the WebSocket of a route, if the request is for it: a GET, with `Upgrade` if the path also has a page or
/// files.
fn websocket_for<'r>(route: &'r Route, request: &Request) -> Option<&'r MakeFor> {
    let alone = route.page.is_none() && route.files.is_none();
    let asked = alone || request.has_token("Upgrade", "websocket");
    route.websocket.as_ref().filter(|_| request.method() == "GET" && asked)
}

/// Answers a plain HTTP request.
#[inline(never)]
fn serve_page<'a>(
    client: &Client,
    registry: &Registry,
    route: Option<&Route>,
    request: &mut Request,
    received: &mut Vec<u8>,
    begun: Option<Instant>,
) -> Next<'a> {
    let Some(response) = pages::response(client, route, request, received) else { return Next::End };
    // Bytes behind an unread body are not a request. The extra places for requests do not stay open after one.
    let goes_on = request.keep_alive()
        && request.unread_body().is_none()
        && !registry.is_crowded()
        && !client.connection.state().counters.is_draining();
    let then = if goes_on { Then::KeepAlive } else { Then::Close };
    respond(client, begun.map(|begun| (&*request, begun)), Some(request), &response, then)
}

/// Writes a response. If that works, the response determines the next step.
fn respond<'a>(
    client: &Client,
    asked: Asked<'_>,
    request: Option<&Request>,
    response: &Response,
    then: Then,
) -> Next<'a> {
    let (written, bytes) = responding::write_response(client, request, response, then);
    accessed::responded(client, asked, response.status, bytes);
    match written {
        Ok(()) if then == Then::KeepAlive => Next::Request,
        _ => Next::End,
    }
}

/// Answers with an error, and ends.
#[inline(never)]
fn refuse<'a>(client: &Client, asked: Asked<'_>, error: &Error) -> Next<'a> {
    respond(client, asked, None, &pages::error_response(&client.connection, error), Then::Close)
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
    client.connection.link().set_path(request.path(), request.peer_addr());
    let (session, head) = Session::open(make, client, request, upgrade)?;
    begin(&client.connection, request, head);
    Ok(session)
}

/// Sends the 101: now other threads may send, too.
#[inline(never)]
fn begin(connection: &Connection, request: &Request, head: Vec<u8>) {
    let tcp = connection.link().tcp();
    // A socket that refuses these options is gone; then the first read fails.
    let _ = tcp.set_nodelay(true);
    let _ = tcp.set_recv_timeout(connection.state().settings.ping_interval);
    let _ = connection.outbox().begin(head.into());
    if connection.state().observer.is_watching() {
        connection.report(Event::Opened(request.target().to_owned()));
    }
}

/// Removes a client from the registry when its thread is about to end.
struct ClientGuard<'a> {
    client: &'a Client,
    registry: &'a Registry,
}

impl ClientGuard<'_> {
    #[inline(never)]
    fn deregister(&self, reason: DisconnectReason) {
        let connection = &self.client.connection;
        connection.link().leave_topics();
        connection.outbox().kill(reason);
        connection.link().join_pump();
        connection.report(Event::Gone);
        self.registry.remove(self.client);
    }
}

impl Drop for ClientGuard<'_> {
    fn drop(&mut self) {
        // A handler's panic is caught, so this one is the server's.
        if thread::panicking() {
            self.deregister(DisconnectReason::Panicked);
        }
    }
}
