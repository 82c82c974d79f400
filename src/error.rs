//! The one error type of the crate.
//!
//! A connection that closes is an event ([`on_close`](crate::WebSocketHandler::on_close)), not an error. An error names
//! what was being done, to what, and what to do about it.

use std::fmt;
use std::io::{self, ErrorKind};

use crate::printable::{Printable, printable};

/// All that can go wrong, grouped by who has to act.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A handler refused the request with this HTTP status; the client reads the text as the body.
    /// [`get_argument`](crate::Request::get_argument) returns it, and a handler's `open` or `get` does so to refuse.
    /// [`Error::refused`] makes one.
    #[non_exhaustive]
    Refused {
        /// An HTTP status of 400 to 599.
        status: u16,
        /// One line for the client.
        reason: String,
        /// Names and values of response headers, in addition to those that the handler has set in its exchange.
        headers: Vec<(String, String)>,
    },
    /// The connection is closed or closing, and nothing was sent (Tornado: `WebSocketClosedError`).
    Closed,
    /// This client reads too slowly: its backlog was at the limit, so the server dropped the push and disconnected the
    /// client.
    SlowConsumer {
        /// The client's backlog, in bytes.
        backlog: u64,
    },
    /// The time limit passed before the event came; nothing was sent. A handler that returns it closes with 1008
    /// `timed out`.
    TimedOut,
    /// A handler closes its connection with this code. Made by [`Error::closing`].
    #[non_exhaustive]
    Closing {
        /// The code of the Close frame.
        code: u16,
        /// Its reason.
        reason: String,
    },
    /// The server did not accept a client's handshake: it answered with a status other than 101, with an invalid 101,
    /// or not with HTTP. Or its proxy did not open a tunnel. [`client::connect`](crate::client::connect) returns it.
    #[non_exhaustive]
    Handshake {
        /// Which server or proxy, and what it answered, in one line.
        reason: String,
        /// The answer, if it was HTTP.
        answer: Option<Box<HttpAnswer>>,
    },
    /// A client ended its connection because it could not read what the server sent, or because the server went silent.
    #[non_exhaustive]
    Failed {
        /// The code of the Close frame that the client sent (RFC 6455, section 7.4.1).
        code: u16,
        /// Which server, and why, in one line.
        reason: String,
    },
    /// The caller passed an invalid value; nothing happened, and the connection stays open.
    Invalid(String),
    /// The operating system refused something.
    Io {
        /// The operation that failed, and its object.
        doing: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Any other error, which `?` carried up: [`Error::other`].
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// The server's answer in place of a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpAnswer {
    /// The HTTP status; 101 if another part of the answer is wrong.
    pub status: u16,
    /// Names and values of the headers.
    pub headers: Vec<(String, String)>,
    /// The first bytes of the body, 16 KiB at most.
    pub body: Vec<u8>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns a refusal with an HTTP status (400 to 599) and one line for the client.
    ///
    /// ```
    /// use threadcast::Error;
    ///
    /// let refused = Error::refused(401, "Who are you?").with_header("WWW-Authenticate", "Basic realm=\"door\"");
    /// assert_eq!(refused.to_string(), "HTTP 401: Who are you?");
    /// ```
    ///
    /// # Panics
    /// If `status` is not from 400 to 599. To redirect a client, call
    /// [`Exchange::redirect`](crate::Exchange::redirect).
    #[track_caller]
    pub fn refused(status: u16, reason: impl Into<String>) -> Error {
        assert!(
            (400..=599).contains(&status),
            "a refusal has a status of 400 to 599, not {status}; use Exchange::redirect to redirect"
        );
        Error::Refused { status, reason: reason.into(), headers: Vec::new() }
    }

    /// Closes the connection, when a handler's `run` or `on_message` returns it: with this code, and of the reason the
    /// first 123 bytes, or fewer where that would cut a character. This is not a failure, and the log has no line about it. A code
    /// that may not be sent is 1011, and a line; 4000 to 4999 are the program's own.
    ///
    /// ```
    /// use threadcast::Error;
    ///
    /// let closing = Error::closing(4408, "no name in time");
    /// assert_eq!(closing.to_string(), "closing with 4408: no name in time");
    /// ```
    pub fn closing(code: u16, reason: impl Into<String>) -> Error {
        Error::Closing { code, reason: reason.into() }
    }

    /// Adds a header to the response of a refusal; it replaces one that the handler has set under that name. An error
    /// of another kind stays unchanged, because its response, a 500, carries none of the handler's headers. An invalid
    /// value, or a header that only the server may set, turns the refusal into a 500, and the log says why.
    pub fn with_header(mut self, name: &str, value: &str) -> Error {
        if let Error::Refused { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Wraps any error. A handler that returns it fails: the client gets a 500 or a Close with 1011, and the log has a
    /// line. `?` does this for [`io::Error`] and [`serde_json::Error`].
    ///
    /// ```
    /// use threadcast::{Error, Result};
    ///
    /// fn celsius(line: &str) -> Result<f64> {
    ///     line.trim().parse().map_err(Error::other)
    /// }
    /// assert_eq!(celsius("warm").unwrap_err().to_string(), "invalid float literal");
    /// ```
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Other(error.into())
    }

    /// Returns [`Error::Invalid`] with a sentence that says what to pass instead.
    pub fn invalid(what: impl Into<String>) -> Error {
        Error::Invalid(what.into())
    }

    /// Adds what was being done to an error of the system: `.map_err(Error::io("cannot listen"))`.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Io { doing, source }
    }
}

