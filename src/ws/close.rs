//! [`CloseCode`]: every Close that this library sends: its code, its text, and whether the client should come back; and
//! which codes may be on the wire at all. Pure.

use std::ops::RangeInclusive;

/// The codes that may be sent and received (RFC 6455, section 7.4): those of IANA's registry, and the ranges for libraries
/// and for private use. 1004 is reserved; 1005, 1006 and 1015 are never on the wire.
const ON_THE_WIRE: [RangeInclusive<u16>; 3] = [1000..=1003, 1007..=1014, 3000..=4999];

/// A Close that a server or a client of this library sends. An application may send any other, see
/// [`Connection::close`](crate::Connection::close).
///
/// ```
/// use threadcast::CloseCode;
///
/// assert_eq!((CloseCode::REPLACED.code, CloseCode::REPLACED.reason), (4001, "replaced"));
/// assert!(CloseCode::ALL.iter().any(|close| close.code == 1001 && close.comes_back));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseCode {
    /// The code.
    pub code: u16,
    /// The text beside it.
    pub reason: &'static str,
    /// Whether a client that gets it should connect again, after a pause. If not, the next connection would end as this
    /// one.
    pub comes_back: bool,
}

/// Declares the constants, and the list of all.
macro_rules! close_codes {
    ($($(#[$doc:meta])+ $name:ident = ($code:literal, $reason:literal, $comes_back:literal);)+) => {
        impl CloseCode {
            $($(#[$doc])+ pub const $name: CloseCode =
                CloseCode { code: $code, reason: $reason, comes_back: $comes_back };)+

            /// All of them, by code.
            pub const ALL: &'static [CloseCode] = &[$(CloseCode::$name),+];
        }
    };
}

close_codes! {
    /// The server shuts down.
    SHUTTING_DOWN = (1001, "server shutting down", true);
    /// A frame is wrong.
    PROTOCOL_ERROR = (1002, "protocol error", false);
    /// A text is not valid UTF-8.
    INVALID_TEXT = (1007, "invalid UTF-8", false);
    /// A compressed message cannot be inflated.
    INVALID_DEFLATE = (1007, "invalid compressed data", false);
    /// A handler waited in vain for its client, and returned [`Error::TimedOut`](crate::Error::TimedOut).
    TIMED_OUT = (1008, "timed out", true);
    /// The client has sent more than it may, see [`OverLimit::Close`](crate::OverLimit::Close).
    TOO_FAST = (1008, "rate limit exceeded", true);
    /// A message is over the limit.
    TOO_BIG = (1009, "message too big", false);
    /// Other clients need the room of a message that is not whole.
    GAVE_WAY = (1009, "no room for all of this message, try again later", true);
    /// The handler failed, or panicked.
    INTERNAL_ERROR = (1011, "internal error", true);
    /// The peer showed no sign of life after a Ping.
    PING_TIMEOUT = (1011, "ping timed out", true);
    /// Another server takes over.
    RESTART = (1012, "service restart", true);
    /// The server has no room for a message.
    NO_ROOM = (1013, "no room for this message, try again later", true);
    /// A newer client has taken the Id.
    REPLACED = (4001, "replaced", false);
}

/// The code of a Close that has a reason alone.
pub(crate) const NORMAL: u16 = 1000;
/// The code, without a text, of a client whose program has no more use for the connection.
pub(crate) const GOING_AWAY: u16 = 1001;

/// Returns whether a Close frame may have this code.
pub(crate) fn is_on_the_wire(code: u16) -> bool {
    ON_THE_WIRE.iter().any(|range| range.contains(&code))
}

/// `1000 to 1003, 1007 to 1014, or 3000 to 4999`
pub(crate) fn which_may_be_sent() -> String {
    let [first, second, last] = ON_THE_WIRE.map(|range| format!("{} to {}", range.start(), range.end()));
    format!("{first}, {second}, or {last}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::frame::MAX_CONTROL;

    #[test]
    fn each_close_of_ours_may_be_sent_whole_and_stands_in_the_list_once() {
        for (at, close) in CloseCode::ALL.iter().enumerate() {
            assert!(is_on_the_wire(close.code) && close.reason.len() <= MAX_CONTROL - 2, "{close:?}");
            let same = |other: &CloseCode| (other.code, other.reason) == (close.code, close.reason);
            assert_eq!(CloseCode::ALL.iter().position(same), Some(at), "{close:?}");
        }
        assert!(CloseCode::ALL.is_sorted_by_key(|close| close.code));
    }
}
