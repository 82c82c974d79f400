//! The events of the clients, and the actions of a scenario.

use std::fmt;
use std::io::ErrorKind;
use std::time::Instant;

/// An event of a client.
#[derive(Debug)]
pub enum Event<'a> {
    /// The handshake is done.
    Opened,
    /// A complete message came.
    Message(&'a [u8]),
    /// The connection is gone.
    Ended(&'a Ended),
}

/// A scenario's order to a client after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send the crowd's prepared message.
    Send,
    /// Drop the connection.
    HangUp,
    /// Never read again, and stay.
    StopReading,
}

/// Why a connection is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The server answered the handshake with this HTTP status.
    Refused(u16),
    /// The server closed, in an orderly way.
    Closed,
    /// The connection failed.
    Failed(ErrorKind),
    /// The handshake took too long.
    TimedOut,
    /// The server broke the protocol.
    Protocol(&'static str),
    /// The scenario hung up.
    HungUp,
}

/// The end of a client, as in "one was refused with status 503".
impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => write!(out, "refused with status {status}"),
            Self::Closed => out.write_str("closed by the server"),
            Self::Failed(kind) => write!(out, "lost ({kind})"),
            Self::TimedOut => out.write_str("left without an answer to its handshake"),
            Self::Protocol(what) => write!(out, "answered with something else: {what}"),
            Self::HungUp => out.write_str("hung up"),
        }
    }
}

/// Gets a client's events, and answers each with an action.
pub type Listener<'a> = dyn FnMut(usize, Event<'_>, Instant) -> Action + 'a;
