//! Notifies a supervisor (sd_notify(3)) that the program serves, that it ends, and that it is alive. Runs on
//! `threadcast` and on `watchdog`.
//!
//! Never blocks: a notification is dropped if the supervisor's socket is full.

use std::env;
use std::ffi::{OsStr, OsString};
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
    if let Some(name) = env::var_os(SOCKET) {
        tell_at(&name, text);
    }
}

fn tell_at(name: &OsStr, text: &str) {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
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
        Watchdog::feed(every, env::var_os(SOCKET).unwrap_or_default(), server, rounds).map(Some)
    }

    fn feed(
        every: Duration,
        supervisor: OsString,
        server: &Arc<Server>,
        rounds: &Arc<RoundStats>,
    ) -> io::Result<Watchdog> {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let (server, rounds) = (server.clone(), rounds.clone());
        let run = move || {
            let mut before = None;
            while stopped.recv_timeout(every / 2) == Err(RecvTimeoutError::Timeout) {
                let beat = server.beat();
                if lives(beat, before, rounds.standstill().is_some(), server.is_draining()) {
                    tell_at(&supervisor, "WATCHDOG=1");
                }
                before = Some(beat);
            }
        };
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(run)?;
        Ok(Watchdog { thread, stop })
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
    use std::net::TcpStream;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use chrono::{DateTime, Local};
    use threadcast::{Application, Capacity, Event, Observer};

    use super::*;
    use crate::clock::clients::Clients;
    use crate::clock::send_thread::{Rounds, SendThread};

    /// How long any event may take.
    const DEADLINE: Duration = Duration::from_secs(60);
    /// Of the watchdog; without a word for that many of them it has stopped.
    const EVERY: Duration = Duration::from_millis(20);
    const SILENCE: Duration = Duration::from_secs(1);

    /// Each thread stands still while the test holds its lock.
    static SEND: Mutex<()> = Mutex::new(());
    static LISTENER: Mutex<()> = Mutex::new(());

    fn pass(lock: &'static Mutex<()>) -> MutexGuard<'static, ()> {
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until the supervisor has a sign of life.
    fn hear(supervisor: &UnixDatagram) {
        supervisor.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut bytes = [0; 64];
        let length = supervisor.recv(&mut bytes).expect("a sign of life");
        assert_eq!(&bytes[..length], b"WATCHDOG=1");
    }

    /// Blocks until the supervisor hears nothing any more.
    fn hear_the_end(supervisor: &UnixDatagram) {
        supervisor.set_read_timeout(Some(SILENCE)).unwrap();
        let begun = std::time::Instant::now();
        while supervisor.recv(&mut [0; 64]).is_ok() {
            assert!(begun.elapsed() < DEADLINE, "the watchdog is still fed");
        }
    }

    #[test]
    fn the_watchdog_is_fed_only_while_send_and_the_listener_run() {
        let name = format!("threadcast-watchdog-{}", process::id());
        let supervisor = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let observer = Observer::new(|_, event| {
            if event == Event::Accepted {
                drop(pass(&LISTENER));
            }
        });
        observer.watch(true);
        let application = Application::new().observer(observer);
        let server = Server::bind_with("127.0.0.1:0", application, Capacity::new(10)).unwrap();
        let (server, interval) = (Arc::new(server), Duration::from_millis(10));
        let rounds = Arc::new(RoundStats::new(interval));
        let wall: fn() -> DateTime<Local> = || {
            drop(pass(&SEND));
            Local::now()
        };
        let how = Rounds { interval, pad: 0, threads: Some(1), wall };
        let send = SendThread::start(Arc::new(Clients::new()), how, rounds.clone()).unwrap();
        let watchdog = Watchdog::feed(EVERY, format!("@{name}").into(), &server, &rounds).unwrap();
        (0..3).for_each(|_| hear(&supervisor));
        let stuck = pass(&SEND);
        hear_the_end(&supervisor);
        assert!(rounds.standstill().is_some());
        drop(stuck);
        (0..3).for_each(|_| hear(&supervisor));
        let stuck = pass(&LISTENER);
        let _client = TcpStream::connect(server.local_addr()).unwrap();
        hear_the_end(&supervisor);
        assert!(rounds.standstill().is_none());
        drop(stuck);
        (0..3).for_each(|_| hear(&supervisor));
        watchdog.stop();
        send.stop();
    }

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
