//! [`guarded`]: calls the application's code, and catches its panics. On `client-N`.
//!
//! It also formats and drops the errors that the code returns, because they may have a type of the application. Never
//! here: letting an application's value escape, except its handler, which is [`Contained`](crate::panics::Contained).

use crate::connection::connection::Connection;
use crate::error::{Error, Result};
use crate::observer::Event;
use crate::panics::caught;

/// A handler panicked. It has been logged.
pub(crate) struct Panicked;

/// Calls a handler. Logs a panic, and returns it as the error.
pub(crate) fn guarded<T>(
    connection: &Connection,
    what: &'static str,
    call: impl FnOnce() -> T,
) -> Result<T, Panicked> {
    connection.report(Event::HandlerBegins(what));
    let result = caught(call);
    connection.report(Event::HandlerEnds { method: what, panicked: result.is_err() });
    result.map_err(|text| {
        log::error!("{connection}: the handler panicked in {what}: {text}");
        Panicked
    })
}

/// Calls a handler whose method can fail. The error no longer contains values of the application.
pub(crate) fn guarded_result<T>(
    connection: &Connection,
    what: &'static str,
    call: impl FnOnce() -> Result<T>,
) -> Result<Result<T>, Panicked> {
    guarded(connection, what, || call().map_err(plain))
}

/// Converts an error that may contain the application's values to text.
#[cold]
#[inline(never)]
pub(crate) fn plain(error: Error) -> Error {
    match error {
        Error::Io { .. } | Error::Other(_) => Error::Invalid(error.to_string()),
        error => error,
    }
}

/// Before the WebSocket is open, a panic gets the answer of any other failure.
impl From<Panicked> for Error {
    fn from(Panicked: Panicked) -> Error {
        Error::refused(500, "Internal Server Error")
    }
}
