//! A [`Response`] becomes bytes, by way of `tiny_http`.
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
/// Headers that the server itself writes: the hop's, the handshake's, and the length.
const RESERVED: [&str; 7] = [
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
    "Upgrade",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
];

/// What happens to the connection when a response is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    KeepAlive,
    Close,
}

/// What a client gets: status, headers, body.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

impl Response {
    /// Makes a 200, with a body of HTML until its content type is set.
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

    /// Makes the refusal that an error earns. Only a refusal speaks to the client; what else went wrong is
    /// the server's own business, and goes to the log.
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

    /// Returns the same with header `name` set.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Response {
        self.set(name, value);
        self
    }

    /// Sets a header in place of any of that name.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Sets a header, but a cookie is one more.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("Set-Cookie") {
            self.headers.push((name.to_owned(), value.to_owned()));
        } else {
            self.set(name, value);
        }
    }

    /// Adds an ETag to a 200 to GET or HEAD. Becomes a 304 if the client has that one already
    /// (RFC 9110, section 13.1.2), as in Tornado.
    pub(crate) fn with_etag(mut self, request: &Request) -> Response {
        if self.status != 200 {
            return self;
        }
        let etag = format!("\"{}\"", self.body.tag());
        self.set("ETag", &etag);
        let known = request.header("If-None-Match").unwrap_or_default();
        let same = |tag: &str| tag.trim().trim_start_matches("W/") == etag;
        if known.trim() == "*" || known.split(',').any(same) {
            // The body stays, for its length, and is not sent.
            self.status = 304;
            self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Content-Type"));
        }
        self
    }

    /// Returns the head on the wire, with the length of the body and the empty line at its end.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what the handler should not have set; none of it is to be sent.
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
        // tiny_http drops the headers of the hop itself (RFC 9110, section 7.6.1) when they are added
        // to a response, so they go in behind its status line.
        let mut hop = String::new();
        if self.status == 426 {
            // RFC 9110, section 15.5.22, and RFC 6455, section 4.4: what to upgrade to.
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

    /// Returns whether its status has no body at all (RFC 9110, sections 15.3.5 and 15.3.6).
    fn is_bare(&self) -> bool {
        matches!(self.status, 204 | 205)
    }

    /// Writes head and body by a function that blocks until it has taken what it is given. A HEAD gets the head
    /// alone, and so does who has the body already.
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

/// The names of the headers, since their values are for the client alone: cookies, tokens.
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

/// Takes a line out of a head, which stands between two others.
fn remove_line(head: &mut Vec<u8>, line: &[u8]) {
    if let Some(at) = head.windows(line.len()).position(|found| found == line) {
        head.drain(at..at + line.len() - 2);
    }
}

/// Says so if a header is one that only the server writes.
pub(crate) fn not_reserved(name: &str) -> Result<()> {
    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        Err(Error::invalid(format!("the header {name} is the server's own")))
    } else {
        Ok(())
    }
}

/// Makes a header, if it can be one.
pub(crate) fn header(name: &str, value: &str) -> Result<Header> {
    // tiny_http takes any ASCII here, line ends too, which would let a value begin a second header.
    let clean = HeaderName::from_bytes(name.as_bytes()).is_ok()
        && value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    clean.then(|| Header::from_bytes(name, value).ok()).flatten().ok_or_else(|| {
        // The value may be a secret, and this goes to the log.
        Error::invalid(format!("the header {name:?} has characters that a header cannot carry"))
    })
}

#[cfg(test)]
mod tests;
