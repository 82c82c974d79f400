//! [`Waker`]: ends the wait of the `listener`, which blocks in `poll` of its socket and of this. Any thread wakes it.
//!
//! A listening socket is never shut down for that: it may be another process's, too.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// See the [module](self).
pub(crate) struct Waker {
    event: OwnedFd,
    /// Whether somebody waits for a place or a thread. Written by the listener, read by each thread that returns one.
    is_wanted: AtomicBool,
}

impl Waker {
    /// Makes an eventfd.
    pub(crate) fn new() -> io::Result<Waker> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Waker { event, is_wanted: AtomicBool::new(false) })
    }

    /// Ends the wait there is, or the next one.
    pub(crate) fn wake(&self) {
        // It fails only where it was woken already, and that often.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Says whether [`gave_back`](Waker::gave_back) wakes. After `true` the listener looks once more before it waits.
    pub(crate) fn want(&self, wanted: bool) {
        self.is_wanted.store(wanted, Ordering::SeqCst);
    }

    /// Called when a place or a thread is free again: without anybody who waits for it, no system call.
    #[inline]
    pub(crate) fn gave_back(&self) {
        if self.is_wanted.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Blocks until somebody wants to be accepted, it is woken, or the time has passed.
    pub(crate) fn wait_for(&self, listener: &TcpListener, timeout: Option<Duration>) -> io::Result<()> {
        let listening = PollFd::new(listener, PollFlags::IN);
        self.poll(&mut [PollFd::new(&self.event, PollFlags::IN), listening], timeout)
    }

    /// Blocks until it is woken, or the time has passed.
    pub(crate) fn pause(&self, timeout: Duration) -> io::Result<()> {
        self.poll(&mut [PollFd::new(&self.event, PollFlags::IN)], Some(timeout))
    }

    fn poll(&self, descriptors: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
        // Longer than any that is used.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(descriptors, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // What it counts does not matter, only that it is zero again.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_wake_ends_one_wait_and_one_that_nobody_wants_ends_none() {
        let waker = Waker::new().unwrap();
        let begun = Instant::now();
        waker.wake();
        waker.wake();
        waker.pause(LONG).unwrap();
        waker.gave_back();
        waker.pause(Duration::from_millis(1)).unwrap();
        waker.want(true);
        waker.gave_back();
        waker.pause(LONG).unwrap();
        assert!(begun.elapsed() < LONG);
        let begun = Instant::now();
        waker.pause(Duration::from_millis(20)).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(20), "nothing is left of the wakes before");
    }
}
