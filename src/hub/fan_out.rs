//! [`FanOut`]: threads that share a large broadcast.
//!
//! The publishing thread takes part, and returns when its round is done. The others block in a channel between rounds.
//! Never here: a push that blocks, or waiting for another publisher's round.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use crossbeam_channel::{Receiver, Sender};
use rustix::thread::Pid;

use crate::connection::broadcast::broadcast_prepared;
use crate::connection::connection::Connection;
use crate::error::Result;
use crate::hub::cores::Cores;
use crate::ws::frame::Prepared;
use crate::ws::message::Message;

/// A broadcast to fewer clients is not shared: waking another thread costs more than it would save.
const PARALLEL_FROM: usize = 500;
/// Clients of a round that a thread takes together. Small enough that a thread that is held up leaves the rest to the
/// others; large enough that it counts only a few times a round.
const CHUNK: usize = 100;

/// Threads that share the work of a broadcast to many clients. The first broadcast that is large enough (500 clients)
/// starts them, and dropping this ends them.
///
/// Any thread may broadcast. If another round is running, the caller does its own work alone and does not wait.
/// [`broadcast`](FanOut::broadcast) returns when its round is done, so the messages of one thread keep their order.
///
/// ```
/// use threadcast::FanOut;
///
/// let fan_out = FanOut::new();
/// assert_eq!(fan_out.broadcast(Vec::new(), "nobody is here")?, 0);
/// # Ok::<(), threadcast::Error>(())
/// ```
pub struct FanOut {
    name: String,
    pinned: bool,
    threads: Mutex<PushThreads>,
}

/// Clients, in parts that threads take one by one.
pub(crate) trait Share: Send + Sync + 'static {
    /// Returns the number of clients.
    fn count(&self) -> usize;
    /// Returns one part; `None` after the last.
    fn part(&self, number: usize) -> Option<&[Connection]>;
}

impl Share for Vec<Connection> {
    fn count(&self) -> usize {
        self.len()
    }

    fn part(&self, number: usize) -> Option<&[Connection]> {
        self.chunks(CHUNK).nth(number)
    }
}

/// A broadcast that several threads share: each takes a part of the clients, pushes to them, and takes the next.
struct Round {
    clients: Box<dyn Share>,
    message: Prepared<'static>,
    taken: AtomicUsize,
}

/// The threads. The publisher whose round they share holds the lock.
struct PushThreads {
    wanted: usize,
    cores: Cores,
    handles: Vec<(JoinHandle<()>, Pid)>,
    rounds: Option<Sender<Arc<Round>>>,
    pushed: Receiver<usize>,
    /// For threads that start later, and so that `pushed` always has a sender.
    ends: (Receiver<Arc<Round>>, Sender<usize>),
}

impl FanOut {
    /// Shares rounds among one thread per core, including the publishing one.
    pub fn new() -> FanOut {
        // Asked once: the answer is in files, and a program may make many hubs.
        static CORES: LazyLock<usize> =
            LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));
        FanOut::with_threads(*CORES)
    }

    /// Shares rounds among `threads` threads, including the publishing one.
    pub fn with_threads(threads: usize) -> FanOut {
        let threads = Mutex::new(PushThreads::new(threads.max(1) - 1));
        FanOut { name: "fan-out".to_owned(), pinned: false, threads }
    }

    /// Names its threads `NAME-2` and so on.
    pub fn named(mut self, name: &str) -> FanOut {
        name.clone_into(&mut self.name);
        self
    }

    /// Pins each of its threads to a core that is not the publisher's. In a virtual machine the kernel does not always
    /// find the idle core. In a program that has other work to do, the kernel chooses better.
    pub fn pinned(mut self) -> FanOut {
        self.pinned = true;
        self
    }

    /// Sends one message to many clients: encodes it once, pushes it to each without blocking. Returns the number of
    /// clients that accepted it, see [`broadcast`](crate::broadcast).
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a message of over 1 GiB; then no client gets it.
    pub fn broadcast(&self, connections: Vec<Connection>, message: impl Into<Message>) -> Result<usize> {
        let mut connections = connections;
        if connections.len() >= PARALLEL_FROM {
            in_order_of_memory(&mut connections);
        }
        Ok(self.publish(connections, message.into().prepare()?))
    }

    /// Sends an encoded message to clients that are already in parts.
    pub(crate) fn publish(&self, clients: impl Share, message: Prepared<'static>) -> usize {
        if clients.count() < PARALLEL_FROM {
            let parts = (0..).map_while(|number| clients.part(number));
            return parts.map(|part| broadcast_prepared(part, &message)).sum();
        }
        let round = Round { clients: Box::new(clients), message, taken: AtomicUsize::new(0) };
        match self.free_threads() {
            Some(mut threads) => self.share(round, &mut threads),
            None => round.push(),
        }
    }

    /// Returns the threads, unless they are busy with another publisher's round.
    fn free_threads(&self) -> Option<MutexGuard<'_, PushThreads>> {
        match self.threads.try_lock() {
            Ok(threads) => Some(threads),
            Err(TryLockError::Poisoned(threads)) => Some(threads.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn share(&self, round: Round, threads: &mut PushThreads) -> usize {
        if threads.handles.len() < threads.wanted {
            threads.start(&self.name);
        }
        if self.pinned {
            threads.cores.spread(threads.handles.iter().map(|(_, id)| *id));
        }
        let round = Arc::new(round);
        if let Some(rounds) = &threads.rounds {
            for _ in &threads.handles {
                let _ = rounds.send(round.clone());
            }
        }
        let own = round.push();
        own + threads.handles.iter().filter_map(|_| threads.pushed.recv().ok()).sum::<usize>()
    }
}

/// A map's order is random: each push would fetch memory, ours and the kernel's, from another place. Connections that
/// were opened one after the other are neighbours in memory.
fn in_order_of_memory(connections: &mut [Connection]) {
    connections.sort_unstable_by_key(Connection::place);
}

impl Default for FanOut {
    fn default() -> FanOut {
        FanOut::new()
    }
}

impl fmt::Debug for FanOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOut")
            .field("name", &self.name)
            .field("pinned", &self.pinned)
            .finish_non_exhaustive()
    }
}

