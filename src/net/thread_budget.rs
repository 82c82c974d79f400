//! The threads that a server may start for its clients. Any thread; nothing here waits long.
//!
//! Past the machine's limits a thread that has *started* can abort the process, see
//! [`Capacity`](crate::Capacity). The number of clients is planned. That of pumps is how many sockets are full at the
//! same time, so pumps have a budget of their own: however many clients do not read, the others find a thread.
//!
//! A thread keeps its stack until it is joined, and its permit as long. So a thread that ends sends itself to the
//! `reaper`, which joins it and only then returns the permit: what is counted is what is limited. A thread never waits
//! for another one to end, so however many end together, they are gone as fast as the kernel lets them.

mod reaper;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use reaper::{Reaper, ReaperOrder, WaitingPump};

use crate::net::transport::Delivery;
use crate::net::waker::Waker;

/// Of the clients, this part may have a pump at the same time, but these numbers at the least and at the most.
const PUMPS_PART: usize = 8;
const LEAST_PUMPS: usize = 8;
const MOST_PUMPS: usize = 256;

/// Returns how many pumps a server with this number of clients may have.
pub(crate) fn pumps(clients: usize, delivery: Delivery) -> usize {
    match delivery {
        // A pump whose backlog is written may not be joined yet when its client needs the next one.
        Delivery::Inline => {
            (clients / PUMPS_PART).clamp(LEAST_PUMPS, MOST_PUMPS).min(clients.saturating_add(1))
        }
        Delivery::Handoff => 0,
    }
}

/// See the [module](self).
pub(crate) struct ThreadBudget {
    books: Mutex<Books>,
    /// Signalled when a permit is returned and somebody waits for one.
    returned: Condvar,
    /// Bytes of each thread's stack.
    stack_size: usize,
    /// Started once, if at all: threads of a budget without a reaper are joined by their spawner.
    reaper: OnceLock<Reaper>,
    /// Woken when a permit is returned, for the listener, which does not block for one.
    waker: OnceLock<Arc<Waker>>,
}

struct Books {
    free: usize,
    free_pumps: usize,
    /// Permits that are out: threads that run, or are not joined.
    running: usize,
    /// Who waits for one: a signal costs a system call, heard or not.
    awaiting: usize,
    /// Pumps without a permit, the oldest first. Started by the reaper.
    waiting: VecDeque<WaitingPump>,
}

type Task = Box<dyn FnOnce() + Send>;

/// A thread that is started, or a pump that waits for that, until it is joined.
#[derive(Clone)]
pub(crate) struct Worker(Arc<Work>);

struct Work {
    /// What the thread does: taken by the thread when it begins, or by the one that drops it before that.
    task: Mutex<Option<Task>>,
    /// The thread is joined under this lock, and its permit returned: the next one to get the lock can start another
    /// one. The thread itself never takes it.
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

/// The end of a thread that has begun, however it comes.
struct ThreadEnd {
    own: Worker,
    budget: Arc<ThreadBudget>,
}

impl ThreadBudget {
    /// Allows for `clients` clients, and for their [`pumps`], with stacks of that size.
    pub(crate) fn new(clients: usize, delivery: Delivery, stack_size: usize) -> ThreadBudget {
        let (free, free_pumps) = (clients.saturating_mul(delivery.threads()), pumps(clients, delivery));
        let books = Mutex::new(Books { free, free_pumps, running: 0, awaiting: 0, waiting: VecDeque::new() });
        let (reaper, waker) = (OnceLock::new(), OnceLock::new());
        ThreadBudget { books, returned: Condvar::new(), stack_size, reaper, waker }
    }

    /// Wakes this one from now on when a permit is returned.
    pub(crate) fn set_waker(&self, waker: Arc<Waker>) {
        self.waker.get_or_init(|| waker);
    }

    /// Returns how many permits are out.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.books().running
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// Starts a client's thread. The error is the system's, or says that the budget is spent, and still is after
    /// `patience`: a client that has just left may hold a permit for a moment.
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

    /// Starts a pump, or has it wait for the next pump that ends, for at most `patience`; after that `run` is dropped.
    /// Never blocks. An error is the system's.
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

    /// Blocks until all threads are joined, or the deadline passes. The reaper ends: it is joined as well, unless a
    /// thread keeps it waiting. Threads that end after that are left to themselves, and no pump waits any more.
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
    /// Not inlined: what is below every thread's stack stays small.
    #[inline(never)]
    fn drop(&mut self) {
        self.budget.order(ReaperOrder::Join(self.own.clone()));
    }
}

impl Worker {
    fn new(run: impl FnOnce() + Send + 'static) -> Worker {
        Worker(Arc::new(Work { task: Mutex::new(Some(Box::new(run))), running: Mutex::default() }))
    }

    /// Starts the thread. An error drops its task.
    fn start(&self, name: String, permit: Permit) -> io::Result<()> {
        let (own, stack_size) = (self.clone(), permit.budget.stack_size);
        let ending = ThreadEnd { own: self.clone(), budget: permit.budget.clone() };
        // Held until the thread is in it, which the reaper waits for.
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

    /// Blocks until the thread has ended. Its permit is returned then. A pump that waits for a thread is given up.
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

/// A thread that panicked has been reported already.
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
