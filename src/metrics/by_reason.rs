//! Numbers by name, for programs that show all of them: a new reason is in their lists without a change there.

use super::{Counter, Counters, Disconnects, Limited, Rejections};

/// How many handshakes there were, by result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeResults {
    /// The client got what it asked for.
    pub completed: u64,
    /// The server refused, or the client left.
    pub failed: u64,
}

/// A thread that writes to a full socket, until this is dropped.
pub(crate) struct CountedPump<'a>(&'a Counters);

impl Counters {
    /// Counts a pump.
    pub(crate) fn pump_begins(&self) -> CountedPump<'_> {
        self.pumps.add(1);
        CountedPump(self)
    }
}

impl Drop for CountedPump<'_> {
    fn drop(&mut self) {
        self.0.pumps_ended.add(1);
    }
}

impl HandshakeResults {
    pub(super) fn of(completed: &Counter, failed: &Counter) -> HandshakeResults {
        HandshakeResults { completed: completed.get(), failed: failed.get() }
    }

    /// Returns each number with the name of its field.
    pub fn by_result(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [("completed", self.completed), ("failed", self.failed)].into_iter()
    }
}

impl Rejections {
    /// Returns each number with the name of its field.
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [
            ("full", self.full),
            ("half_open", self.half_open),
            ("clients_per_address", self.clients_per_address),
            ("connects_per_address", self.connects_per_address),
            ("draining", self.draining),
        ]
        .into_iter()
    }
}

impl Limited {
    /// Returns each number with the name of its field.
    pub fn by_limit(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [("messages", self.messages), ("bytes", self.bytes)].into_iter()
    }
}

impl Disconnects {
    /// Returns each number with the name of its field.
    ///
    /// ```
    /// use threadcast::{Application, Server};
    ///
    /// let server = Server::bind("127.0.0.1:0", Application::new())?;
    /// for (reason, count) in server.stats().disconnects.by_reason() {
    ///     println!("closed_total{{reason=\"{reason}\"}} {count}");
    /// }
    /// # Ok::<(), threadcast::Error>(())
    /// ```
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [
            ("overflow", self.overflow),
            ("stalled", self.stalled),
            ("no_pump", self.no_pump),
            ("failed", self.failed),
            ("evicted", self.evicted),
            ("close_timeout", self.close_timeout),
            ("ping_timeout", self.ping_timeout),
            ("too_fast", self.too_fast),
            ("gave_way", self.gave_way),
            ("shutdown", self.shutdown),
            ("panicked", self.panicked),
            ("done", self.done),
        ]
        .into_iter()
    }
}
