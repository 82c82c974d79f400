//! How the program leaves its clients: by the options, or to its successor. On the thread `threadcast`.

use std::net::TcpListener;
use std::time::Duration;

use crate::clock::notify;
use crate::clock::options::ending::EndOptions;
use threadcast::{Result, Server};

/// Over what time the clients go to the successor, unless `--drain` says so.
const HAND_OVER: Duration = Duration::from_secs(2);

/// Returns the sockets for the successor.
///
/// # Errors
/// As of [`Server::listener`].
pub fn sockets(server: &Server, redirect: Option<&Server>) -> Result<Vec<TcpListener>> {
    [Some(server), redirect].into_iter().flatten().map(Server::listener).collect()
}

/// Drains the server, and shuts it down. Where a successor serves there is nothing to wait for before.
pub fn drain(server: &Server, options: &EndOptions, has_successor: bool) {
    let (delay, over) = if has_successor {
        (Duration::ZERO, Some(options.drain.unwrap_or(HAND_OVER)))
    } else {
        (options.drain_delay, options.drain)
    };
    notify::stopping(delay + over.unwrap_or_default());
    server.drain(delay, over);
}
