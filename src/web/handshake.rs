//! A request becomes the 101, or the refusal that it earns. Pure, any thread.
//!
//! tungstenite checks the rules of RFC 6455, section 4.2.1, and computes the answer; the order of the
//! checks and the words of the refusals are Tornado's.

use tungstenite::error::Error as WsError;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::server::create_response;
use tungstenite::handshake::server::write_response;
use tungstenite::http;
use tungstenite::http::HeaderValue;

use crate::web::error::Error;
use crate::web::error::Result;
use crate::web::exchange::Exchange;
use crate::web::handler::WebSocketHandler;
use crate::web::request::Request;
use crate::web::response;

/// The empty line at the end of a head.
const END: &[u8] = b"\r\n";

/// Refuses what tungstenite does not look at. Asks the handler for `check_origin`.
pub(crate) fn check(request: &Request, handler: &dyn WebSocketHandler) -> Result<()> {
    if request.is_http_1_0() {
        return Err(Error::refused(400, "A WebSocket needs HTTP/1.1."));
    }
    if !request.header("Upgrade").is_some_and(|value| value.trim().eq_ignore_ascii_case("websocket")) {
        return Err(Error::refused(426, r#"Can "Upgrade" only to "WebSocket"."#));
    }
    if !request.has_token("Connection", "upgrade") {
        return Err(Error::refused(400, r#""Connection" must be "Upgrade"."#));
    }
    let origin = request.header("Origin").or_else(|| request.header("Sec-WebSocket-Origin"));
    if origin.is_some_and(|origin| !handler.check_origin(request, &origin)) {
        return Err(Error::refused(403, "Cross origin websockets not allowed"));
    }
    Ok(())
}

/// The 101, but for the empty line at its end; or the refusal.
///
/// Nothing of a handshake needs more stack. Not inlined, it stays within the two pages that a thread has
/// touched anyway.
#[inline(never)]
pub(crate) fn answer(request: &Request) -> Result<Vec<u8>> {
    let switching = create_response(&plain(request)).map_err(refusal)?;
    let mut head = Vec::new();
    write_response(&mut head, &switching).map_err(|error| Error::invalid(error.to_string()))?;
    head.truncate(head.len() - END.len());
    Ok(head)
}

/// The request as tungstenite shall see it: it looks at the first line of each header only, and these two
/// are checked, and may be lists.
#[inline(never)]
fn plain(request: &Request) -> Box<http::Request<()>> {
    let mut plain = Box::new(http::Request::new(()));
    plain.headers_mut().insert("Connection", HeaderValue::from_static("Upgrade"));
    plain.headers_mut().insert("Upgrade", HeaderValue::from_static("websocket"));
    for name in ["Sec-WebSocket-Version", "Sec-WebSocket-Key"] {
        if let Some(value) = request.headers().get(name) {
            plain.headers_mut().insert(name, value.clone());
        }
    }
    plain
}

/// Adds the handler's choice of the subprotocols that the client offers.
pub(crate) fn add_subprotocol(
    head: &mut Vec<u8>,
    request: &Request,
    handler: &mut dyn WebSocketHandler,
) -> Result<()> {
    let offered = request.header("Sec-WebSocket-Protocol").unwrap_or_default();
    let offered: Vec<_> = offered.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    match handler.select_subprotocol(&offered) {
        Some(chosen) if !offered.contains(&chosen.as_str()) => {
            Err(Error::invalid(format!("{chosen:?} is none of the subprotocols offered")))
        }
        Some(chosen) => add(head, "Sec-WebSocket-Protocol", &chosen),
        None => Ok(()),
    }
}

/// Adds the headers and cookies that `open` has set, and the empty line.
pub(crate) fn finish(head: &mut Vec<u8>, exchange: Exchange<'_>) -> Result<()> {
    for (name, value) in &exchange.response.headers {
        // A 101 has no content.
        if !name.eq_ignore_ascii_case("Content-Type") {
            add(head, name, value)?;
        }
    }
    head.extend_from_slice(END);
    Ok(())
}

/// Adds a header line to a head.
fn add(head: &mut Vec<u8>, name: &str, value: &str) -> Result<()> {
    response::header(name, value)?;
    for part in [name, ": ", value, "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    Ok(())
}

fn refusal(error: WsError) -> Error {
    match error {
        WsError::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            Error::refused(426, "Sec-WebSocket-Version must be 13.")
        }
        other => Error::refused(400, format!("{other}.")),
    }
}
