//! The thread `send`: the tutorial's `SendThread`. Sleeps one interval between rounds of pushes.
//!
//! Above a few hundred clients it shares a round with `send-2` and so on, one on each core, by way of
//! [`FanOut`].
//!
//! Never here: a push that blocks, a lock held while pushing, a log line before the round is out.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::{DateTime, Local};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use threadcast::{FanOut, printable};

use crate::clock::clients::Clients;
use crate::clock::rounds::RoundStats;
use crate::clock::time;

/// Up to this many clients each one has a line in the log, as in the tutorial; above it a round has one.
const MAX_LINES_PER_ROUND: usize = 20;

/// How it pushes.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// From the beginning of one round to the beginning of the next.
    pub interval: Duration,
    /// Bytes to which the payload is padded with JSON; 0 in an ordinary clock.
    pub pad: usize,
    /// Threads that share a large round; `None` for one on each core.
    pub threads: Option<usize>,
    /// The clock whose time is pushed. It may jump, since the start of rounds does not depend on it.
    pub wall: fn() -> DateTime<Local>,
}

/// A running `send` thread.
pub struct SendThread {
    thread: JoinHandle<()>,
    /// Dropped to wake the thread from its sleep, for good.
    stop: Sender<()>,
}

impl SendThread {
    /// Starts pushing the time to `clients`, at once and then every interval, and counts rounds in `stats`.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub fn start(clients: Arc<Clients>, rounds: Rounds, stats: Arc<RoundStats>) -> io::Result<SendThread> {
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let thread = thread::Builder::new()
            .name("send".to_owned())
            .spawn(move || run(&clients, rounds, &stats, &stopped))?;
        Ok(SendThread { thread, stop })
    }

    /// Stops pushing, and joins the threads.
    pub fn stop(self) {
        drop(self.stop);
        // If it panicked, that has been reported.
        let _ = self.thread.join();
    }
}

fn run(clients: &Clients, rounds: Rounds, stats: &RoundStats, stopped: &Receiver<()>) {
    let fan_out = rounds.threads.map_or_else(FanOut::new, FanOut::with_threads).named("send").pinned();
    let mut next = Instant::now();
    loop {
        let begun = Instant::now();
        push(clients, &rounds, &fan_out);
        stats.finished(begun.saturating_duration_since(next), begun.elapsed());
        next += rounds.interval;
        let now = Instant::now();
        if next < now {
            // The next round follows at once, without extra rounds to catch up.
            next = now;
            let late = stats.late();
            if late == 1 {
                log::warn!("a round of pushes took longer than the interval; /stats counts the next ones");
            }
        }
        if stopped.recv_deadline(next) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Pushes one round: one payload, to everybody who is connected when it begins.
fn push(clients: &Clients, rounds: &Rounds, fan_out: &FanOut) {
    let most_ids = if log::log_enabled!(log::Level::Debug) { usize::MAX } else { MAX_LINES_PER_ROUND };
    let (sessions, ids) = clients.snapshot(most_ids);
    let clients = sessions.len();
    let now = (rounds.wall)();
    let payload = time::payload(&now);
    let sent = fan_out.broadcast(sessions, time::padded(&now, rounds.pad)).unwrap_or_else(|error| {
        log::error!("cannot push this round: {error}");
        0
    });
    if ids.len() < clients {
        log::info!("write to {sent} clients:{payload}");
    }
    for id in &ids {
        log::info!("write to client {}:{payload}", printable(id));
    }
}
