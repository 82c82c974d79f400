//! [`guarded`]: an application's code is called here, and its panic ends here. On `client-N`.
//!
//! What it returns as an error is formatted and dropped here too, since it may be a type of the application. Never
//! here: an application's value that gets out, but for its handler, which is [`Contained`](crate::panics::Contained).

use crate::connection::connection::Connection;
use crate::error::{Error, Result};
use crate::observer::Event;
use crate::panics::caught;

/// A handler panicked. It has been logged.
pub(crate) struct Panicked;

/// Calls a handler. A panic is logged, and is the error.
pub(crate) fn guarded<T>(
    connection: &Connection,
    what: &'static str,
    call: impl FnOnce() -> T,
) -> Result<T, Panicked> {
    connection.report(Event::HandlerBegins(what));
    let result = caught(call);
    connection.report(Event::HandlerEnds { method: what, panicked: result.is_err() });
    result.map_err(|text| {
        log::error!(target: crate::LOG, "{connection}: the handler panicked in {what}: {text}");
        Panicked
    })
}

/// Calls a handler whose method can fail. An error of it has nothing of the application's any more.
pub(crate) fn guarded_result<T>(
    connection: &Connection,
    what: &'static str,
    call: impl FnOnce() -> Result<T>,
) -> Result<Result<T>, Panicked> {
    guarded(connection, what, || call().map_err(plain))
}

/// Makes text of an error that may have in it what an application has written.
#[cold]
#[inline(never)]
fn plain(error: Error) -> Error {
    match error {
        Error::Io { .. } | Error::Other(_) => Error::Invalid(error.to_string()),
        error => error,
    }
}

/// Before there is a WebSocket, a panic is answered like any other failure.
impl From<Panicked> for Error {
    fn from(Panicked: Panicked) -> Error {
        Error::refused(500, "Internal Server Error")
    }
}
