//! [`Offer`]: a client's half of the handshake: the request, and whether the answer is a WebSocket (RFC 6455, section
//! 4.1). Pure.

use std::fmt::Write;

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::http::HeaderName;

use super::answer::{AnswerHead, TOO_LONG};
use super::url::Url;
use crate::error::{Error, Result};
use crate::http::response;
use crate::http::set_cookie::check_pair;
#[cfg(feature = "deflate")]
use crate::ws::permessage_deflate;

/// Headers that only the client itself writes, in addition to those that are also a server's own.
const RESERVED: [&str; 3] = ["Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];

/// The variable part of the request.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    pub(super) headers: Vec<(String, String)>,
    pub(super) cookies: Vec<(String, String)>,
    pub(super) subprotocols: Vec<String>,
    /// Whether compression is offered.
    #[cfg(feature = "deflate")]
    pub(super) compression: bool,
}

/// The offer, which the answer has to match.
pub(super) struct Offer<'a> {
    wishes: &'a Wishes,
    /// The answer to the request's key.
    accept: String,
}

/// The server's choices.
pub(super) struct Agreement {
    pub(super) subprotocol: Option<String>,
    #[cfg(feature = "deflate")]
    /// The bits of the server's window for compressed messages; `None` without compression.
    pub(super) window_bits: Option<u8>,
}

impl Wishes {
    /// Returns the offer, and its request.
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
                    return Err(Error::invalid(format!("{name:?} cannot be a subprotocol: use one word")));
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
                .map_err(|_| {
                    Error::invalid(format!("the client writes the header {name} itself: leave it out"))
                })?;
            add(name, value)?;
        }
        head.push_str("\r\n");
        Ok((Offer { wishes: self, accept: derive_accept_key(key.as_bytes()) }, head.into_bytes()))
    }
}

impl Offer<'_> {
    /// Checks whether a 101 matches the offer. The error says how it differs.
    pub(super) fn check(&self, head: &AnswerHead) -> Result<Agreement, String> {
        if head.is_cut {
            return Err(format!("a 101 with {TOO_LONG}"));
        }
        if !head.is_http_1_1 {
            return Err("a 101 of HTTP/1.0, or of an unknown version".to_owned());
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
                    "a 101 with a Sec-WebSocket-Accept that does not match the request's key".to_owned()
                );
            }
            other => return Err(format!("a 101 with {} Sec-WebSocket-Accept headers", other.len())),
        }
        let subprotocol = match &head.values("Sec-WebSocket-Protocol")[..] {
            [] => None,
            [one] if self.wishes.subprotocols.contains(one) => Some(one.clone()),
            more => {
                return Err(format!(
                    "a 101 with the subprotocol {:?}, which the client did not offer",
                    more.join(", ")
                ));
            }
        };
        let extensions = head.values("Sec-WebSocket-Extensions").join(", ");
        #[cfg(feature = "deflate")]
        let window_bits = permessage_deflate::agreed_bits(&extensions).filter(|_| self.wishes.compression);
        #[cfg(not(feature = "deflate"))]
        let window_bits: Option<u8> = None;
        if !extensions.is_empty() && window_bits.is_none() {
            return Err(format!(
                "a 101 with the extensions {extensions:?}, which do not match the client's offer; without compression it offers none"
            ));
        }
        Ok(Agreement {
            subprotocol,
            #[cfg(feature = "deflate")]
            window_bits,
        })
    }
}
