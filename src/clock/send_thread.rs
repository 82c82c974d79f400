//! The thread `send`: the tutorial's `SendThread`. Sleeps one interval between rounds of pushes.
//!
//! Above a few hundred clients it shares a round with `send-2` and so on, one on each core. They block in a
//! channel between rounds.
//!
//! Never here: a push that blocks, a lock held while pushing, a log line before the round is out.

use std::io;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use chrono::DateTime;
use chrono::Local;
use crossbeam_channel::Receiver;
use crossbeam_channel::RecvTimeoutError;
use crossbeam_channel::Sender;
use rustix::thread::Pid;

use crate::Connection;
use crate::broadcast;
use crate::clock::clients::Clients;
use crate::clock::cores::Cores;
use crate::clock::logging::printable;
use crate::clock::stats::RoundStats;
use crate::clock::time;

/// Up to this many clients each one has a line in the log, as in the tutorial; above it a round has one.
const LINE_EACH: usize = 20;
/// A round of fewer clients is not shared: waking another thread costs more than it would push.
const SHARED_FROM: usize = 500;
/// Clients that a thread takes of a shared round at a time: it counts a few times a round, and whoever is
/// held up leaves the rest to the others. They share one encoded frame, the next hundred has its own.
const TAKEN: usize = 100;

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
    let clients = sessions.len();
    let payload = time::payload(&(rounds.wall)());
    let padding = " ".repeat(rounds.width.saturating_sub(payload.len()));
    let sent = helpers.share(sessions, payload.clone() + &padding);
    if ids.len() < clients {
        log::info!("write to {sent} clients:{payload}");
    }
    for id in &ids {
        log::info!("write to client {}:{payload}", printable(id));
    }
}

/// A round that several threads share: each takes some clients, pushes to them, and takes the next.
struct Shared {
    sessions: Vec<Connection>,
    payload: String,
    taken: AtomicUsize,
}

impl Shared {
    /// Pushes until nobody is left; the number of clients that this thread reached.
    fn push(&self) -> usize {
        let take = || {
            let start = self.taken.fetch_add(TAKEN, Ordering::Relaxed).min(self.sessions.len());
            let some = &self.sessions[start..(start + TAKEN).min(self.sessions.len())];
            (!some.is_empty()).then_some(some)
        };
        std::iter::from_fn(take).map(|some| reach(some, self.payload.clone())).sum()
    }
}

/// Pushes to them all; the number of clients reached.
fn reach(sessions: &[Connection], payload: String) -> usize {
    broadcast(sessions, payload).unwrap_or_else(|error| {
        log::error!("nobody gets this round: {error}");
        0
    })
}

/// The threads `send-2` and so on, from the first round that is large enough for them. They end when this
/// is dropped.
struct Helpers {
    wanted: usize,
    cores: Cores,
    threads: Vec<(JoinHandle<()>, Pid)>,
    rounds: Option<Sender<Arc<Shared>>>,
    pushed: Receiver<usize>,
    /// For the helpers to be, and so that `pushed` always has a sender.
    ends: (Receiver<Arc<Shared>>, Sender<usize>),
}

impl Helpers {
    fn new(wanted: usize) -> Helpers {
        let (rounds, for_helpers) = crossbeam_channel::unbounded();
        let (from_helpers, pushed) = crossbeam_channel::unbounded();
        Helpers {
            wanted,
            cores: Cores::usable(),
            threads: Vec::new(),
            rounds: Some(rounds),
            pushed,
            ends: (for_helpers, from_helpers),
        }
    }

    /// Pushes to all, together; the number of clients reached.
    fn share(&mut self, sessions: Vec<Connection>, payload: String) -> usize {
        if sessions.len() < SHARED_FROM {
            return reach(&sessions, payload);
        }
        if self.threads.len() < self.wanted {
            self.start();
        }
        self.cores.spread(self.threads.iter().map(|(_, id)| *id));
        let round = Arc::new(Shared { sessions, payload, taken: AtomicUsize::new(0) });
        for _ in &self.threads {
            self.rounds.iter().for_each(|rounds| drop(rounds.send(round.clone())));
        }
        let own = round.push();
        own + self.threads.iter().filter_map(|_| self.pushed.recv().ok()).sum::<usize>()
    }

    fn start(&mut self) {
        for number in self.threads.len()..self.wanted {
            let (rounds, pushed) = self.ends.clone();
            let (id, started) = crossbeam_channel::bounded(1);
            let help = move || {
                let _ = id.send(rustix::thread::gettid());
                for round in rounds {
                    // A panic has been reported; `send` waits for every helper.
                    let sent = catch_unwind(AssertUnwindSafe(|| round.push())).unwrap_or(0);
                    // Without a receiver the round has been given up, with its thread.
                    let _ = pushed.send(sent);
                }
            };
            let name = format!("send-{}", number + 2);
            let thread = thread::Builder::new().name(name).spawn(help);
            match thread.and_then(|thread| Ok((thread, started.recv().map_err(io::Error::other)?))) {
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
        self.rounds = None;
        self.threads.drain(..).for_each(|(thread, _)| drop(thread.join()));
    }
}