impl Error {
    /// Returns the text as one log line, cut and escaped: a handler may have taken it from a client.
    pub(crate) fn one_line(&self) -> Printable<&Error> {
        printable(self)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A page's text may begin with the status, as Tornado's do.
            Error::Refused { status, reason, .. } => {
                let status = status.to_string();
                let bare = reason.strip_prefix(&status).and_then(|rest| rest.strip_prefix(": "));
                write!(f, "HTTP {status}: {}", bare.unwrap_or(reason))
            }
            Error::Closed => f.write_str("the connection is closed"),
            Error::Closing { code, reason } => write!(f, "closing with {code}: {reason}"),
            Error::SlowConsumer { backlog } => {
                write!(f, "slow consumer: {backlog} bytes were waiting, so it was disconnected")
            }
            Error::Handshake { reason, .. } | Error::Failed { reason, .. } => f.write_str(reason),
            Error::TimedOut => f.write_str("timed out"),
            Error::Invalid(what) => f.write_str(what),
            Error::Io { doing, source } => write!(f, "{doing}: {}", without_number(source)),
            Error::Other(error) => match error.downcast_ref::<io::Error>() {
                Some(error) => f.write_str(&without_number(error)),
                None => error.fmt(f),
            },
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Other(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

/// This conversion does not know what was being done; [`Error::io`] does.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::other(error)
    }
}

/// A failure of the handler: if the JSON came from the client, refuse with 400 instead.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error::other(error)
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

/// Returns whether a call has blocked as long as it may, or would have blocked.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Calls again where a signal has interrupted the call, or where TLS has received a part of a record. A process that is
/// stopped and continued has its calls interrupted where a socket has a timeout.
#[inline(always)]
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
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
        assert_eq!(
            Error::refused(405, "405: Method Not Allowed").to_string(),
            "HTTP 405: Method Not Allowed"
        );
    }
    #[test]
    fn a_question_mark_carries_other_errors_and_keeps_their_source() {
        fn read() -> Result<String> {
            Ok(std::fs::read_to_string("/nowhere/at/all")?)
        }
        fn parse() -> Result<u8> {
            Ok(serde_json::from_str("{")?)
        }
        let source = |error: &Error| std::error::Error::source(error).map(ToString::to_string);
        let error = read().unwrap_err();
        assert_eq!(error.to_string(), "No such file or directory");
        assert_eq!(source(&error).unwrap(), "No such file or directory (os error 2)");
        let error = parse().unwrap_err();
        assert!(error.to_string().starts_with("invalid type: map, expected u8"), "{error}");
        assert!(std::error::Error::source(&error).unwrap().is::<serde_json::Error>());
        assert_eq!(Error::other("plain words").to_string(), "plain words");
    }

    #[test]
    fn a_refusal_with_the_status_of_something_else_is_a_panic_with_a_sentence() {
        for status in [0, 100, 200, 302, 399, 600, 1000] {
            let panic = std::panic::catch_unwind(|| Error::refused(status, "x")).unwrap_err();
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(
                text.contains(&format!("not {status};")) && text.contains("Exchange::redirect"),
                "{text}"
            );
        }
    }
}
