//! [`Offer`]: a client's half of the handshake: the request, and whether the answer is a WebSocket (RFC 6455, section
//! 4.1). Pure.

use std::fmt::Write;

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::http::{HeaderMap, HeaderName, HeaderValue};

use super::url::Url;
use crate::error::{Error, Result};
use crate::http::request_body::Framing;
use crate::http::response;
use crate::http::set_cookie::check_pair;
#[cfg(feature = "deflate")]
use crate::ws::permessage_deflate;

/// Most bytes in the head of an answer, and header lines in it.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;
/// A version that is not a WebSocket's.
const KNOWN_VERSION: &[u8] = b"HTTP/1.0";
/// Headers that the client itself writes, beside those that are a server's own, too.
const RESERVED: [&str; 3] = ["Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];

/// What the request has, beside what each one has.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    pub(super) headers: Vec<(String, String)>,
    pub(super) cookies: Vec<(String, String)>,
    pub(super) subprotocols: Vec<String>,
    /// Whether compression is offered.
    #[cfg(feature = "deflate")]
    pub(super) compression: bool,
}

/// What was offered, which the answer has to fit.
pub(super) struct Offer<'a> {
    wishes: &'a Wishes,
    /// The answer to the request's key.
    accept: String,
}

/// The head of an answer.
pub(super) struct AnswerHead {
    pub(super) status: u16,
    /// Whether it is of HTTP/1.1, which a WebSocket needs.
    is_http_1_1: bool,
    /// What follows the status in its line.
    pub(super) reason: String,
    pub(super) headers: HeaderMap,
}

/// What the server has agreed to.
pub(super) struct Agreement {
    pub(super) subprotocol: Option<String>,
    #[cfg(feature = "deflate")]
    /// The bits of the window that the server has for compressed messages; `None` without compression.
    pub(super) window_bits: Option<u8>,
}

impl Wishes {
    /// Returns the offer, and the request that makes it.
    pub(super) fn offer(&self, url: &Url) -> Result<(Offer<'_>, Vec<u8>)> {
        let key = generate_key();
        let mut head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
            url.target,
            url.authority()
        );
        let mut add = |name: &str, value: &str| {
            response::header(name, value)?;
            write!(head, "{name}: {value}\r\n").map_err(Error::other)
        };
        if !self.subprotocols.is_empty() {
            for name in &self.subprotocols {
                if HeaderName::from_bytes(name.as_bytes()).is_err() {
                    return Err(Error::invalid(format!("{name:?} cannot be a subprotocol: it is one word")));
                }
            }
            add("Sec-WebSocket-Protocol", &self.subprotocols.join(", "))?;
        }
        #[cfg(feature = "deflate")]
        if self.compression {
            add("Sec-WebSocket-Extensions", permessage_deflate::OFFER)?;
        }
        let (cookies, headers): (Vec<_>, Vec<_>) =
            self.headers.iter().partition(|(name, _)| name.eq_ignore_ascii_case("Cookie"));
        // All in one line (RFC 6265, section 5.4).
        let mut pairs: Vec<_> = cookies.into_iter().map(|(_, value)| value.clone()).collect();
        for (name, value) in &self.cookies {
            check_pair(name, value)?;
            pairs.push(format!("{name}={value}"));
        }
        if !pairs.is_empty() {
            add("Cookie", &pairs.join("; "))?;
        }
        for (name, value) in headers {
            response::not_reserved(name)
                .and_then(|()| {
                    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
                        return Err(Error::invalid(""));
                    }
                    Ok(())
                })
                .map_err(|_| Error::invalid(format!("the header {name} is the client's own")))?;
            add(name, value)?;
        }
        head.push_str("\r\n");
        Ok((Offer { wishes: self, accept: derive_accept_key(key.as_bytes()) }, head.into_bytes()))
    }
}