impl Drop for FanOut {
    fn drop(&mut self) {
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
        threads.rounds = None;
        for (thread, _) in threads.handles.drain(..) {
            // A panic has already been reported.
            let _ = thread.join();
        }
    }
}

impl Round {
    /// Pushes until no clients are left. Returns the number that this thread reached.
    fn push(&self) -> usize {
        let mut sent = 0;
        while let Some(part) = self.clients.part(self.taken.fetch_add(1, Ordering::Relaxed)) {
            // Only this thread counts the references of this copy.
            sent += broadcast_prepared(part, &self.message.copied());
        }
        sent
    }
}

impl PushThreads {
    fn new(wanted: usize) -> PushThreads {
        let (rounds, for_threads) = crossbeam_channel::unbounded();
        let (from_threads, pushed) = crossbeam_channel::unbounded();
        PushThreads {
            wanted,
            cores: Cores::usable(),
            handles: Vec::new(),
            rounds: Some(rounds),
            pushed,
            ends: (for_threads, from_threads),
        }
    }

    fn start(&mut self, name: &str) {
        for number in self.handles.len()..self.wanted {
            let (rounds, pushed) = self.ends.clone();
            let (id, started) = crossbeam_channel::bounded(1);
            let push = move || {
                let _ = id.send(rustix::thread::gettid());
                for round in rounds {
                    // The panic has been reported; the publisher waits for every thread.
                    let sent = catch_unwind(AssertUnwindSafe(|| round.push())).unwrap_or(0);
                    // Without a receiver, the publisher has given up the round and this thread.
                    let _ = pushed.send(sent);
                }
            };
            let name = format!("{name}-{}", number + 2);
            let thread = thread::Builder::new().name(name.clone()).spawn(push);
            match thread.and_then(|thread| Ok((thread, started.recv().map_err(io::Error::other)?))) {
                Ok(thread) => self.handles.push(thread),
                Err(error) => {
                    log::warn!(target: crate::LOG, "cannot start the thread {name}: {error}");
                    self.wanted = number;
                    return;
                }
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::connection::connection::tests::connection;

    #[test]
    fn every_client_is_pushed_to_once_and_a_second_publisher_does_its_own_work() {
        let fan_out = FanOut::with_threads(3).named("test-fan").pinned();
        let crowd: Vec<_> = std::iter::repeat_with(connection).take(PARALLEL_FROM).collect();
        // No client has begun to read, so pushes wait.
        let backlog = |times: u64| crowd.iter().all(|one| one.backlog() == times * (64 + 4));
        assert_eq!(fan_out.broadcast(crowd.clone(), "hi").unwrap(), crowd.len());
        assert!(backlog(1));
        let busy = fan_out.threads.lock().unwrap();
        assert_eq!(fan_out.broadcast(crowd.clone(), "hi").unwrap(), crowd.len());
        assert!(backlog(2));
        assert_eq!(busy.handles.len(), 2);
        drop(busy);
        crowd[0].close(None, None).unwrap();
        assert_eq!(fan_out.broadcast(crowd.clone(), "hi").unwrap(), crowd.len() - 1);
    }
}
