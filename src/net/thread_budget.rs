//! The threads that a server may start for its clients. Any thread; nothing here waits long.
//!
//! Past the machine's limits, a thread that has *started* can abort the process, see [`Capacity`](crate::Capacity). The
//! number of clients is planned. The number of pumps is the number of full sockets, so pumps have their own budget:
//! however many clients do not read, the others find a thread.
//!
//! A thread keeps its stack until it is joined, so it keeps its permit that long too. A thread that ends sends itself
//! to the `reaper`, which joins it and only then returns the permit. So the count equals the number of live stacks. A
//! thread never waits for another one to end, so a crowd of threads ends as fast as the kernel allows.

mod reaper;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use reaper::{Reaper, ReaperOrder, WaitingPump};

use crate::net::transport::Delivery;
use crate::net::waker::Waker;

/// The share of clients that may have a pump concurrently, within these bounds.
const PUMPS_PART: usize = 8;
const LEAST_PUMPS: usize = 8;
const MOST_PUMPS: usize = 256;

/// Returns how many pumps a server with this number of clients may have.
pub(crate) fn pumps(clients: usize, delivery: Delivery) -> usize {
    match delivery {
        // A client may need its next pump before the previous one, whose backlog is written, has been joined.
        Delivery::Inline => {
            (clients / PUMPS_PART).clamp(LEAST_PUMPS, MOST_PUMPS).min(clients.saturating_add(1))
        }
        Delivery::Handoff => 0,
    }
}

/// See the [module](self).
pub(crate) struct ThreadBudget {
    books: Mutex<Books>,
    /// Signalled when a permit is returned and a thread waits for one.
    returned: Condvar,
    /// Bytes of each thread's stack.
    stack_size: usize,
    /// Started at most once: without a reaper, the spawner joins the threads.
    reaper: OnceLock<Reaper>,
    /// Woken when a permit is returned, for the listener, which does not block for one.
    waker: OnceLock<Arc<Waker>>,
}

struct Books {
    free: usize,
    free_pumps: usize,
    /// Permits in use: threads that run, or are not yet joined.
    running: usize,
    /// The number of threads that wait for a permit: a signal costs a system call, heard or not.
    awaiting: usize,
    /// Pumps without a permit, the oldest first. The reaper starts them.
    waiting: VecDeque<WaitingPump>,
}

type Task = Box<dyn FnOnce() + Send>;

/// A started thread, or a pump that waits for one, until it is joined.
#[derive(Clone)]
pub(crate) struct Worker(Arc<Work>);

struct Work {
    /// The thread's task: the thread takes it when it begins; a drop before that takes it instead.
    task: Mutex<Option<Task>>,
    /// The thread is joined and its permit returned under this lock: the next holder of the lock can start another
    /// thread. The thread itself never takes it.
    running: Mutex<Option<RunningThread>>,
}

struct RunningThread {
    thread: JoinHandle<()>,
    permit: Permit,
}

/// One thread's share of the budget, until this is dropped.
struct Permit {
    budget: Arc<ThreadBudget>,
    is_pump: bool,
}

/// Runs at the end of a thread that has begun, even after a panic.
struct ThreadEnd {
    own: Worker,
    budget: Arc<ThreadBudget>,
}

impl ThreadBudget {
    /// Allows threads for `clients` clients, and their [`pumps`], with stacks of that size.
    pub(crate) fn new(clients: usize, delivery: Delivery, stack_size: usize) -> ThreadBudget {
        let (free, free_pumps) = (clients.saturating_mul(delivery.threads()), pumps(clients, delivery));
        let books = Mutex::new(Books { free, free_pumps, running: 0, awaiting: 0, waiting: VecDeque::new() });
        let (reaper, waker) = (OnceLock::new(), OnceLock::new());
        ThreadBudget { books, returned: Condvar::new(), stack_size, reaper, waker }
    }

    /// Wakes this waker from now on when a permit is returned.
    pub(crate) fn set_waker(&self, waker: Arc<Waker>) {
        self.waker.get_or_init(|| waker);
    }

