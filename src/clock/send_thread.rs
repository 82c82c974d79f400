//! The thread `send`: the tutorial's `SendThread`. Sleeps one interval between rounds of pushes.
//!
//! Never here: a push that blocks, a lock held while pushing, a log line that a push waits for.

use std::io;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use chrono::Local;
use crossbeam_channel::Receiver;
use crossbeam_channel::RecvTimeoutError;
use crossbeam_channel::Sender;

use crate::broadcast;
use crate::clock::clients::Clients;
use crate::clock::logging::printable;
use crate::clock::time;

/// Up to this many clients each one has a line in the log, as in the tutorial; above it a round has one.
const LINE_EACH: usize = 20;

/// A running `send` thread.
pub struct SendThread {
    thread: JoinHandle<()>,
    /// Dropped to wake the thread from its sleep, for good.
    stop: Sender<()>,
}

impl SendThread {
    /// Starts pushing the time to `clients`, at once and then every `interval`, padded with spaces to
    /// `width` bytes, which an ordinary clock has as 0.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub fn start(clients: Arc<Clients>, interval: Duration, width: usize) -> io::Result<SendThread> {
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let thread = thread::Builder::new()
            .name("send".to_owned())
            .spawn(move || run(&clients, interval, width, &stopped))?;
        Ok(SendThread { thread, stop })
    }

    /// Stops pushing, and joins the thread.
    pub fn stop(self) {
        drop(self.stop);
        // If it panicked, that has been reported.
        let _ = self.thread.join();
    }
}

fn run(clients: &Clients, interval: Duration, width: usize, stopped: &Receiver<()>) {
    let mut next = Instant::now();
    loop {
        push(clients, width);
        // A round that took longer than the interval is followed by the next one at once, and by no
        // second one to catch up.
        next = (next + interval).max(Instant::now());
        if stopped.recv_deadline(next) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// One round: one payload, to everybody who is there when it begins.
fn push(clients: &Clients, width: usize) {
    let sessions = clients.snapshot();
    let payload = time::payload(&Local::now());
    let connections = sessions.iter().map(|(_, connection)| connection);
    let sent = broadcast(connections, format!("{payload:width$}")).expect("within the limit");
    if sessions.len() <= LINE_EACH || log::log_enabled!(log::Level::Debug) {
        for (id, _) in &sessions {
            log::info!("write to client {}:{payload}", printable(id));
        }
    } else {
        log::info!("write to {sent} clients:{payload}");
    }
}
