//! [`negotiate`]: parses an offer of permessage-deflate and accepts it if it can (RFC 7692, section 7.1); and our own
//! [`OFFER`], with the answers that a server may give. Pure.

use std::fmt;

use crate::ws::compress::MAX_WINDOW_BITS;

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
/// All parameters of the extension.
const PARAMETERS: [&str; 4] = [
    SERVER_NO_CONTEXT_TAKEOVER,
    "client_no_context_takeover",
    SERVER_MAX_WINDOW_BITS,
    CLIENT_MAX_WINDOW_BITS,
];
const MIN_WINDOW_BITS: u8 = 8;
/// The offer of our client. The client cannot inflate a message that refers to an earlier one, and never sends one.
pub(crate) const OFFER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits";

/// An accepted offer.
///
/// Its `Display` is the answer. Neither side keeps context between messages. The answer says so, because browsers would
/// keep it, and because this end compresses each message once for all clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The most bits of the client's window, if the offer limits it.
    server_max_window_bits: Option<u8>,
    /// The most bits that the client's own messages need. A server always inflates with the largest window.
    client_max_window_bits: Option<u8>,
}

/// Accepts the first valid offer in `Sec-WebSocket-Extensions`, its lines joined by commas.
pub(crate) fn negotiate(offers: &str) -> Option<Agreed> {
    split(offers, ',').find_map(accept)
}

/// Returns the bits of a server's window for this client's messages; `None` if the answer does not match [`OFFER`]: it
/// must name this extension alone, without context takeover.
pub(crate) fn agreed_bits(answer: &str) -> Option<u8> {
    let has = |parameter: &str| split(answer, ';').any(|other| other == parameter);
    // In an answer, `client_max_window_bits` has a value.
    if split(answer, ',').count() != 1 || !has(SERVER_NO_CONTEXT_TAKEOVER) || has(CLIENT_MAX_WINDOW_BITS) {
        return None;
    }
    Some(accept(answer)?.client_max_window_bits.unwrap_or(MAX_WINDOW_BITS))
}

impl Agreed {
    /// Returns the bits of the client's window.
    pub(crate) fn window_bits(self) -> u8 {
        self.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS)
    }
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate; server_no_context_takeover; client_no_context_takeover")?;
        match self.server_max_window_bits {
            Some(bits) => write!(f, "; server_max_window_bits={bits}"),
            None => Ok(()),
        }
    }
}

/// Parses one offer; `None` if it is for another extension, or has an unknown parameter.
fn accept(offer: &str) -> Option<Agreed> {
    let mut parts = split(offer, ';');
    if parts.next()? != NAME {
        return None;
    }
    let mut agreed = Agreed { server_max_window_bits: None, client_max_window_bits: None };
    let mut seen = [false; PARAMETERS.len()];
    for parameter in parts {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim(), Some(unquoted(value.trim()))),
            None => (parameter, None),
        };
        let number = PARAMETERS.iter().position(|known| *known == name)?;
        if std::mem::replace(&mut seen[number], true) {
            return None;
        }
        match (name, value) {
            (SERVER_MAX_WINDOW_BITS, Some(value)) => agreed.server_max_window_bits = Some(bits(value)?),
            (CLIENT_MAX_WINDOW_BITS, Some(value)) => agreed.client_max_window_bits = Some(bits(value)?),
            (SERVER_MAX_WINDOW_BITS, None) | (_, Some(_)) => return None,
            (_, None) => {}
        }
    }
    Some(agreed)
}

/// Parses 8 to 15, in plain decimal.
fn bits(value: &str) -> Option<u8> {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    value.parse().ok().filter(|bits| is_plain && (MIN_WINDOW_BITS..=MAX_WINDOW_BITS).contains(bits))
}

