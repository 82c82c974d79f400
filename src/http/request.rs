//! Parses the bytes of a request head into a [`Request`]: arguments, headers, cookies; later its body.
//!
//! Pure: no I/O, any thread. `httparse` splits the head; this module has the rules of the path and the query.

use std::fmt;
use std::net::SocketAddr;

use percent_encoding::{percent_decode, percent_decode_str};
use tungstenite::http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Result};
use crate::http::cookies;
use crate::http::host::host_and_port;
use crate::http::origin::Origin;
use crate::http::request_body::Framing;

/// The most bytes in a request head: request line and headers together.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// The most header lines in a head. More, within [`MAX_HEAD`], also get a 431.
const MAX_HEADERS: usize = 100;

/// One HTTP request. In a handler's `post`, `put` and `delete` it has its body; in all other methods it has none.
#[derive(Clone)]
pub struct Request {
    method: String,
    /// `/path?query`, or `*`.
    target: String,
    http_1_0: bool,
    headers: HeaderMap,
    /// The peer of the socket, or the client that a trusted proxy named.
    peer: SocketAddr,
    /// Whether a PROXY header has named it.
    is_relayed: bool,
    /// Whether the client came by HTTPS; `None` if unknown, because a proxy may have done TLS.
    secure: Option<bool>,
    /// The path of the route, with the names of its parameters.
    route: String,
    path_arguments: Vec<(String, String)>,
    /// How the body ends; `None` without one.
    framing: Option<Framing>,
    /// The body, once it is read.
    body: Option<Vec<u8>>,
}

impl Request {
    /// Parses a head from the front of `bytes`, and returns how many bytes it took; `None` while the head is
    /// incomplete. The error is the refusal for the client (400 or 431).
    ///
    /// Not inlined, and the request is on the heap: an idle client keeps each stack page that was touched.
    #[inline(never)]
    pub(crate) fn parse(bytes: &[u8], peer: SocketAddr) -> Result<Option<(Box<Request>, usize)>> {
        let mut lines = vec![httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut lines);
        // No further than the limit, so that bytes after the head in the same read change nothing.
        let length = match head.parse(&bytes[..bytes.len().min(MAX_HEAD)]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => {
                return Err(Error::refused(
                    431,
                    format!("The request head is over {MAX_HEAD} bytes or {MAX_HEADERS} headers."),
                ));
            }
            Err(error) => return Err(Error::refused(400, format!("Malformed HTTP request: {error}."))),
        };
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for line in head.headers.iter() {
            // httparse accepts only tokens and field-vchars, and so do these two.
            let name = HeaderName::from_bytes(line.name.as_bytes());
            let value = HeaderValue::from_bytes(line.value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(Error::refused(400, "Malformed HTTP header."));
            };
            headers.append(name, value);
        }
        let http_1_0 = head.version == Some(0);
        let method = head.method.unwrap_or_default();
        let (target, authority) = target::read(method, head.path.unwrap_or_default())?;
        let mut request = Box::new(Request {
            method: method.to_owned(),
            target,
            http_1_0,
            framing: Framing::of(&headers, http_1_0)?,
            headers,
            peer,
            is_relayed: false,
            secure: None,
            route: String::new(),
            path_arguments: Vec::new(),
            body: None,
        });
        request.check()?;
        if let Some(authority) = authority.and_then(|authority| HeaderValue::try_from(authority).ok()) {
            // RFC 9112, section 3.2.2: this is the host, even if `Host` differs.
            request.headers.insert("Host", authority);
        }
        Ok(Some((request, length)))
    }

