//! [`negotiate`]: what an offer of permessage-deflate asks for, and whether it can be had (RFC 7692, section 7.1); and
//! our own [`OFFER`], with what a server may make of it. Pure.

use std::fmt;

use crate::ws::compress::MAX_WINDOW_BITS;

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
/// All that there are.
const PARAMETERS: [&str; 4] = [
    SERVER_NO_CONTEXT_TAKEOVER,
    "client_no_context_takeover",
    SERVER_MAX_WINDOW_BITS,
    CLIENT_MAX_WINDOW_BITS,
];
const MIN_WINDOW_BITS: u8 = 8;
/// A client's own. It cannot inflate what leans on the message before; and what it sends never does.
pub(crate) const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// An offer that is accepted.
///
/// Its `Display` is the answer. Neither side keeps anything from one message to the next: the other end is told
/// so, since browsers would, and the messages of this end are made once for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The most bits that the client's window has, if it says so.
    server_max_window_bits: Option<u8>,
}

/// Accepts the first good one of the offers in `Sec-WebSocket-Extensions`, its lines joined by commas.
pub(crate) fn negotiate(offers: &str) -> Option<Agreed> {
    split(offers, ',').find_map(accept)
}

/// Returns whether a server's answer is one to [`OFFER`]: this extension alone, no context taken over by the server,
/// and nothing that the client would have to do and has not offered. What the server's own window is does not matter:
/// all is inflated with the largest.
pub(crate) fn accepts_offer(answer: &str) -> bool {
    let is_promised = split(answer, ';').any(|parameter| parameter == SERVER_NO_CONTEXT_TAKEOVER);
    let asks_for_bits = split(answer, ';').any(|parameter| parameter.starts_with(CLIENT_MAX_WINDOW_BITS));
    split(answer, ',').count() == 1 && accept(answer).is_some() && is_promised && !asks_for_bits
}

impl Agreed {
    /// Returns the bits of the window that the client has.
    pub(crate) fn window_bits(self) -> u8 {
        self.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS)
    }
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(OFFER)?;
        match self.server_max_window_bits {
            Some(bits) => write!(f, "; server_max_window_bits={bits}"),
            None => Ok(()),
        }
    }
}

/// Reads one offer; `None` if it is for something else, or asks for what there is not.
fn accept(offer: &str) -> Option<Agreed> {
    let mut parts = split(offer, ';');
    if parts.next()? != NAME {
        return None;
    }
    let (mut agreed, mut seen) = (Agreed { server_max_window_bits: None }, [false; PARAMETERS.len()]);
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
            // What the client sends is inflated with the largest window, whatever it has.
            (CLIENT_MAX_WINDOW_BITS, Some(value)) => drop(bits(value)?),
            (SERVER_MAX_WINDOW_BITS, None) | (_, Some(_)) => return None,
            (_, None) => {}
        }
    }
    Some(agreed)
}

/// Reads 8 to 15, in plain decimal.
fn bits(value: &str) -> Option<u8> {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    value.parse().ok().filter(|bits| is_plain && (MIN_WINDOW_BITS..=MAX_WINDOW_BITS).contains(bits))
}

/// Returns the value in a quoted string (RFC 6455, section 9.1); as it is if that is what it is.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// Splits outside of quotes.
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
        for (answer, is_right) in [
            (OFFER, true),
            ("permessage-deflate;server_no_context_takeover", true),
            ("permessage-deflate; server_no_context_takeover; server_max_window_bits=9", true),
            ("permessage-deflate; server_no_context_takeover; server_max_window_bits=7", false),
            ("permessage-deflate; server_no_context_takeover; client_max_window_bits=9", false),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", false),
            ("permessage-deflate; server_no_context_takeover; level=9", false),
            ("permessage-deflate", false),
            ("permessage-deflate; client_no_context_takeover", false),
            ("permessage-deflate; server_no_context_takeover, permessage-deflate", false),
            ("x-webkit-deflate-frame; server_no_context_takeover", false),
        ] {
            assert_eq!(accepts_offer(answer), is_right, "{answer}");
        }
    }

    #[test]
    fn offers_and_answers_as_a_table() {
        let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let with = |bits: u8| format!("{plain}; server_max_window_bits={bits}");
        for (offers, answer) in [
            // What browsers, python's websockets, and ws offer.
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
            // Bits that are none.
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
            // Parameters that may not be, or not twice, or not with a value.
            ("permessage-deflate; level=9", None),
            ("permessage-deflate; ", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; client_no_context_takeover=\"\"", None),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", None),
            ("permessage-deflate; SERVER_MAX_WINDOW_BITS=9", None),
            // Other extensions, and none.
            ("", None),
            (",", None),
            (";", None),
            ("x-webkit-deflate-frame", None),
            ("permessage-deflated", None),
            ("permessage-bzip2; note=\"permessage-deflate\"", None),
            ("x; y=\", permessage-deflate\"", None),
            ("x; y=\"\\\", permessage-deflate, \"", None),
            // The first good one of several.
            ("x; y=\"a,b\", permessage-deflate", Some(plain.to_owned())),
            ("permessage-deflate; server_max_window_bits=99, permessage-deflate", Some(plain.to_owned())),
            ("permessage-deflate; server_max_window_bits=9, permessage-deflate", Some(with(9))),
            (", ,permessage-deflate,", Some(plain.to_owned())),
        ] {
            assert_eq!(negotiate(offers).map(|agreed| agreed.to_string()), answer, "{offers}");
        }
    }
}
