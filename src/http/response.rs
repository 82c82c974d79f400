//! A [`Response`] becomes bytes, by way of `tiny_http`.
//!
//! Pure: no I/O, any thread.

use std::io;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tiny_http::{HTTPVersion, Header, StatusCode};
use tungstenite::http::HeaderName;

use crate::error::{Error, Result};
use crate::http::request::Request;

/// The `Server` header.
const SERVER: &str = concat!("threadcast/", env!("CARGO_PKG_VERSION"));
/// Hex digits of SHA-256 in an ETag.
const ETAG_DIGITS: usize = 32;

/// What happens to the connection when a response is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    KeepAlive,
    Close,
}

/// What a client gets: status, headers, body.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// 200, with a body of HTML until its content type is set.
    pub(crate) fn ok() -> Response {
        Response { status: 200, headers: Vec::new(), body: Vec::new() }
            .with("Content-Type", "text/html; charset=utf-8")
    }

    /// A refusal: one line of plain text.
    pub(crate) fn refusal(status: u16, reason: &str) -> Response {
        let body = format!("{reason}\n").into_bytes();
        Response { status, headers: Vec::new(), body }.with("Content-Type", "text/plain; charset=utf-8")
    }

    /// The refusal that an error earns. Only a refusal speaks to the client; what else went wrong is
    /// the server's own business, and goes to the log.
    pub(crate) fn from_error(error: &Error) -> Response {
        match error {
            Error::Refused { status, reason } => Response::refusal(*status, reason),
            _ => Response::refusal(500, "Internal Server Error"),
        }
    }

    /// The same with header `name` set.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Response {
        self.set(name, value);
        self
    }

    /// Sets a header in place of any of that name.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// A 200 to GET or HEAD gets an ETag, and becomes a 304 if the client has that one already
    /// (RFC 9110, section 13.1.2), as in Tornado.
    pub(crate) fn with_etag(mut self, request: &Request) -> Response {
        if self.status != 200 {
            return self;
        }
        let digest = HEXLOWER.encode(&Sha256::digest(&self.body));
        let etag = format!("\"{}\"", &digest[..ETAG_DIGITS]);
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
    pub(crate) fn head(&self, then: Then) -> Result<Vec<u8>> {
        let doing = || "cannot write an HTTP response";
        let mut response = tiny_http::Response::new(
            StatusCode(self.status),
            vec![header("Server", SERVER)?, header("X-Content-Type-Options", "nosniff")?],
            io::empty(),
            Some(self.body.len()),
            None,
        )
        .with_chunked_threshold(usize::MAX);
        for (name, value) in &self.headers {
            response.add_header(header(name, value)?);
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
        let line = head.windows(2).position(|two| two == b"\r\n").map_or(0, |at| at + 2);
        head.splice(line..line, hop.into_bytes());
        Ok(head)
    }

    /// Returns what follows the head: nothing to a HEAD, and nothing where the client has it already.
    pub(crate) fn body_for(&self, request: Option<&Request>) -> &[u8] {
        let is_head = request.is_some_and(|request| request.method() == "HEAD");
        if is_head || self.status == 304 { &[] } else { &self.body }
    }
}

/// A header, if it can be one.
pub(crate) fn header(name: &str, value: &str) -> Result<Header> {
    // tiny_http takes any ASCII here, line ends too, which would let a value begin a second header.
    let clean = HeaderName::from_bytes(name.as_bytes()).is_ok()
        && value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    clean.then(|| Header::from_bytes(name, value).ok()).flatten().ok_or_else(|| {
        Error::invalid(format!("header {name}: {value:?} has characters that a header cannot carry"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &str) -> Request {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        Request::parse(head.as_bytes(), ([127, 0, 0, 1], 1).into()).unwrap().unwrap().0
    }

    fn head(response: &Response, then: Then) -> String {
        String::from_utf8(response.head(then).unwrap()).unwrap()
    }

    #[test]
    fn a_response_has_a_length_a_date_and_a_body_that_head_leaves_out() {
        let mut response = Response::ok();
        response.body = b"hello".to_vec();
        let head_with = |then| head(&response, then);
        let full = head_with(Then::KeepAlive);
        assert!(full.starts_with("HTTP/1.1 200 OK\r\n") && full.ends_with("\r\n\r\n"), "{full}");
        for line in
            ["\r\nContent-Length: 5\r\n", "\r\nDate: ", "\r\nServer: threadcast/", "text/html; charset=utf-8"]
        {
            assert!(full.contains(line), "{line} in {full}");
        }
        assert!(!full.contains("Connection"));
        assert!(head_with(Then::Close).starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n"));
        let get = request("");
        let as_head =
            Request::parse(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", get.peer_addr()).unwrap().unwrap().0;
        assert_eq!(response.body_for(Some(&get)), b"hello");
        assert_eq!(response.body_for(None), b"hello");
        assert_eq!(response.body_for(Some(&as_head)), b"");
    }

    #[test]
    fn a_large_body_is_not_chunked() {
        let mut response = Response::ok();
        response.body = vec![b'x'; 100_000];
        assert!(head(&response, Then::KeepAlive).contains("\r\nContent-Length: 100000\r\n"));
    }

    #[test]
    fn if_none_match_as_a_table() {
        let page = || Response { body: b"page".to_vec(), ..Response::ok() };
        let tagged = page().with_etag(&request(""));
        let etag = &tagged.headers.iter().find(|(name, _)| name == "ETag").unwrap().1;
        for (line, status) in [
            (format!("If-None-Match: {etag}\r\n"), 304),
            (format!("If-None-Match: \"x\", W/{etag}\r\n"), 304),
            ("If-None-Match: *\r\n".to_owned(), 304),
            ("If-None-Match: \"x\"\r\n".to_owned(), 200),
            (String::new(), 200),
        ] {
            let response = page().with_etag(&request(&line));
            assert_eq!(response.status, status, "{line}");
            assert!(head(&response, Then::KeepAlive).contains("Content-Length: 4\r\n"));
            let body: &[u8] = if status == 200 { b"page" } else { b"" };
            assert_eq!(response.body_for(Some(&request(&line))), body, "{line}");
        }
        assert_eq!(Response::refusal(404, "x").with_etag(&request("If-None-Match: *\r\n")).status, 404);
    }

    #[test]
    fn a_header_cannot_begin_another_one() {
        let response = Response::ok().with("X", "a\r\nSet-Cookie: b");
        assert!(response.head(Then::Close).unwrap_err().to_string().contains("cannot carry"));
    }
}
