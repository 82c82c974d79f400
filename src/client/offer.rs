//! [`Offer`]: a client's half of the handshake: the request, and whether the answer is a WebSocket (RFC 6455, section
//! 4.1). Pure.

use std::fmt::Write;

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::http::{HeaderMap, HeaderName, HeaderValue};

use super::url::Url;
use crate::error::{Error, Result};
use crate::http::response;
use crate::http::set_cookie::check_pair;
#[cfg(feature = "deflate")]
use crate::ws::deflate;

/// Most bytes in the head of an answer, and header lines in it.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;
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
            add("Sec-WebSocket-Extensions", deflate::OFFER)?;
        }
        for (name, value) in &self.cookies {
            check_pair(name, value)?;
        }
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            add("Cookie", &pairs.join("; "))?;
        }
        for (name, value) in &self.headers {
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
        let mut lines = vec![httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut lines);
        let length = match head.parse(&bytes[..bytes.len().min(MAX_HEAD)]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => {
                return Err(format!("a head of over {MAX_HEAD} bytes or {MAX_HEADERS} headers"));
            }
            Err(error) => return Err(format!("what is no HTTP/1.1 ({error})")),
        };
        if head.version != Some(1) {
            return Err("HTTP/1.0".to_owned());
        }
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for line in head.headers.iter() {
            let name = HeaderName::from_bytes(line.name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) else {
                return Err("a malformed header".to_owned());
            };
            headers.append(name, value);
        }
        let (status, reason) = (head.code.unwrap_or_default(), head.reason.unwrap_or_default().to_owned());
        Ok(Some((AnswerHead { status, reason, headers }, length)))
    }

    /// Returns whether another answer follows this one (RFC 9110, section 15.2).
    pub(super) fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
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

impl Offer<'_> {
    /// Looks whether a 101 is what was asked for. The error says what it is instead.
    pub(super) fn check(&self, head: &AnswerHead) -> Result<Agreement, String> {
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
        let window_bits = deflate::answered(&extensions).filter(|_| self.wishes.compression);
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
