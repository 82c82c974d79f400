//! [`Lane`]: the thread on which something happened. Any thread.

use std::{fmt, thread};

/// A thread of the server, by its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// `client-N`.
    Client(u64),
    /// `pump-N`.
    Pump(u64),
    /// `writer-N`.
    Writer(u64),
    /// `send`, or a thread that shares its rounds.
    Send(u64),
    /// `listener`.
    Listener,
    /// A thread of the lab.
    Lab,
    /// Any other.
    Other,
}

impl Lane {
    /// Returns the calling thread's lane.
    pub fn current() -> Lane {
        thread::current().name().map_or(Lane::Other, Lane::of)
    }

    /// Returns the lane of the thread of this name.
    pub fn of(name: &str) -> Lane {
        let (role, number) = name.split_once('-').unwrap_or((name, "1"));
        let number = || number.parse().ok();
        let lane = match role {
            "client" => number().map(Lane::Client),
            "pump" => number().map(Lane::Pump),
            "writer" => number().map(Lane::Writer),
            "send" => number().map(Lane::Send),
            "listener" => Some(Lane::Listener),
            "lab" => Some(Lane::Lab),
            _ => None,
        };
        lane.unwrap_or(Lane::Other)
    }
}

/// The thread's name.
impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lane::Client(number) => write!(f, "client-{number}"),
            Lane::Pump(number) => write!(f, "pump-{number}"),
            Lane::Writer(number) => write!(f, "writer-{number}"),
            Lane::Send(1) => f.write_str("send"),
            Lane::Send(number) => write!(f, "send-{number}"),
            Lane::Listener => f.write_str("listener"),
            Lane::Lab => f.write_str("lab"),
            Lane::Other => f.write_str("other"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_a_table() {
        for (name, lane) in [
            ("client-7", Lane::Client(7)),
            ("pump-7", Lane::Pump(7)),
            ("writer-12", Lane::Writer(12)),
            ("send", Lane::Send(1)),
            ("send-2", Lane::Send(2)),
            ("listener", Lane::Listener),
        ] {
            assert_eq!(Lane::of(name), lane);
            assert_eq!(lane.to_string(), name);
        }
        assert_eq!(Lane::of("lab-events"), Lane::Lab);
        for odd in ["", "main", "client-", "client-x", "closer"] {
            assert_eq!(Lane::of(odd), Lane::Other, "{odd}");
        }
    }
}
