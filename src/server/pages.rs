//! A request that is none for a WebSocket becomes its response. Handlers of pages are called here alone, on
//! `client-N`.
//!
//! Never here: a body that is read before its request is known to be welcome, a handler's panic that gets out.

use crate::connection::connection::Connection;
use crate::error::{Error, Result};
use crate::http::exchange::Exchange;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::net::buffers::Held;
use crate::panics::Contained;
use crate::server::application::{Make, Route};
use crate::server::client::Client;
use crate::server::guarded::{guarded, guarded_result};
use crate::server::handler::RequestHandler;
use crate::server::input;

/// What `Allow` says of the server as a whole, which `OPTIONS *` asks for.
const ALL_METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];
/// Those of a file.
const FILE_METHODS: [&str; 2] = ["GET", "HEAD"];

/// Answers a request by its route, and reads its body, if it has one that is wanted; `None` if the client left
/// meanwhile. A body that is [unread](Request::unread_body) after this must be the connection's last.
#[inline(never)]
pub(crate) fn answer(
    client: &Client,
    route: Option<&Route>,
    request: &mut Request,
    received: &mut Vec<u8>,
) -> Option<Response> {
    let connection = &client.connection;
    let is_options = request.method() == "OPTIONS";
    let Some(route) = route else {
        let whole_server = is_options && request.path() == "*";
        return Some(if whole_server {
            options(&ALL_METHODS)
        } else {
            Response::refusal(404, "404: Not Found")
        });
    };
    match (&route.page, &route.files) {
        (Some(make), _) => page(client, make, request, received),
        (None, _) if is_options => Some(options(methods_without_page(route))),
        (None, Some(files)) if FILE_METHODS.contains(&request.method()) => {
            let rest = request.path().strip_prefix(request.route()).unwrap_or_default();
            let mut exchange = exchange(client, request);
            exchange.response.set("Cache-Control", "no-cache");
            let result = exchange.render(files, rest);
            Some(finish(connection, exchange, result))
        }
        (None, _) => Some(not_allowed(methods_without_page(route), request)),
    }
}

fn methods_without_page(route: &Route) -> &'static [&'static str] {
    if route.files.is_some() { &FILE_METHODS } else { &FILE_METHODS[..1] }
}

/// Answers by a handler.
#[inline(never)]
fn page(
    client: &Client,
    make: &Make<dyn RequestHandler>,
    request: &mut Request,
    received: &mut Vec<u8>,
) -> Option<Response> {
    let connection = &client.connection;
    let method = match request.method() {
        "GET" | "HEAD" => "get",
        "POST" => "post",
        "PUT" => "put",
        "DELETE" => "delete",
        _ => "methods",
    };
    let mut handler = match guarded(connection, method, || Contained::new(make())) {
        Ok(handler) => handler,
        Err(panicked) => return Some(refusal(connection, &panicked.into())),
    };
    if method == "methods" {
        let is_options = request.method() == "OPTIONS";
        let response =
            if is_options { no_content() } else { Response::refusal(405, "405: Method Not Allowed") };
        return Some(with_methods(response, connection, &**handler, request.method()));
    }
    let response = match welcome(client, &mut **handler, method, request, received) {
        // The body is counted until the answer is there.
        Ok(Some((prepared, _body))) => respond(client, &mut **handler, method, request, prepared),
        Ok(None) => return None,
        Err(error) => refusal(connection, &error),
    };
    // RFC 9110, section 15.5.6.
    Some(if response.status == 405 {
        with_methods(response, connection, &**handler, request.method())
    } else {
        response
    })
}

