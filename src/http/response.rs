//! Turns a [`Response`] into bytes, with `tiny_http`.
//!
//! Pure: no I/O, any thread.

use std::{fmt, io};

use tiny_http::{HTTPVersion, Header, StatusCode};
use tungstenite::http::HeaderName;

use crate::error::{Error, Result};
use crate::http::body::Body;
use crate::http::request::Request;

/// The `Server` header.
const SERVER: &str = concat!("threadcast/", env!("CARGO_PKG_VERSION"));
/// Headers that only the server writes: the hop's, the handshake's, and the length.
const RESERVED: [&str; 7] = [
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
    "Upgrade",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
];

/// The fate of the connection after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    KeepAlive,
    Close,
}

/// The server's answer to a client: status, headers, body.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

impl Response {
    /// Makes a 200 with a body of HTML, unless the content type is set.
    pub(crate) fn ok() -> Response {
        Response { status: 200, headers: Vec::new(), body: Body::default() }
            .with("Content-Type", "text/html; charset=utf-8")
    }

    /// Makes a refusal: one line of plain text.
    pub(crate) fn refusal(status: u16, reason: &str) -> Response {
        let mut body = Body::default();
        body.write(format!("{reason}\n").as_bytes());
        Response { status, headers: Vec::new(), body }.with("Content-Type", "text/plain; charset=utf-8")
    }

    /// Makes the response to an error. Only a refusal tells the client what went wrong; the log has every other error.
    pub(crate) fn from_error(error: &Error) -> Response {
        match error {
            Error::Refused { status, reason, headers } => {
                let mut response = Response::refusal(*status, reason);
                for (name, value) in headers {
                    response.add(name, value);
                }
                response
            }
            _ => Response::refusal(500, "Internal Server Error"),
        }
    }

    /// Sets header `name` and returns the response.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Response {
        self.set(name, value);
        self
    }

    /// Sets a header; replaces any of that name.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Sets a header, or adds another cookie.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("Set-Cookie") {
            self.headers.push((name.to_owned(), value.to_owned()));
        } else {
            self.set(name, value);
        }
    }

    /// Adds an ETag to a 200 to GET or HEAD. Becomes a 304 if the client already has that version (RFC 9110, section
    /// 13.1.2), as in Tornado.
    pub(crate) fn with_etag(mut self, request: &Request) -> Response {
        if self.status != 200 {
            return self;
        }
        let etag = format!("\"{}\"", self.body.tag());
        self.set("ETag", &etag);
        let known = request.header("If-None-Match").unwrap_or_default();
        let same = |tag: &str| tag.trim().trim_start_matches("W/") == etag;
        if known.trim() == "*" || known.split(',').any(same) {
            // Keeps the body for its length, but does not send it.
            self.status = 304;
            self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Content-Type"));
        }
        self
    }

    /// Returns the head on the wire, with the length of the body and the empty line at its end.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything that the handler must not set; then none of it goes out.
    pub(crate) fn head(&self, then: Then) -> Result<Vec<u8>> {
        let doing = || "cannot write an HTTP response";
        let mut response = tiny_http::Response::new(
            StatusCode(self.status),
            vec![header("Server", SERVER)?, header("X-Content-Type-Options", "nosniff")?],
            io::empty(),
            Some(usize::try_from(self.body.len()).map_err(|_| Error::invalid("the body is too large"))?),
            None,
        )
        .with_chunked_threshold(usize::MAX);
        for (name, value) in &self.headers {
            not_reserved(name)?;
            response.add_header(header(name, value)?);
        }
        if self.is_bare() && self.body.len() > 0 {
            return Err(Error::invalid(format!(
                "a response of status {} has no body: write none",
                self.status
            )));
        }
        let mut head = Vec::with_capacity(512);
        let no_body = true;
        response.raw_print(&mut head, HTTPVersion(1, 1), &[], no_body, None).map_err(Error::io(doing()))?;
        // tiny_http drops hop-by-hop headers (RFC 9110, section 7.6.1) when they are added to a response, so they go in
        // after its status line.
        let mut hop = String::new();
        if self.status == 426 {
            // RFC 9110, section 15.5.22, and RFC 6455, section 4.4: the protocol to upgrade to.
            hop.push_str("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
        }
        if then == Then::Close {
            hop.push_str("Connection: close\r\n");
        }
        if self.status == 204 {
            // RFC 9110, section 8.6: not even a length of 0.
            remove_line(&mut head, b"\r\nContent-Length: 0\r\n");
        }
        let line = head.windows(2).position(|two| two == b"\r\n").map_or(0, |at| at + 2);
        head.splice(line..line, hop.into_bytes());
        Ok(head)
    }

    /// Returns whether its status forbids a body (RFC 9110, sections 15.3.5 and 15.3.6).
    fn is_bare(&self) -> bool {
        matches!(self.status, 204 | 205)
    }

    /// Writes head and body with a function that blocks until it has taken all its bytes. Sends the head alone to a
    /// HEAD, and to a client that already has the body.
    pub(crate) fn write_to(
        &self,
        head: Vec<u8>,
        request: Option<&Request>,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let is_head = request.is_some_and(|request| request.method() == "HEAD");
        if is_head || self.status == 304 { write(&head) } else { self.body.write_to(head, write) }
    }
}

/// Shows only the names of the headers: their values, cookies and tokens, are for the client alone.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        let mut debug = f.debug_struct("Response");
        debug
            .field("status", &self.status)
            .field("headers", &names)
            .field("length", &self.body.len())
            .finish()
    }
}

/// Removes a line from a head; it must have a line before and after it.
fn remove_line(head: &mut Vec<u8>, line: &[u8]) {
    if let Some(at) = head.windows(line.len()).position(|found| found == line) {
        head.drain(at..at + line.len() - 2);
    }
}

/// Returns an error if only the server writes this header.
pub(crate) fn not_reserved(name: &str) -> Result<()> {
    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        Err(Error::invalid(format!("the server writes the header {name} itself: leave it out")))
    } else {
        Ok(())
    }
}

/// Makes a header, if name and value are valid.
pub(crate) fn header(name: &str, value: &str) -> Result<Header> {
    // tiny_http accepts any ASCII in a value, even line ends, which would let a value begin a second header.
    let clean = HeaderName::from_bytes(name.as_bytes()).is_ok()
        && value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    clean.then(|| Header::from_bytes(name, value).ok()).flatten().ok_or_else(|| {
        // The value may be a secret, and this goes to the log.
        Error::invalid(format!("the header {name:?} has characters that a header cannot carry"))
    })
}

#[cfg(test)]
mod tests;
