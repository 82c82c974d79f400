//! The thread `send`: the tutorial's `SendThread`. Sleeps one interval between rounds of pushes.
//!
//! Above a few hundred clients it shares a round with `send-2` and so on, one for each core. They block in
//! a channel between rounds.
//!
//! Never here: a push that blocks, a lock held while pushing, a log line before the round is out.

use std::io;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use chrono::DateTime;
use chrono::Local;
use crossbeam_channel::Receiver;
use crossbeam_channel::RecvTimeoutError;
use crossbeam_channel::Sender;

use crate::Connection;
use crate::broadcast;
use crate::clock::clients::Clients;
use crate::clock::logging::printable;
use crate::clock::stats::RoundStats;
use crate::clock::time;

/// Up to this many clients each one has a line in the log, as in the tutorial; above it a round has one.
const LINE_EACH: usize = 20;
/// A round of fewer clients is not shared: waking another thread costs more than it would push.
const SHARED_FROM: usize = 500;

/// How it pushes.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// From the beginning of one round to the beginning of the next.
    pub interval: Duration,
    /// The payload is padded with spaces to so many bytes; 0 in an ordinary clock.
    pub width: usize,
    /// Threads that share a large round; `None` for one on each core.
    pub threads: Option<usize>,
    /// The time that is pushed. It may jump: when a round begins has nothing to do with it.
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
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let mut helpers = Helpers::new(rounds.threads.unwrap_or_else(cores).max(1) - 1);
    let mut next = Instant::now();
    loop {
        let begun = Instant::now();
        push(clients, &rounds, &mut helpers);
        stats.finished(begun.elapsed());
        next += rounds.interval;
        let now = Instant::now();
        if next < now {
            // The next round follows at once, and none to catch up.
            next = now;
            let late = stats.late();
            if late == 1 {
                log::warn!("a round of pushes was not done within the interval; /stats counts those to come");
            }
        }
        if stopped.recv_deadline(next) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// One round: one payload, to everybody who is there when it begins.
fn push(clients: &Clients, rounds: &Rounds, helpers: &mut Helpers) {
    let most_ids = if log::log_enabled!(log::Level::Debug) { usize::MAX } else { LINE_EACH };
    let (sessions, ids) = clients.snapshot(most_ids);
    let sessions = Arc::new(sessions);
    let payload = time::payload(&(rounds.wall)());
    let padding = " ".repeat(rounds.width.saturating_sub(payload.len()));
    let sent = helpers.share(&sessions, &(payload.clone() + &padding));
    if ids.len() < sessions.len() {
        log::info!("write to {sent} clients:{payload}");
    }
    for id in &ids {
        log::info!("write to client {}:{payload}", printable(id));
    }
}

type Sessions = Arc<Vec<Connection>>;

/// A part of a round.
struct Share {
    sessions: Sessions,
    range: Range<usize>,
    payload: String,
}

impl Share {
    /// The number of clients that it reached.
    fn push(self) -> usize {
        broadcast(&self.sessions[self.range], self.payload).unwrap_or_else(|error| {
            log::error!("nobody gets this round: {error}");
            0
        })
    }
}

/// The threads `send-2` and so on, from the first round that is large enough for them. They end when this
/// is dropped.
struct Helpers {
    wanted: usize,
    threads: Vec<JoinHandle<()>>,
    shares: Option<Sender<Share>>,
    pushed: Receiver<usize>,
    /// For the helpers to be, and so that `pushed` always has a sender.
    ends: (Receiver<Share>, Sender<usize>),
}

impl Helpers {
    fn new(wanted: usize) -> Helpers {
        let (shares, for_helpers) = crossbeam_channel::unbounded();
        let (from_helpers, pushed) = crossbeam_channel::unbounded();
        Helpers {
            wanted,
            threads: Vec::new(),
            shares: Some(shares),
            pushed,
            ends: (for_helpers, from_helpers),
        }
    }

    /// Pushes to all, together; the number of clients reached.
    fn share(&mut self, sessions: &Sessions, payload: &str) -> usize {
        if sessions.len() >= SHARED_FROM && self.threads.len() < self.wanted {
            self.start();
        }
        let threads = if sessions.len() >= SHARED_FROM { self.threads.len() + 1 } else { 1 };
        let size = sessions.len().div_ceil(threads).max(1);
        let share = |start: usize| Share {
            sessions: sessions.clone(),
            range: start.min(sessions.len())..(start + size).min(sessions.len()),
            payload: payload.to_owned(),
        };
        for helper in 1..threads {
            self.shares.iter().for_each(|shares| drop(shares.send(share(helper * size))));
        }
        let own = share(0).push();
        own + (1..threads).filter_map(|_| self.pushed.recv().ok()).sum::<usize>()
    }

    fn start(&mut self) {
        for number in self.threads.len()..self.wanted {
            let (shares, pushed) = self.ends.clone();
            let help = move || {
                for share in shares {
                    // A panic has been reported; `send` waits for every share.
                    let sent = catch_unwind(AssertUnwindSafe(|| share.push())).unwrap_or(0);
                    // Without a receiver the round has been given up, with its thread.
                    let _ = pushed.send(sent);
                }
            };
            match thread::Builder::new().name(format!("send-{}", number + 2)).spawn(help) {
                Ok(thread) => self.threads.push(thread),
                Err(error) => {
                    log::warn!("cannot start the thread send-{}: {error}", number + 2);
                    self.wanted = number;
                }
            }
        }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.shares = None;
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}
