//! [`Waker`]: ends the wait of the `listener`, which blocks in `poll` on its socket and on this. Any thread wakes it.
//!
//! Never here: shutting down a listening socket, which may belong to another process too.

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
    /// Whether the listener waits for a place or a thread. The listener writes it, each thread that returns one reads
    /// it.
    is_wanted: AtomicBool,
}

impl Waker {
    /// Makes an eventfd.
    pub(crate) fn new() -> io::Result<Waker> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Waker { event, is_wanted: AtomicBool::new(false) })
    }

    /// Ends the current wait, or the next one.
    pub(crate) fn wake(&self) {
        // It fails only if the counter is full, so the listener is already awake.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Sets whether [`gave_back`](Waker::gave_back) wakes. After `true` the listener checks once more before it waits.
    pub(crate) fn want(&self, wanted: bool) {
        self.is_wanted.store(wanted, Ordering::SeqCst);
    }

    /// Called when a place or a thread is free again. Makes no system call if the listener does not wait for it.
    #[inline]
    pub(crate) fn gave_back(&self) {
        if self.is_wanted.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Blocks until a client connects, [`wake`](Waker::wake) is called, or the time has passed.
    pub(crate) fn wait_for(&self, listener: &TcpListener, timeout: Option<Duration>) -> io::Result<()> {
        let listening = PollFd::new(listener, PollFlags::IN);
        self.poll(&mut [PollFd::new(&self.event, PollFlags::IN), listening], timeout)
    }

    /// Blocks until [`wake`](Waker::wake) is called, or the time has passed.
    pub(crate) fn pause(&self, timeout: Duration) -> io::Result<()> {
        self.poll(&mut [PollFd::new(&self.event, PollFlags::IN)], Some(timeout))
    }

    /// The first of the descriptors is the eventfd.
    fn poll(&self, descriptors: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
        // Longer than any timeout in use.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(descriptors, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !descriptors[0].revents().is_empty() {
            // Only resets the counter; its value does not matter.
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
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
