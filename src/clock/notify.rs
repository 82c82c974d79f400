//! Notifies a supervisor (sd_notify(3)) that the program serves, that it ends, and that it is alive. Runs on
//! `threadcast` and on `watchdog`.
//!
//! Never blocks: a notification is dropped if the supervisor's socket is full.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender};
use threadcast::Server;

use crate::clock::rounds::RoundStats;

/// Where the supervisor listens: a path, or a name that begins with `@`.
pub const SOCKET: &str = "NOTIFY_SOCKET";
/// The interval in which the supervisor expects a sign of life, and from which process.
const WATCHDOG_MICROS: &str = "WATCHDOG_USEC";
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";
/// Extra time for a late end: the shutdown's own seconds, and a busy machine.
const SLACK: Duration = Duration::from_secs(10);

/// Says this to the supervisor, if there is one.
pub fn tell(text: &str) {
    let Some(name) = env::var_os(SOCKET) else { return };
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&name),
    };
    // Does not fail if the supervisor is gone or busy.
    let _ = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(text.as_bytes(), &address)
    });
}

/// Says that the program serves.
pub fn ready(server: &Server) {
    let clients = server.capacity().clients;
    tell(&format!("READY=1\nSTATUS=serving on {} for up to {clients} clients", server.local_addr()));
}

/// Says that the program ends, and how long this takes.
pub fn stopping(takes: Duration) {
    let micros = takes.saturating_add(SLACK).as_micros();
    let seconds = takes.as_secs();
    tell(&format!(
        "STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}\nSTATUS=draining for {seconds} s, then shutting down"
    ));
}

/// The thread `watchdog`.
pub struct Watchdog {
    thread: JoinHandle<()>,
    /// Dropped to end the thread.
    stop: Sender<()>,
}

impl Watchdog {
    /// Sends signs of life twice as often as the supervisor expects them, as long as `send` and the listener are alive.
    /// Returns `None` if the supervisor does not ask for them.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub fn start(server: &Arc<Server>, rounds: &Arc<RoundStats>) -> io::Result<Option<Watchdog>> {
        let Some(every) = wanted(|name| env::var(name).ok()) else { return Ok(None) };
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let (server, rounds) = (server.clone(), rounds.clone());
        let run = move || {
            let mut before = None;
            while stopped.recv_timeout(every / 2) == Err(RecvTimeoutError::Timeout) {
                let beat = server.beat();
                if lives(beat, before, rounds.standstill().is_some(), server.is_draining()) {
                    tell("WATCHDOG=1");
                }
                before = Some(beat);
            }
        };
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(run)?;
        Ok(Some(Watchdog { thread, stop }))
    }

    /// Ends it. Nobody feeds the supervisor then.
    pub fn stop(self) {
        drop(self.stop);
        // If it panicked, that has been reported.
        let _ = self.thread.join();
    }
}

/// Returns whether `listener`, by its beat, and `send` are alive. A server that ends does not accept.
fn lives(beat: u64, before: Option<u64>, send_stands_still: bool, is_draining: bool) -> bool {
    is_draining || (before != Some(beat) && !send_stands_still)
}

/// Returns the time within which the supervisor wants to hear from this process.
fn wanted(variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let micros = variable(WATCHDOG_MICROS)?.parse().ok().filter(|micros| *micros > 0)?;
    let is_own = variable(WATCHDOG_PROCESS).is_none_or(|process| process == process::id().to_string());
    is_own.then_some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supervisor_hears_nothing_where_send_or_the_listener_stands_still() {
        for (beat, before, send_stands_still, is_draining, expected) in [
            (1, None, false, false, true),
            (2, Some(1), false, false, true),
            (2, Some(2), false, false, false),
            (2, Some(1), true, false, false),
            (2, Some(2), true, true, true),
        ] {
            let found = lives(beat, before, send_stands_still, is_draining);
            assert_eq!(found, expected, "{beat} after {before:?}, {send_stands_still}, {is_draining}");
        }
    }

    #[test]
    fn the_watchdog_is_wanted_of_this_process_and_in_microseconds() {
        let own = process::id().to_string();
        for (micros, of, every) in [
            (Some("6000000"), Some(own.as_str()), Some(6000)),
            (Some("500000"), None, Some(500)),
            (Some("6000000"), Some("1"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (None, Some(own.as_str()), None),
        ] {
            let variable = |name: &str| if name == WATCHDOG_MICROS { micros } else { of }.map(str::to_owned);
            assert_eq!(wanted(variable), every.map(Duration::from_millis), "{micros:?} {of:?}");
        }
    }
}
