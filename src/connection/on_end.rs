//! Who is told of a connection's end.

use crate::connection::connection::Connection;
use crate::connection::guarded::guarded;
use crate::net::closer::{EndCall, Errand};

impl Connection {
    /// Calls `f` once, when the connection has [closed](Connection::is_closed), no matter which end did; at once if it has
    /// closed already. For a handler that blocks in something else than its messages, such as the channel of a
    /// worker: `f` sends it a word, or sets a flag.
    ///
    /// `f` runs on the thread `closer`, which all connections have in common: it must not block. A panic in it is logged,
    /// and ends nothing.
    ///
    /// The peer's own Close, and its end of TCP, are seen by reading, and by nothing else: while no thread reads
    /// [`Messages`](crate::Messages), a peer that leaves is noticed when something is written to it.
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
