//! The identity of a connection: equality, order, and the name in the log. Any thread.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::thread;

use super::Connection;

impl Connection {
    /// Returns whether the caller is its thread, `client-N`.
    #[cold]
    pub(super) fn is_on_its_thread(&self) -> bool {
        let thread = thread::current();
        let number = thread.name().and_then(|name| name.strip_prefix("client-"));
        number.and_then(|number| number.parse().ok()) == Some(self.id())
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Connection) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Connection {}

impl PartialOrd for Connection {
    fn partial_cmp(&self, other: &Connection) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Connection {
    fn cmp(&self, other: &Connection) -> Ordering {
        self.id().cmp(&other.id())
    }
}

impl Hash for Connection {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

/// `client-7 (127.0.0.1:50000 /websocket)`
impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link().fmt(f)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({self})")
    }
}