impl AnswerHead {
    /// Reads a head from the front of `bytes`, and says how many bytes it took; `None` while the end of it has not
    /// come. The error says what it is instead.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(AnswerHead, usize)>, String> {
        let taken = &bytes[..bytes.len().min(MAX_HEAD)];
        let mut lines = vec![httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut lines);
        // A malformed header does not hide the status of a refusal.
        let mut parser = httparse::ParserConfig::default();
        parser.ignore_invalid_headers_in_responses(!taken.starts_with(b"HTTP/1.1 101"));
        let length = match parser.parse_response(&mut head, taken) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => {
                return Err(format!("a head of over {MAX_HEAD} bytes or {MAX_HEADERS} headers"));
            }
            Err(error) => {
                // Perhaps of a version that the parser does not know.
                let known = with_known_version(bytes).filter(|_| error == httparse::Error::Version);
                let Some((known, version)) = known else {
                    return Err(format!("what is no HTTP/1.1 ({error})"));
                };
                let parsed = AnswerHead::parse(&known)?;
                return Ok(parsed.map(|(head, length)| (head, length + version - KNOWN_VERSION.len())));
            }
        };
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for line in head.headers.iter() {
            let name = HeaderName::from_bytes(line.name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) else {
                if head.code == Some(101) {
                    return Err("a malformed header".to_owned());
                }
                continue;
            };
            headers.append(name, value);
        }
        let (status, reason) = (head.code.unwrap_or_default(), head.reason.unwrap_or_default().to_owned());
        let is_http_1_1 = head.version == Some(1);
        Ok(Some((AnswerHead { status, is_http_1_1, reason, headers }, length)))
    }

    /// Returns whether another answer follows this one (RFC 9110, section 15.2).
    pub(super) fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// Returns where its body ends, or `most` bytes of it (RFC 9112, section 6.3); `None` if it has none. Unlike a
    /// request's it is only shown, so contradictory headers are read as well as they can be.
    pub(super) fn framing(&self, most: usize) -> Option<Framing> {
        if matches!(self.status, 204 | 304) {
            return None;
        }
        if self.has_token("Transfer-Encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        let length = self.values("Content-Length").first().and_then(|length| length.trim().parse().ok());
        // Without a length it goes to the end of the connection.
        let length = length.unwrap_or(u64::MAX).min(most as u64);
        (length > 0).then_some(Framing::Length(length))
    }

    /// Returns the values of a header, as they are if they are UTF-8.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    /// Returns all headers.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let value = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        self.headers.iter().map(|(name, found)| (name.to_string(), value(found))).collect()
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        let lines = self.values(name);
        lines.iter().flat_map(|line| line.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
    }
}

/// Writes the version of a status line as one that a parser knows. Returns the bytes, and the length of what it was.
fn with_known_version(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let number = bytes.strip_prefix(b"HTTP/")?.split(|byte| *byte == b' ').next()?;
    let is_number = !number.is_empty() && number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let (_, rest) = bytes.split_at(b"HTTP/".len() + number.len());
    is_number.then(|| ([KNOWN_VERSION, rest].concat(), bytes.len() - rest.len()))
}

impl Offer<'_> {
    /// Looks whether a 101 is what was asked for. The error says what it is instead.
    pub(super) fn check(&self, head: &AnswerHead) -> Result<Agreement, String> {
        if !head.is_http_1_1 {
            return Err("a 101 of HTTP/1.0, or of a version that nobody knows".to_owned());
        }
        if !head.has_token("Upgrade", "websocket") {
            return Err("a 101 without Upgrade: websocket".to_owned());
        }
        if !head.has_token("Connection", "upgrade") {
            return Err("a 101 without Connection: Upgrade".to_owned());
        }
        match &head.values("Sec-WebSocket-Accept")[..] {
            [accept] if *accept == self.accept => {}
            [_] => {
                return Err(
                    "a 101 with a wrong Sec-WebSocket-Accept: it does not know the request's key".to_owned()
                );
            }
            other => return Err(format!("a 101 with {} headers Sec-WebSocket-Accept", other.len())),
        }
        let subprotocol = match &head.values("Sec-WebSocket-Protocol")[..] {
            [] => None,
            [one] if self.wishes.subprotocols.contains(one) => Some(one.clone()),
            more => {
                return Err(format!(
                    "a 101 with the subprotocol {:?}, which was not offered",
                    more.join(", ")
                ));
            }
        };
        let extensions = head.values("Sec-WebSocket-Extensions").join(", ");
        #[cfg(feature = "deflate")]
        let window_bits = permessage_deflate::answered(&extensions).filter(|_| self.wishes.compression);
        #[cfg(not(feature = "deflate"))]
        let window_bits: Option<u8> = None;
        if !extensions.is_empty() && window_bits.is_none() {
            return Err(format!(
                "a 101 with the extensions {extensions:?}, which were not offered like that; none are without compression"
            ));
        }
        Ok(Agreement {
            subprotocol,
            #[cfg(feature = "deflate")]
            window_bits,
        })
    }
}