/// Returns the value of a quoted string (RFC 6455, section 9.1), or an unquoted value unchanged.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// Splits, except within quotes.
fn split(text: &str, by: char) -> impl Iterator<Item = &str> {
    let (mut in_quotes, mut escaped) = (false, false);
    let is_end = move |c: char| {
        in_quotes ^= c == '"' && !escaped;
        escaped = in_quotes && c == '\\' && !escaped;
        c == by && !in_quotes
    };
    text.split(is_end).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_the_clients_offer_as_a_table() {
        let with = |more: &str| format!("permessage-deflate; server_no_context_takeover{more}");
        for (answer, bits) in [
            (with("; client_no_context_takeover"), Some(15)),
            (with(""), Some(15)),
            ("permessage-deflate;server_no_context_takeover".to_owned(), Some(15)),
            (with("; server_max_window_bits=9"), Some(15)),
            (with("; client_max_window_bits=9"), Some(9)),
            (with("; client_max_window_bits=15; server_max_window_bits=8"), Some(15)),
            (with("; client_max_window_bits"), None),
            (with("; client_max_window_bits=7"), None),
            (with("; server_max_window_bits=7"), None),
            (with("; server_no_context_takeover"), None),
            (with("; level=9"), None),
            (with(", permessage-deflate"), None),
            ("permessage-deflate".to_owned(), None),
            ("permessage-deflate; client_no_context_takeover".to_owned(), None),
            ("x-webkit-deflate-frame; server_no_context_takeover".to_owned(), None),
        ] {
            assert_eq!(agreed_bits(&answer), bits, "{answer}");
        }
    }

    #[test]
    fn offers_and_answers_as_a_table() {
        let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let with = |bits: u8| format!("{plain}; server_max_window_bits={bits}");
        for (offers, answer) in [
            // Offers of browsers, python's websockets, and ws.
            ("permessage-deflate; client_max_window_bits", Some(plain.to_owned())),
            ("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", Some(with(12))),
            ("permessage-deflate", Some(plain.to_owned())),
            // Each parameter.
            ("permessage-deflate; server_no_context_takeover", Some(plain.to_owned())),
            ("permessage-deflate;client_no_context_takeover", Some(plain.to_owned())),
            ("permessage-deflate; client_max_window_bits=8", Some(plain.to_owned())),
            ("permessage-deflate; server_max_window_bits=8", Some(with(8))),
            ("permessage-deflate; server_max_window_bits=15", Some(with(15))),
            ("permessage-deflate; server_max_window_bits = \"10\"", Some(with(10))),
            // Invalid bits.
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=", None),
            ("permessage-deflate; server_max_window_bits=7", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=08", None),
            ("permessage-deflate; server_max_window_bits=+9", None),
            ("permessage-deflate; server_max_window_bits=0x9", None),
            ("permessage-deflate; server_max_window_bits=264", None),
            ("permessage-deflate; server_max_window_bits=1,0", None),
            ("permessage-deflate; client_max_window_bits=", None),
            ("permessage-deflate; client_max_window_bits=16", None),
            ("permessage-deflate; client_max_window_bits=\"9", None),
            // Parameters that are unknown, repeated, or must not have a value.
            ("permessage-deflate; level=9", None),
            ("permessage-deflate; ", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; client_no_context_takeover=\"\"", None),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", None),
            ("permessage-deflate; SERVER_MAX_WINDOW_BITS=9", None),
            // Other extensions, and none at all.
            ("", None),
            (",", None),
            (";", None),
            ("x-webkit-deflate-frame", None),
            ("permessage-deflated", None),
            ("permessage-bzip2; note=\"permessage-deflate\"", None),
            ("x; y=\", permessage-deflate\"", None),
            ("x; y=\"\\\", permessage-deflate, \"", None),
            // The first valid one of several.
            ("x; y=\"a,b\", permessage-deflate", Some(plain.to_owned())),
            ("permessage-deflate; server_max_window_bits=99, permessage-deflate", Some(plain.to_owned())),
            ("permessage-deflate; server_max_window_bits=9, permessage-deflate", Some(with(9))),
            (", ,permessage-deflate,", Some(plain.to_owned())),
        ] {
            assert_eq!(negotiate(offers).map(|agreed| agreed.to_string()), answer, "{offers}");
        }
    }
}
