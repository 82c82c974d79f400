//! How a connection ends, for its reader.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::time::Duration;

use crate::connection::connection::Connection;
use crate::connection::reader::End;
use crate::connection::timed_io::{Deadline, discard_until};
use crate::error::{Error, Result};
use crate::metrics::DisconnectReason;
use crate::net::closer::CLOSE_GRACE;
use crate::ws::close::CloseCode;

/// Ends a server's connection, which the session will finish: sends the Close for this kind of end.
pub(super) fn of_session(connection: &Connection, end: &End) {
    match end {
        End::Over => {}
        End::Lost(error) => {
            // After a reset writes fail, and perhaps no pump runs yet that would notice.
            if error.kind() == ErrorKind::ConnectionReset {
                connection.outbox().kill(DisconnectReason::Done);
            }
        }
        End::Fail(CloseCode { code, reason, .. }, _) => {
            // No thread reads any more, so none awaits an answer.
            connection.link().set_close(None, None);
            log::debug!("{connection}: closing with {code} {reason}");
            // Not accepted if a Close is out already: then there is nothing to add.
            let _ = connection.close(Some(*code), Some(reason));
        }
    }
}

/// Ends a client's connection, which has no session.
pub(super) fn of_owner(connection: &Connection, name: &str, end: End) -> Result<()> {
    match end {
        End::Fail(CloseCode { code, reason, .. }, _) => {
            // Not accepted if a Close is out already: then there is nothing to add.
            let _ = connection.close(Some(code), Some(reason));
            linger(connection);
            let reason = format!("{name}: {reason}, so it was closed with {code}");
            Err(Error::Failed { code, reason })
        }
        End::Over => {
            connection.outbox().wait_until_written();
            connection.link().transport.finish();
            gone(connection);
            Ok(())
        }
        End::Lost(error) => lost(connection, name, error),
    }
}

/// The connection ended without the server's Close: counts the reason.
fn lost(connection: &Connection, name: &str, error: io::Error) -> Result<()> {
    gone(connection);
    let ended_by = connection.ended_by();
    if ended_by.is_some_and(DisconnectReason::is_slowness) {
        return Err(Error::SlowConsumer { backlog: connection.backlog() });
    }
    let is_overdue = ended_by == Some(DisconnectReason::CloseTimeout);
    let source = match error.kind() {
        _ if is_overdue => io::Error::new(ErrorKind::TimedOut, "the server did not answer it in time"),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionAborted => {
            io::Error::new(ErrorKind::UnexpectedEof, "it ended without a Close frame")
        }
        _ => error,
    };
    let doing = if is_overdue { "closing" } else { "reading from" };
    Err(Error::Io { doing: format!("{doing} {name}"), source })
}

/// Finishes: waits until nothing is queued, and no thread remains.
fn gone(connection: &Connection) {
    connection.outbox().kill(connection.ended_by().unwrap_or(DisconnectReason::Done));
    connection.link().join_pump();
}

/// Leaves the rest of the writing, and of the reading, to a separate thread: the kernel answers unread bytes with a
/// reset, which may overtake the Close.
pub(super) fn linger(connection: &Connection) {
    let (own, state) = (connection.clone(), connection.state());
    let run = move || {
        own.outbox().wait_until_written();
        if !own.link().is_client() {
            // A client waits until its server ends the connection.
            own.link().tcp().shutdown(Shutdown::Write);
        }
        let _ = discard_until(&own, Deadline::within(CLOSE_GRACE, "its end did not come in time"));
        gone(&own);
    };
    let name = format!("linger-{}", connection.id());
    let started = state.budget.spawn(name, Duration::ZERO, run);
    if let Err(error) = started {
        log::warn!("{connection} closes without a Close frame: {error}");
        connection.outbox().kill(DisconnectReason::Failed);
    }
}
