//! The thread `client-N`: one client's whole life. Heads are read, pages answered, and if the client
//! asks for a WebSocket it stays one until its end.
//!
//! Blocks in `read`. Whatever happens here, the others do not notice, and the end is orderly: what was
//! accepted is written, the peer's bytes are read to their end, then the socket goes.

use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;
use std::time::Instant;

use crate::web::application::Application;
use crate::web::application::Make;
use crate::web::application::Route;
use crate::web::connection::Connection;
use crate::web::error::Error;
use crate::web::error::Result;
use crate::web::exchange::Exchange;
use crate::web::handler::WebSocketHandler;
use crate::web::handshake;
use crate::web::observer::Event;
use crate::web::request::Request;
use crate::web::response::Response;
use crate::web::session::Session;
use crate::web::session::guarded;
use crate::web::socket::CLOSE_TIMEOUT;
use crate::web::wire::Death;

/// How long a request head may take from the accept, or from the response before it, to its end, whatever
/// the rate of its bytes.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long a page may stand still on its way out.
const PAGE_WRITE: Duration = Duration::from_secs(10);
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
pub(crate) fn run(connection: &Connection, application: &Application) {
    let mut received = Vec::new();
    loop {
        match serve(connection, application, &mut received) {
            Next::Request => {}
            Next::Session(session) => {
                session.run(received);
                connection.outbox().wait_until_written(Instant::now() + CLOSE_TIMEOUT);
                break;
            }
            Next::End => break,
        }
    }
    end(connection);
}

/// Reads one request and answers it. `received` is what has come in and is not used yet.
///
/// This and what it calls is not inlined, and gone when the session begins: an idle client keeps neither
/// its request nor the stack pages that the handshake would need on top of the read loop's.
#[inline(never)]
fn serve<'a>(connection: &'a Connection, application: &'a Application, received: &mut Vec<u8>) -> Next<'a> {
    let request = match read_head(connection, received) {
        Ok(Some(request)) => request,
        Ok(None) => return Next::End,
        Err(refusal) => return refuse(connection, &refusal),
    };
    match application.find(request.path()) {
        Some((Route::WebSocket(make), _)) if request.method() == "GET" => {
            match open(connection, application, &request, make) {
                Ok(session) => Next::Session(session),
                Err(refusal) => refuse(connection, &refusal),
            }
        }
        _ => answer(connection, application, &request),
    }
}

/// Blocks until a whole head is here; `None` if the client left, or took too long.
#[inline(never)]
fn read_head(connection: &Connection, received: &mut Vec<u8>) -> Result<Option<Request>> {
    let deadline = Instant::now() + HEAD_DEADLINE;
    loop {
        if let Some((request, length)) = Request::parse(received, connection.peer_addr())? {
            received.drain(..length);
            return Ok(Some(request));
        }
        // On the heap, and given back: a page of stack that was touched once stays with the thread.
        let have = received.len();
        received.resize(have + HEAD_READ, 0);
        match read_before(connection, &mut received[have..], deadline) {
            Ok(0) | Err(_) => return Ok(None),
            Ok(length) => received.truncate(have + length),
        }
    }
}

/// Answers a request that is none for a WebSocket.
#[inline(never)]
fn answer<'a>(connection: &Connection, application: &Application, request: &Request) -> Next<'a> {
    let response = page(connection, application, request).with_etag(request);
    respond(connection, &response, request.keep_alive(), request.method() != "HEAD")
}

fn page(connection: &Connection, application: &Application, request: &Request) -> Response {
    let Some((route, rest)) = application.find(request.path()) else {
        return Response::refusal(404, "404: Not Found");
    };
    let allowed = match route {
        Route::WebSocket(_) => "GET",
        Route::Page(_) | Route::Static(_) => "GET, HEAD",
    };
    if !allowed.split(", ").any(|method| method == request.method()) {
        return Response::refusal(405, "405: Method Not Allowed").with("Allow", allowed);
    }
    let mut exchange = Exchange::new(request, application.settings.cookie_secret.as_ref());
    let result = match route {
        Route::Page(make) => {
            guarded(connection, "get", || make().get(&mut exchange)).and_then(|result| result)
        }
        Route::Static(files) => exchange.render(files, rest),
        Route::WebSocket(_) => unreachable!("GET of a WebSocket route is answered by its handshake"),
    };
    match result {
        Ok(()) => exchange.response,
        Err(error) => refused(connection, &error),
    }
}

/// Answers with an error, and ends.
#[inline(never)]
fn refuse<'a>(connection: &Connection, error: &Error) -> Next<'a> {
    respond(connection, &refused(connection, error), false, true)
}

/// The response to an error, which is logged as such unless it is the client's own fault.
fn refused(connection: &Connection, error: &Error) -> Response {
    match error {
        Error::Refused { .. } => log::debug!("{connection}: {error}"),
        _ => log::error!("{connection}: the handler failed: {error}"),
    }
    Response::from_error(error)
}

/// Opens a WebSocket; an error is a refusal that has not been sent.
fn open<'a>(
    connection: &'a Connection,
    application: &'a Application,
    request: &Request,
    make: &Make<dyn WebSocketHandler>,
) -> Result<Session<'a>> {
    connection.set_target(request.target());
    let mut session = Session::new(make, connection, request, &application.settings)?;
    let mut head = handshake::answer(request)?;
    session.open(request, &mut head)?;
    let stream = &connection.socket().stream;
    // A socket that refuses these is gone; then the first read says so.
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(application.settings.ping_interval);
    let _ = connection.outbox().begin(head.into());
    if connection.common().observer.is_watching() {
        connection.report(Event::Opened(request.target().to_owned()));
    }
    Ok(session)
}

/// Writes a response, blocking.
fn respond<'a>(connection: &Connection, response: &Response, keep_alive: bool, body: bool) -> Next<'a> {
    let mut stream = &connection.socket().stream;
    let bytes = response.to_bytes(keep_alive, body).or_else(|error| {
        log::error!("{connection}: {error}");
        Response::refusal(500, "Internal Server Error").to_bytes(keep_alive, body)
    });
    let written = bytes.is_ok_and(|bytes| {
        stream.set_write_timeout(Some(PAGE_WRITE)).and_then(|()| stream.write_all(&bytes)).is_ok()
    });
    if written && keep_alive { Next::Request } else { Next::End }
}

/// All is written; the peer's bytes are read to their end, since closing a socket with unread input makes
/// the kernel send RST, and the peer would lose what is still on its way to it.
fn end(connection: &Connection) {
    let stream = &connection.socket().stream;
    let deadline = Instant::now() + CLOSE_TIMEOUT;
    let mut bytes = vec![0; HEAD_READ];
    let mut finished = stream.shutdown(Shutdown::Write).is_err();
    while !finished {
        finished = matches!(read_before(connection, &mut bytes, deadline), Ok(0) | Err(_));
    }
    connection.outbox().kill(Death::Ended);
}

/// One blocking read that ends at the deadline.
fn read_before(connection: &Connection, bytes: &mut [u8], deadline: Instant) -> io::Result<usize> {
    let mut stream = &connection.socket().stream;
    connection.report(Event::Reads);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => {
                connection.report(Event::Wakes);
                return result;
            }
        }
    }
}