    /// Returns how many permits are in use.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.books().running
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// Starts a client's thread. The error is the system's, or says that the budget is still exhausted after
    /// `patience`: a client that has just left may hold its permit for a moment.
    pub(crate) fn spawn(
        self: &Arc<ThreadBudget>,
        name: String,
        patience: Duration,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<Worker> {
        let permit =
            self.permit(patience).ok_or_else(|| io::Error::other("the limit of threads is reached"))?;
        let worker = Worker::new(run);
        worker.start(name, permit)?;
        Ok(worker)
    }

    /// Starts a pump, or queues it until another pump ends, for at most `patience`; after that it drops `run`. Never
    /// blocks. An error is the system's.
    pub(crate) fn spawn_pump(
        self: &Arc<ThreadBudget>,
        name: String,
        patience: Duration,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<Worker> {
        let worker = Worker::new(run);
        let mut books = self.books();
        if books.free_pumps > 0 && books.waiting.is_empty() {
            books.free_pumps -= 1;
            books.running += 1;
            drop(books);
            worker.start(name, Permit { budget: self.clone(), is_pump: true })?;
            return Ok(worker);
        }
        let until = Instant::now() + patience;
        books.waiting.push_back(WaitingPump { worker: worker.clone(), name, until });
        drop(books);
        self.order(ReaperOrder::Look);
        Ok(worker)
    }

    fn permit(self: &Arc<ThreadBudget>, patience: Duration) -> Option<Permit> {
        let mut books = self.books();
        if books.free == 0 && !patience.is_zero() {
            books.awaiting += 1;
            let waited = self.returned.wait_timeout_while(books, patience, |books| books.free == 0);
            books = waited.unwrap_or_else(PoisonError::into_inner).0;
            books.awaiting -= 1;
        }
        books.free = books.free.checked_sub(1)?;
        books.running += 1;
        Some(Permit { budget: self.clone(), is_pump: false })
    }

    /// Blocks until all threads are joined, or the deadline passes. Also joins the reaper, unless a thread keeps it
    /// waiting. Threads that end later are not joined, and no pump waits any more.
    pub(crate) fn join_all(&self, deadline: Instant) {
        let mut books = self.books();
        books.awaiting += 1;
        let mut left = deadline.saturating_duration_since(Instant::now());
        while books.running > 0 && !left.is_zero() {
            books = self.returned.wait_timeout(books, left).unwrap_or_else(PoisonError::into_inner).0;
            left = deadline.saturating_duration_since(Instant::now());
        }
        books.awaiting -= 1;
        let (is_idle, waiting) = (books.running == 0, std::mem::take(&mut books.waiting));
        drop(books);
        waiting.iter().for_each(|waiting| waiting.worker.give_up());
        self.order(ReaperOrder::Stop);
        let thread = self.reaper.get().and_then(|reaper| lock(&reaper.thread).take());
        join(thread.filter(|_| is_idle));
    }
}

impl Drop for Permit {
    #[inline(never)]
    fn drop(&mut self) {
        let mut books = self.budget.books();
        *(if self.is_pump { &mut books.free_pumps } else { &mut books.free }) += 1;
        books.running -= 1;
        let is_awaited = books.awaiting > 0;
        drop(books);
        if is_awaited {
            self.budget.returned.notify_all();
        }
        self.budget.waker.get().inspect(|waker| waker.gave_back());
    }
}

impl Drop for ThreadEnd {
    /// Not inlined, to keep the bottom of every thread's stack small.
    #[inline(never)]
    fn drop(&mut self) {
        self.budget.order(ReaperOrder::Join(self.own.clone()));
    }
}

impl Worker {
    fn new(run: impl FnOnce() + Send + 'static) -> Worker {
        Worker(Arc::new(Work { task: Mutex::new(Some(Box::new(run))), running: Mutex::default() }))
    }

    /// Starts the thread. On an error, drops its task.
    fn start(&self, name: String, permit: Permit) -> io::Result<()> {
        let (own, stack_size) = (self.clone(), permit.budget.stack_size);
        let ending = ThreadEnd { own: self.clone(), budget: permit.budget.clone() };
        // Held until the thread is in it; the reaper waits for that.
        let mut running = lock(&self.0.running);
        let started = thread::Builder::new().name(name).stack_size(stack_size).spawn(move || {
            let _ending = ending;
            let task = lock(&own.0.task).take();
            drop(own);
            if let Some(task) = task {
                task();
            }
        });
        match started {
            Ok(thread) => *running = Some(RunningThread { thread, permit }),
            Err(error) => {
                drop(running);
                self.give_up();
                return Err(error);
            }
        }
        Ok(())
    }

    fn is_given_up(&self) -> bool {
        lock(&self.0.task).is_none()
    }

    /// Drops the task, unless it has begun.
    fn give_up(&self) {
        let task = lock(&self.0.task).take();
        drop(task);
    }

    /// Blocks until the thread has ended and its permit is returned. Gives up a pump that waits for a thread.
    pub(crate) fn join(&self) {
        let mut running = lock(&self.0.running);
        if let Some(RunningThread { thread, permit }) = running.take() {
            join(Some(thread));
            drop(permit);
        }
        drop(running);
        self.give_up();
    }
}

/// A panic has already been reported.
fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        let _ = thread.join();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(loom)))]
mod tests;
