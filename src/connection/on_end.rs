//! Calls at a connection's end.

use crate::connection::connection::Connection;
use crate::connection::guarded::guarded;
use crate::net::closer::{EndCall, Errand};

impl Connection {
    /// Calls `f` once, when the connection has [closed](Connection::is_closed), no matter which end did; at once if it
    /// has closed already. For a handler that does not block in its messages, but for example in the channel of a
    /// worker: `f` sends to that, or sets a flag.
    ///
    /// `f` runs on the thread `closer`, which all connections share: it must not block. The library logs a panic in it,
    /// and continues.
    ///
    /// Only a read sees the peer's own Close, and its end of TCP. While no thread reads [`Messages`](crate::Messages),
    /// only a write detects that the peer has left.
    ///
    /// ```no_run
    /// use crossbeam_channel::{Receiver, bounded, select};
    /// use threadcast::{Connection, Error, Result};
    ///
    /// fn forward(connection: &Connection, jobs: &Receiver<String>) -> Result<()> {
    ///     let (open, end) = bounded::<()>(0);
    ///     connection.on_end(move || drop(open)); // `end` is ready then
    ///     loop {
    ///         select! {
    ///             recv(jobs) -> job => connection.write_message(job.map_err(Error::other)?)?,
    ///             recv(end) -> _ => return Ok(()),
    ///         }
    ///     }
    /// }
    /// ```
    #[inline(never)]
    pub fn on_end(&self, f: impl FnOnce() + Send + 'static) {
        let connection = self.clone();
        let call = EndCall::new(move || {
            // A panic has been logged.
            let _ = guarded(&connection, "on_end", f);
        });
        if let Some(call) = self.link().memberships.call_at_end(call, || self.is_closed()) {
            let _ = self.state().closer.send(Errand::Call(call));
        }
    }
}
