//! The one error type of the crate.
//!
//! A connection that closes is an event ([`on_close`](crate::WebSocketHandler::on_close)), never an
//! error. An error says what was being done, to what, and what to do about it.

use std::{fmt, io};

/// What can go wrong, grouped by who has to act.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The request is refused with this HTTP status; the text is the body that the client reads.
    /// Returned by [`get_argument`](crate::Request::get_argument), and by a handler's `open` or
    /// `get` to refuse.
    Refused {
        /// An HTTP status of 400 to 599.
        status: u16,
        /// One line for the client.
        reason: String,
    },
    /// The connection is closed or closing: nothing was sent (Tornado: `WebSocketClosedError`).
    Closed,
    /// This client reads too slowly: the push found the backlog at its limit, was not accepted, and
    /// the client has been disconnected.
    SlowConsumer {
        /// Bytes that were waiting for the client.
        backlog: u64,
    },
    /// What was waited for did not come in time; nothing was sent.
    TimedOut,
    /// The caller passed something that is not allowed; nothing happened, the connection stays open.
    Invalid(String),
    /// The operating system refused something.
    Io {
        /// What was being done, and to what.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A refusal with an HTTP status (400 to 599) and one line for the client.
    pub fn refused(status: u16, reason: impl Into<String>) -> Error {
        Error::Refused { status, reason: reason.into() }
    }

    /// The caller's mistake, in a sentence that says what to do instead.
    pub fn invalid(what: impl Into<String>) -> Error {
        Error::Invalid(what.into())
    }

    /// Wraps what the system said with what was being done: `.map_err(Error::io("cannot listen"))`.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Io { doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused { status, reason } => write!(f, "HTTP {status}: {reason}"),
            Error::Closed => f.write_str("the connection is closed"),
            Error::SlowConsumer { backlog } => {
                write!(f, "slow consumer: {backlog} bytes were waiting, so the client was disconnected")
            }
            Error::TimedOut => f.write_str("timed out: what was waited for did not come"),
            Error::Invalid(what) => f.write_str(what),
            Error::Io { doing, source } => write!(f, "{doing}: {}", without_number(source)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// `Address already in use` rather than `Address already in use (os error 98)`.
fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_that_says_what_was_done() {
        let error = Error::io("cannot listen on port 80")(io::Error::from_raw_os_error(13));
        assert_eq!(error.to_string(), "cannot listen on port 80: Permission denied");
        assert_eq!(Error::refused(400, "Missing argument Id").to_string(), "HTTP 400: Missing argument Id");
    }
}