    /// RFC 9112, sections 3.2 and 6: refuses all that two readers could parse as two different requests.
    #[inline(never)]
    fn check(&self) -> Result<()> {
        let hosts = self.headers.get_all("Host").iter().count();
        if hosts > 1 || (hosts == 0 && !self.http_1_0) {
            return Err(Error::refused(400, "An HTTP/1.1 request has exactly one Host header."));
        }
        if self.header("Host").is_some_and(|host| host_and_port(&host).is_none()) {
            return Err(Error::refused(400, "The Host header is not a host, with or without a port."));
        }
        if self.framing.is_some() && matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
            return Err(Error::refused(
                400,
                format!("A {} request with a body is not accepted here.", self.method),
            ));
        }
        match self.header("Expect") {
            Some(expect) if !self.http_1_0 && !expect.eq_ignore_ascii_case("100-continue") => {
                Err(Error::refused(417, "The only Expect here is 100-continue."))
            }
            _ => Ok(()),
        }
    }

    /// Returns the method, as sent: `GET`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the path without the query, still percent-encoded: `/websocket`.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns the query without the question mark, still percent-encoded; empty without one.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Returns `/path?query`, or `*`, as sent, for log lines.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Returns the value of a header, by name in any case; joins several lines of it with `, `. Replaces bytes that are
    /// not UTF-8. If the target is a URL, `Host` is that of the URL.
    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.headers.get_all(name).iter();
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    /// Returns the client's address. Behind a proxy it is the proxy's address, unless
    /// [`Application::xheaders`](crate::Application::xheaders) trusts the proxy; then the port is 0, because few
    /// proxies send it.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Returns whether the client is known to have used HTTPS: to this server, or to a trusted proxy, see
    /// [`Application::xheaders`](crate::Application::xheaders).
    pub fn is_secure(&self) -> bool {
        self.secure == Some(true)
    }

    /// Called if the client came by TLS.
    pub(crate) fn set_secure(&mut self) {
        self.secure = Some(true);
    }

    /// Returns the last value of argument `name`, percent-decoded, with `+` and control characters as spaces, and white
    /// space stripped from its ends, like Tornado's `get_argument`.
    ///
    /// # Errors
    /// [`Error::Refused`] with 400: `Missing argument NAME`, or the value is not UTF-8.
    pub fn get_argument(&self, name: &str) -> Result<String> {
        last_of(self.get_arguments(name)?, name)
    }

    /// [`get_argument`](Request::get_argument) with a default for a missing argument.
    ///
    /// # Errors
    /// [`Error::Refused`] with 400 if the value is not UTF-8.
    pub fn get_argument_or(&self, name: &str, default: &str) -> Result<String> {
        Ok(self.get_arguments(name)?.pop().unwrap_or_else(|| default.to_owned()))
    }

    /// Returns all values of argument `name`, in order; empty without the argument.
    ///
    /// # Errors
    /// [`Error::Refused`] with 400 if a value is not UTF-8.
    pub fn get_arguments(&self, name: &str) -> Result<Vec<String>> {
        arguments(self.query().as_bytes(), name)
    }

    /// Returns the value of a cookie, or `None`; the last one wins, and quotes are removed, as in Tornado.
    pub fn get_cookie(&self, name: &str) -> Option<String> {
        // RFC 6265 allows one Cookie line; HTTP/2 gateways may leave several.
        let lines = self.headers.get_all("Cookie").iter();
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        cookies::find(&lines.join("; "), name)
    }

    /// Returns whether a page of `origin` belongs to this server, as far as the request shows: host and port equal
    /// those of `Host`, in any case, and a missing port is the default of the origin's scheme. So `https://me.test`
    /// matches `Host: me.test` behind a proxy that does TLS. The schemes must also match where the server knows its
    /// own, see [`is_secure`](Request::is_secure). `null` and invalid origins never match.
    pub fn is_same_origin(&self, origin: &str) -> bool {
        let (Ok(origin), Some(host)) = (Origin::parse(origin), self.header("Host")) else { return false };
        let scheme = match self.secure {
            Some(true) => origin.scheme() == "https",
            Some(false) => origin.scheme() == "http",
            None => true,
        };
        scheme && origin.is_at(&host)
    }

    /// Stores the arguments of the matching route. The error is a 400 for bytes that are not UTF-8.
    pub(crate) fn set_route(&mut self, route: &str, arguments: &[(&str, String)]) -> Result<()> {
        route.clone_into(&mut self.route);
        for (name, value) in arguments {
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| Error::refused(400, format!("Invalid unicode in {name}")))?;
            self.path_arguments.push(((*name).to_owned(), value.into_owned()));
        }
        Ok(())
    }

    /// Returns the path with which the application added the route.
    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn is_http_1_0(&self) -> bool {
        self.http_1_0
    }

    /// Returns whether list header `name` has `token` among its comma-separated members, in any case.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.header(name).is_some_and(|list| list.split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    }

    /// RFC 9112, section 9.3: HTTP/1.1 persists unless a header says close; HTTP/1.0 closes.
    pub(crate) fn keep_alive(&self) -> bool {
        !self.http_1_0 && !self.has_token("Connection", "close")
    }
}

/// Shows only what is safe in a log: not the query, cookies or tokens, which may be in any header.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().map(HeaderName::as_str).collect();
        let mut debug = f.debug_struct("Request");
        debug.field("method", &self.method).field("path", &self.path()).field("headers", &names);
        debug.field("peer", &self.peer).field("secure", &self.secure).finish_non_exhaustive()
    }
}

/// Returns the values of `name` in a query or a form.
fn arguments(pairs: &[u8], name: &str) -> Result<Vec<String>> {
    let mut values = Vec::new();
    for pair in pairs.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (key, value) = equals.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        if decode(key) != name.as_bytes() {
            continue;
        }
        let value = String::from_utf8(decode(value))
            .map_err(|_| Error::refused(400, format!("Invalid unicode in {name}")))?;
        let odd = |c: char| c < ' ' && !('\t'..='\r').contains(&c);
        values.push(value.replace(odd, " ").trim().to_owned());
    }
    Ok(values)
}

/// Returns the last value of `name`, or a refusal if it is missing.
fn last_of(mut values: Vec<String>, name: &str) -> Result<String> {
    values.pop().ok_or_else(|| Error::refused(400, format!("Missing argument {name}")))
}

fn decode(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<_> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect()
}

mod body;
mod forwarded;
mod target;

#[cfg(test)]
mod tests;
