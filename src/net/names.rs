//! [`Names`]: the addresses of a host, looked up on the thread `dns`, which exists only during a look-up.
//!
//! The system's resolver has no deadline that a caller could choose. Never here: two concurrent look-ups.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// Looks up a name: with the system's resolver, except in tests.
type LookUp = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct Names(Arc<LookUps>);

struct LookUps {
    look_up: LookUp,
    /// Written by the thread that begins a look-up, and by `dns`.
    state: Mutex<LookUpState>,
    /// Signalled when a look-up is over, or the waiting is cancelled.
    changed: Condvar,
}

#[derive(Default)]
struct LookUpState {
    begun: u64,
    ended: u64,
    found: Vec<SocketAddr>,
    /// Why the look-up failed.
    failure: String,
    is_closed: bool,
}

impl Names {
    /// Asks the system.
    pub(crate) fn new() -> Names {
        Names::asking(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    fn asking(look_up: LookUp) -> Names {
        Names(Arc::new(LookUps { look_up, state: Mutex::default(), changed: Condvar::new() }))
    }

    /// Blocks until the addresses are known, in the system's order, or the deadline passes. A slower look-up continues,
    /// and the next call waits for it: a `Names` is for one host.
    pub(crate) fn find(&self, host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(vec![(address, port).into()]);
        }
        let mut state = self.0.state();
        if state.begun == state.ended {
            state.begun += 1;
            let (shared, host) = (self.0.clone(), host.to_owned());
            let started = thread::Builder::new().name("dns".to_owned());
            started.spawn(move || shared.run(&host, port)).inspect_err(|_| state.ended = state.begun)?;
        }
        let awaited = state.begun;
        while state.ended < awaited && !state.is_closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    "the system's resolver does not answer in time",
                ));
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.found.is_empty() {
            return Err(io::Error::other(state.failure.clone()));
        }
        Ok(state.found.clone())
    }

    /// Cancels the waiting, now and later.
    #[cfg(any(test, feature = "redis"))]
    pub(crate) fn close(&self) {
        self.0.state().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl LookUps {
    fn state(&self) -> MutexGuard<'_, LookUpState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, host: &str, port: u16) {
        let found = loop {
            match (self.look_up)(host, port) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                found => break found,
            }
        };
        let mut state = self.state();
        state.ended = state.begun;
        state.failure = found.as_ref().err().map_or("it has none".to_owned(), ToString::to_string);
        state.found = found.unwrap_or_default();
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use super::*;

    static SILENT: Mutex<()> = Mutex::new(());
    static ASKED: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn a_look_up_that_hangs_is_waited_for_until_the_deadline_and_is_the_only_one() {
        let names = Names::asking(|_, port| {
            ASKED.fetch_add(1, SeqCst);
            drop(SILENT.lock());
            Ok(vec![([10, 0, 0, 5], port).into()])
        });
        let silent = SILENT.lock().unwrap();
        for _ in 0..3 {
            let error = names.find("redis.test", 1, Instant::now() + Duration::from_millis(5)).unwrap_err();
            assert_eq!(error.to_string(), "the system's resolver does not answer in time");
        }
        for address in ["127.0.0.1", "[::1]", "::1"] {
            assert_eq!(names.find(address, 7, Instant::now()).unwrap()[0].port(), 7, "{address}");
        }
        drop(silent);
        let soon = Instant::now() + Duration::from_secs(60);
        assert_eq!(names.find("redis.test", 1, soon).unwrap(), [([10, 0, 0, 5], 1).into()]);
        assert!(ASKED.load(SeqCst) <= 2, "one that hung, and at most one after it");
    }

    #[test]
    fn a_failed_look_up_says_so_and_a_cancelled_one_releases_its_caller() {
        let refuses = Names::asking(|_, _| Err(io::Error::other("no such name")));
        let soon = Instant::now() + Duration::from_secs(60);
        let error = refuses.find("redis.test", 1, soon).unwrap_err().to_string();
        assert_eq!(error, "no such name");
        let hangs = Names::asking(|_, _| {
            loop {
                thread::park();
            }
        });
        hangs.close();
        assert!(hangs.find("redis.test", 1, soon).is_err());
        assert!(Instant::now() < soon);
    }
}