/// Lets the handler answer. `prepared` is what it has set before the body was read.
#[inline(never)]
fn respond(
    client: &Client,
    handler: &mut dyn RequestHandler,
    method: &'static str,
    request: &Request,
    prepared: Response,
) -> Response {
    let connection = &client.connection;
    let mut exchange = exchange(client, request);
    exchange.response = prepared;
    let result = guarded_result(connection, method, || {
        let result = match method {
            "post" => handler.post(&mut exchange),
            "put" => handler.put(&mut exchange),
            "delete" => handler.delete(&mut exchange),
            _ => handler.get(&mut exchange),
        };
        exchange.keep_headers(result)
    });
    finish(connection, exchange, result.unwrap_or_else(|panicked| Err(panicked.into())))
}

/// Names the methods that a handler says it has in `Allow`.
#[inline(never)]
fn with_methods(
    response: Response,
    connection: &Connection,
    handler: &dyn RequestHandler,
    refused: &str,
) -> Response {
    match guarded(connection, "methods", || handler.methods()) {
        Ok(methods) => with_allow(response, methods, refused),
        Err(panicked) => refusal(connection, &panicked.into()),
    }
}

/// Asks the handler whether the request may come from where it does, and lets it prepare; then reads the body, if the
/// method has one. Returns what the handler has set, and what the body holds; `None` if the client left.
#[inline(never)]
fn welcome(
    client: &Client,
    handler: &mut dyn RequestHandler,
    method: &'static str,
    request: &mut Request,
    received: &mut Vec<u8>,
) -> Result<Option<(Response, Option<Held>)>> {
    let connection = &client.connection;
    let has_body = method != "get";
    if has_body
        && let Some(origin) = request.header("Origin")
        && !guarded(connection, "check_origin", || handler.check_origin(request, &origin))?
    {
        return Err(Error::refused(403, "Cross origin requests not allowed"));
    }
    let mut exchange = exchange(client, request);
    guarded_result(connection, "prepare", || {
        let prepared = handler.prepare(&mut exchange);
        exchange.keep_headers(prepared)
    })??;
    let prepared = exchange.response;
    if !has_body {
        return Ok(Some((prepared, None)));
    }
    let body = input::read_body(client, request, received)?;
    Ok(body.map(|held| (prepared, Some(held))))
}

fn exchange<'a>(client: &'a Client, request: &'a Request) -> Exchange<'a> {
    Exchange::new(request, &client.server.settings.cookies)
}

/// Returns what a handler has prepared, or the refusal; a GET's has its tag.
#[inline(never)]
fn finish(connection: &Connection, exchange: Exchange<'_>, result: Result<()>) -> Response {
    let is_get = FILE_METHODS.contains(&exchange.method());
    match result {
        Ok(()) if is_get => {
            let request: &Request = exchange.request();
            exchange.response.with_etag(request)
        }
        Ok(()) => exchange.response,
        Err(error) => refusal(connection, &error),
    }
}

/// Makes the response to an error, which is logged as such unless it is the client's own fault.
pub(crate) fn refusal(connection: &Connection, error: &Error) -> Response {
    match error {
        Error::Refused { .. } => log::debug!(target: crate::LOG, "{connection}: {}", error.one_line()),
        _ => log::error!(target: crate::LOG, "{connection}: the handler failed: {}", error.one_line()),
    }
    Response::from_error(error)
}

fn not_allowed(methods: &[&str], request: &Request) -> Response {
    with_allow(Response::refusal(405, "405: Method Not Allowed"), methods, request.method())
}

/// Answers OPTIONS: 204, and what there is (RFC 9110, section 9.3.7).
fn options(methods: &[&str]) -> Response {
    with_allow(no_content(), methods, "")
}

fn no_content() -> Response {
    Response { status: 204, headers: Vec::new(), body: Default::default() }
}

/// Names the methods in `Allow`, and OPTIONS, but not the one that was refused.
fn with_allow(response: Response, methods: &[&str], refused: &str) -> Response {
    let mut names: Vec<_> = methods.iter().copied().filter(|name| *name != refused).collect();
    names.retain(|name| *name != "OPTIONS");
    names.push("OPTIONS");
    response.with("Allow", &names.join(", "))
}
