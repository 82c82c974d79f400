//! A request becomes the 101, or the refusal that it earns. Pure, any thread.
//!
//! tungstenite checks the rules of RFC 6455, section 4.2.1, and computes the answer; the order of the
//! checks and the words of the refusals are Tornado's.

use tungstenite::error::Error as WsError;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::server::create_response;
use tungstenite::handshake::server::write_response;
use tungstenite::http;
use tungstenite::http::HeaderName;
use tungstenite::http::HeaderValue;

use crate::web::error::Error;
use crate::web::error::Result;
use crate::web::exchange::Exchange;
use crate::web::handler::WebSocketHandler;
use crate::web::request::Request;

/// A 101 that has not been sent.
pub(crate) type Switching = http::Response<()>;

/// The 101 for `request`, or the refusal. Asks the handler for `check_origin` and `select_subprotocol`.
pub(crate) fn accept(request: &Request, handler: &mut dyn WebSocketHandler) -> Result<Switching> {
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
    // tungstenite looks at the first line of each header only; these two are checked, and may be lists.
    let mut plain = http::Request::new(());
    plain.headers_mut().insert("Connection", HeaderValue::from_static("Upgrade"));
    plain.headers_mut().insert("Upgrade", HeaderValue::from_static("websocket"));
    for name in ["Sec-WebSocket-Version", "Sec-WebSocket-Key"] {
        if let Some(value) = request.headers().get(name) {
            plain.headers_mut().insert(name, value.clone());
        }
    }
    let mut switching = create_response(&plain).map_err(refusal)?;
    let offered = request.header("Sec-WebSocket-Protocol").unwrap_or_default();
    let offered: Vec<_> = offered.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Some(chosen) = handler.select_subprotocol(&offered) {
        let known = offered.contains(&chosen.as_str()).then(|| HeaderValue::from_str(&chosen).ok()).flatten();
        let value =
            known.ok_or_else(|| Error::invalid(format!("{chosen:?} is none of the subprotocols offered")))?;
        switching.headers_mut().insert("Sec-WebSocket-Protocol", value);
    }
    Ok(switching)
}

/// The bytes of the 101, with the headers and cookies that `open` has set.
pub(crate) fn to_bytes(mut switching: Switching, exchange: Exchange<'_>) -> Result<Vec<u8>> {
    for (name, value) in &exchange.response.headers {
        if name.eq_ignore_ascii_case("Content-Type") {
            continue; // A 101 has no content.
        }
        let bad =
            || Error::invalid(format!("header {name}: {value:?} has characters that a header cannot carry"));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        switching.headers_mut().append(header, HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    let mut bytes = Vec::new();
    write_response(&mut bytes, &switching).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(bytes)
}

fn refusal(error: WsError) -> Error {
    match error {
        WsError::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            Error::refused(426, "Sec-WebSocket-Version must be 13.")
        }
        other => Error::refused(400, format!("{other}.")),
    }
}
