//! Answers plain HTTP requests. Only this file calls handlers of pages, on `client-N`.
//!
//! Never here: reading a body before its handler has accepted the request, or letting a handler's panic escape.

use crate::connection::connection::Connection;
use crate::connection::guarded::{guarded, guarded_result};
use crate::error::{Error, Result};
use crate::http::exchange::Exchange;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::net::buffers::Held;
use crate::panics::Contained;
use crate::server::application::{Make, Route};
use crate::server::client::Client;
use crate::server::handler::RequestHandler;
use crate::server::input;

/// The value of `Allow` for the whole server, the answer to `OPTIONS *`.
const ALL_METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];
/// The methods of a file.
const FILE_METHODS: [&str; 2] = ["GET", "HEAD"];

/// Answers a request by its route, and reads its body if the handler wants it; `None` if the client has left. If the
/// body is [unread](Request::unread_body) after this, the connection must end.
#[inline(never)]
pub(crate) fn response(
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
        Err(panicked) => return Some(error_response(connection, &panicked.into())),
    };
    if method == "methods" {
        let is_options = request.method() == "OPTIONS";
        let response =
            if is_options { no_content() } else { Response::refusal(405, "405: Method Not Allowed") };
        return Some(with_methods(response, connection, &**handler, request.method()));
    }
    let response = match welcome(client, &mut **handler, method, request, received) {
        // The body counts until the answer is complete.
        Ok(Some((prepared, _body))) => respond(client, &mut **handler, method, request, prepared),
        Ok(None) => return None,
        Err(error) => error_response(connection, &error),
    };
    // RFC 9110, section 15.5.6.
    Some(if response.status == 405 {
        with_methods(response, connection, &**handler, request.method())
    } else {
        response
    })
}

/// Lets the handler answer. `prepared` has its settings from before the body was read.
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
        Err(panicked) => error_response(connection, &panicked.into()),
    }
}

/// Asks the handler whether it accepts the request's origin, and lets it prepare; then reads the body, if the method
/// has one. Returns the handler's settings, and the body's share of the buffers; `None` if the client left.
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

/// Returns the response that a handler has made, or the refusal; a GET's has an `ETag`.
#[inline(never)]
fn finish(connection: &Connection, exchange: Exchange<'_>, result: Result<()>) -> Response {
    let is_get = FILE_METHODS.contains(&exchange.method());
    match result {
        Ok(()) if is_get => {
            let request: &Request = exchange.request();
            exchange.response.with_etag(request)
        }
        Ok(()) => exchange.response,
        Err(error) => error_response(connection, &error),
    }
}

/// Makes the response to an error, and logs the error unless it is the client's fault.
pub(crate) fn error_response(connection: &Connection, error: &Error) -> Response {
    match error {
        Error::Refused { .. } => log::debug!("{connection}: {}", error.one_line()),
        _ => log::error!("{connection}: the handler failed: {}", error.one_line()),
    }
    Response::from_error(error)
}

fn not_allowed(methods: &[&str], request: &Request) -> Response {
    with_allow(Response::refusal(405, "405: Method Not Allowed"), methods, request.method())
}

/// Answers OPTIONS: 204, with the methods (RFC 9110, section 9.3.7).
fn options(methods: &[&str]) -> Response {
    with_allow(no_content(), methods, "")
}

fn no_content() -> Response {
    Response { status: 204, headers: Vec::new(), body: Default::default() }
}

/// Lists the methods in `Allow`, and OPTIONS, but not the refused one.
fn with_allow(response: Response, methods: &[&str], refused: &str) -> Response {
    let mut names: Vec<_> = methods.iter().copied().filter(|name| *name != refused).collect();
    names.retain(|name| *name != "OPTIONS");
    names.push("OPTIONS");
    response.with("Allow", &names.join(", "))
}
