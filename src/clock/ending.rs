//! Drains the clients, as the options say or to a successor. Runs on the thread `threadcast`.

use std::net::TcpListener;
use std::time::Duration;

use crate::clock::notify;
use crate::clock::options::ending::EndOptions;
use threadcast::{Result, Server};

/// Time over which the clients move to the successor, unless `--drain` sets it.
const HAND_OVER: Duration = Duration::from_secs(2);

/// Returns the sockets for the successor.
///
/// # Errors
/// As of [`Server::listener`].
pub fn sockets(server: &Server, redirect: Option<&Server>) -> Result<Vec<TcpListener>> {
    [Some(server), redirect].into_iter().flatten().map(Server::listener).collect()
}

/// Drains the server, and shuts it down. If a successor serves, does not wait first.
pub fn drain(server: &Server, options: &EndOptions, has_successor: bool) {
    let (delay, over) = if has_successor {
        (Duration::ZERO, Some(options.drain.unwrap_or(HAND_OVER)))
    } else {
        (options.drain_delay, options.drain)
    };
    notify::stopping(delay + over.unwrap_or_default());
    server.drain(delay, over);
}
