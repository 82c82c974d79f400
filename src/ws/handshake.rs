//! Turns a request into the 101, or into a refusal. Pure, any thread.
//!
//! tungstenite checks the rules of RFC 6455, section 4.2.1, and computes the answer; the order of the checks and the
//! texts of the refusals are Tornado's.

#[cfg(feature = "deflate")]
use std::io::Write;

use tungstenite::error::{Error as WsError, ProtocolError};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::server::{create_response, write_response};
use tungstenite::http::{self, HeaderValue};

use crate::error::{Error, Result};
use crate::http::request::Request;
use crate::http::response;
#[cfg(feature = "deflate")]
use crate::ws::permessage_deflate;

/// The empty line at the end of a head.
const END: &[u8] = b"\r\n";
/// Bytes of a 101 with compression.
const HEAD: usize = 256;
const KEY: &str = "Sec-WebSocket-Key";
/// Base64 letters for 16 bytes, before the padding.
const KEY_LETTERS: usize = 22;
const VERSION: &str = "Sec-WebSocket-Version";
#[cfg(feature = "deflate")]
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// A request that may become a WebSocket, once the handler agrees.
pub(crate) struct Upgrade {
    /// The 101, without the handler's headers and the empty line at its end.
    head: Vec<u8>,
    /// The subprotocols that the client offers.
    offered: String,
}

/// Checks the head of a request: returns an upgrade, or the refusal. The handler checks the [origin].
#[inline(never)]
pub(crate) fn accept(request: &Request) -> Result<Upgrade> {
    if request.is_http_1_0() {
        return Err(Error::refused(400, "A WebSocket needs HTTP/1.1."));
    }
    if !request.has_token("Upgrade", "websocket") {
        return Err(Error::refused(426, r#"Can "Upgrade" only to "WebSocket"."#));
    }
    if !request.has_token("Connection", "upgrade") {
        return Err(Error::refused(400, r#""Connection" must be "Upgrade"."#));
    }
    let offered = request.header("Sec-WebSocket-Protocol").unwrap_or_default();
    let mut switching = created(request)?;
    add_accept(&mut switching, request);
    Ok(Upgrade { head: written(&switching)?, offered })
}

/// Returns the origin of a request, which every browser sends; old ones use another header.
pub(crate) fn origin(request: &Request) -> Option<String> {
    request.header("Origin").or_else(|| request.header("Sec-WebSocket-Origin"))
}

impl Upgrade {
    /// Returns the subprotocols that the client offers.
    pub(crate) fn offered(&self) -> Vec<&str> {
        self.offered.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
    }

    /// Checks the subprotocol that the handler chose: it is one of the offered ones.
    pub(crate) fn check_chosen(&self, subprotocol: &str) -> Result<()> {
        if !self.offered().contains(&subprotocol) {
            return Err(Error::invalid(format!("{subprotocol:?} is none of the subprotocols offered")));
        }
        Ok(())
    }

    /// Adds the subprotocol that was chosen to the 101.
    pub(crate) fn choose(&mut self, subprotocol: &str) -> Result<()> {
        add(&mut self.head, "Sec-WebSocket-Protocol", subprotocol)
    }

    /// Accepts an offer of compression, if one is valid and `from` is not `None`. Returns the bits of the client's
    /// window.
    #[cfg(feature = "deflate")]
    #[inline(never)]
    pub(crate) fn compress(&mut self, request: &Request, from: Option<usize>) -> Result<Option<u8>> {
        let Some(offers) = from.and_then(|_| request.header(EXTENSIONS)) else { return Ok(None) };
        let Some(agreed) = permessage_deflate::negotiate(&offers) else { return Ok(None) };
        write!(self.head, "{EXTENSIONS}: {agreed}\r\n").expect("a Vec takes every write");
        Ok(Some(agreed.window_bits()))
    }

    /// Returns the 101 with the handler's headers.
    pub(crate) fn into_head(mut self, headers: &[(String, String)]) -> Result<Vec<u8>> {
        for (name, value) in headers {
            // A 101 has no content.
            if !name.eq_ignore_ascii_case("Content-Type") {
                add(&mut self.head, name, value)?;
            }
        }
        self.head.extend_from_slice(END);
        Ok(self.head)
    }
}

// The deepest stacks of a handshake begin here. Each step has returned before the next one begins, so they stay within
// the two pages that a thread touches anyway.

/// Returns tungstenite's 101, or the refusal.
#[inline(never)]
fn created(request: &Request) -> Result<Box<http::Response<()>>> {
    let plain = plain(request)?;
    create_response(&plain).map(Box::new).map_err(refusal)
}

/// tungstenite has computed it for the key without its unused bits.
#[inline(never)]
fn add_accept(switching: &mut http::Response<()>, request: &Request) {
    let sent = request.headers().get(KEY).map_or(&[][..], HeaderValue::as_bytes);
    let accept = HeaderValue::try_from(derive_accept_key(sent));
    switching.headers_mut().insert("Sec-WebSocket-Accept", accept.expect("base64 is a header's value"));
}

/// Returns the head of a 101 without the empty line at its end.
#[inline(never)]
fn written(switching: &http::Response<()>) -> Result<Vec<u8>> {
    // A size that fits most heads: a vector that grows leaves its old memory with the thread.
    let mut head = Vec::with_capacity(HEAD);
    write_response(&mut head, switching).map_err(|error| Error::invalid(error.to_string()))?;
    head.truncate(head.len() - END.len());
    Ok(head)
}

/// Returns the request in the form that tungstenite expects. `Connection` and `Upgrade` may be lists, and have been
/// checked. tungstenite reads only the first line of each other header, so two lines of one are a refusal: a proxy in
/// front may have read the other line.
#[inline(never)]
fn plain(request: &Request) -> Result<Box<http::Request<()>>> {
    let mut plain = Box::new(http::Request::new(()));
    plain.headers_mut().insert("Connection", HeaderValue::from_static("Upgrade"));
    plain.headers_mut().insert("Upgrade", HeaderValue::from_static("websocket"));
    for name in [VERSION, KEY] {
        let mut lines = request.headers().get_all(name).iter();
        let Some(value) = lines.next() else { continue };
        if lines.next().is_some() {
            return Err(Error::refused(400, format!("There are two lines of {name}.")));
        }
        let value = if name == KEY { without_unused_bits(value) } else { value.clone() };
        plain.headers_mut().insert(name, value);
    }
    Ok(plain)
}

/// Returns a key in the form that tungstenite accepts. The last of its 22 letters has four unused bits, some of which
/// are set in the example in RFC 6455, section 1.3, and in the keys of small devices.
fn without_unused_bits(key: &HeaderValue) -> HeaderValue {
    match key.as_bytes().strip_suffix(b"==") {
        Some(letters @ [used @ .., last]) if letters.len() == KEY_LETTERS && is_base64(*last) => {
            HeaderValue::from_bytes(&[used, b"A=="].concat()).unwrap_or_else(|_| key.clone())
        }
        _ => key.clone(),
    }
}

fn is_base64(letter: u8) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, b'+' | b'/')
}

/// Appends a header line to a head.
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
