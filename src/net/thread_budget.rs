//! The threads that a server may start for its clients. Any thread; nothing here waits long.
//!
//! Past the machine's limits a thread that has *started* can abort the process, see
//! [`Capacity`](crate::Capacity). The number of clients is planned, that of pumps is not: it is how many
//! sockets are full at a time. So they share one budget.
//!
//! A thread keeps its stack until it is joined, and its permit as long. So a thread that ends sends itself to the
//! `reaper`, which joins it and only then returns the permit: what is counted is what is limited. A thread never waits
//! for another one to end, so however many end together, they are gone as fast as the kernel lets them.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::net::transport::Delivery;
use crate::net::waker::Waker;

/// Pumps for which there is room beside as many clients as there may be: half of the threads in the
/// reserve of [`Capacity`](crate::Capacity), or this part of the clients if that is less.
const MOST_SPARE: usize = 256;
const SPARE: usize = 8;

/// See the [module](self).
pub(crate) struct ThreadBudget {
    books: Mutex<Books>,
    /// Signalled when a permit is returned.
    returned: Condvar,
    /// Started once, if at all: threads of a budget without a reaper leave their joining to whoever spawned them.
    reaper: OnceLock<Reaper>,
    /// Woken when a permit is returned, for the listener, which does not block for one.
    waker: OnceLock<Arc<Waker>>,
}

struct Books {
    free: usize,
    /// Permits that are out: threads that run, or are not joined.
    running: usize,
}

struct Reaper {
    /// Sent to by every thread at its end, and `None` by [`join_all`](ThreadBudget::join_all).
    ended: Sender<Option<Worker>>,
    /// Taken by `join_all`.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A thread that [`ThreadBudget::spawn`] has started, until it is joined. It is joined under the lock, and its permit
/// returned: whoever gets the lock after that can start another one. The thread itself never takes it.
#[derive(Clone)]
pub(crate) struct Worker(Arc<Mutex<Option<Running>>>);

struct Running {
    thread: JoinHandle<()>,
    /// Behind the thread: dropped after it is joined.
    permit: Permit,
}

/// One thread's share of the budget, until this is dropped.
struct Permit(Arc<ThreadBudget>);

/// The end of a thread that has begun, however it comes.
struct ThreadEnd {
    own: Worker,
    budget: Arc<ThreadBudget>,
}

impl ThreadBudget {
    /// Allows for `clients` clients, and some pumps.
    pub(crate) fn new(clients: usize, delivery: Delivery) -> ThreadBudget {
        let threads = clients.saturating_mul(delivery.threads());
        let spare = clients.div_ceil(SPARE).min(MOST_SPARE);
        let free = threads.saturating_add(spare);
        let books = Mutex::new(Books { free, running: 0 });
        ThreadBudget { books, returned: Condvar::new(), reaper: OnceLock::new(), waker: OnceLock::new() }
    }

    /// Wakes this one from now on when a permit is returned.
    pub(crate) fn set_waker(&self, waker: Arc<Waker>) {
        self.waker.get_or_init(|| waker);
    }

    /// Starts the thread `reaper`, which joins the threads that end, until [`join_all`](ThreadBudget::join_all).
    pub(crate) fn start_reaper(&self) -> io::Result<()> {
        let (ended, workers) = crossbeam_channel::unbounded::<Option<Worker>>();
        let run = move || workers.iter().map_while(|worker| worker).for_each(|worker| worker.join());
        let thread = thread::Builder::new().name("reaper".to_owned()).spawn(run)?;
        let _ = self.reaper.set(Reaper { ended, thread: Mutex::new(Some(thread)) });
        Ok(())
    }

    /// Returns how many permits are out.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.books().running
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// Starts a thread. The error is the system's, or says that the budget is spent, and still is after `patience`: a
    /// client that has just left may hold a permit for a moment.
    pub(crate) fn spawn(
        self: &Arc<ThreadBudget>,
        name: String,
        stack_size: usize,
        patience: Duration,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<Worker> {
        let permit =
            self.permit(patience).ok_or_else(|| io::Error::other("the limit of threads is reached"))?;
        let own = Worker(Arc::default());
        let ending = ThreadEnd { own: own.clone(), budget: self.clone() };
        // Held until the thread is in it, which the reaper waits for.
        let mut running = lock(&own.0);
        let thread = thread::Builder::new().name(name).stack_size(stack_size).spawn(move || {
            let _ending = ending;
            run();
        })?;
        *running = Some(Running { thread, permit });
        drop(running);
        Ok(own)
    }

    fn permit(self: &Arc<ThreadBudget>, patience: Duration) -> Option<Permit> {
        let mut books = self.books();
        if books.free == 0 && !patience.is_zero() {
            let waited = self.returned.wait_timeout_while(books, patience, |books| books.free == 0);
            books = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        books.free = books.free.checked_sub(1)?;
        books.running += 1;
        Some(Permit(self.clone()))
    }

    /// Blocks until all threads are joined, or the deadline passes. The reaper ends: it is joined as well, unless a
    /// thread keeps it waiting. Threads that end after that are left to themselves.
    pub(crate) fn join_all(&self, deadline: Instant) {
        let mut books = self.books();
        let mut left = deadline.saturating_duration_since(Instant::now());
        while books.running > 0 && !left.is_zero() {
            books = self.returned.wait_timeout(books, left).unwrap_or_else(PoisonError::into_inner).0;
            left = deadline.saturating_duration_since(Instant::now());
        }
        let is_idle = books.running == 0;
        drop(books);
        let Some(reaper) = self.reaper.get() else { return };
        // Without a receiver it has ended already.
        let _ = reaper.ended.send(None);
        let thread = lock(&reaper.thread).take().filter(|_| is_idle);
        join(thread);
    }
}

impl Drop for Permit {
    #[inline(never)]
    fn drop(&mut self) {
        let mut books = self.0.books();
        books.free += 1;
        books.running -= 1;
        drop(books);
        self.0.returned.notify_all();
        self.0.waker.get().inspect(|waker| waker.gave_back());
    }
}

impl ThreadEnd {
    /// Not inlined: what is below every thread's stack stays small.
    #[inline(never)]
    fn send_to_reaper(&self) {
        if let Some(reaper) = self.budget.reaper.get() {
            // Once it has ended, nobody joins this thread.
            let _ = reaper.ended.send(Some(self.own.clone()));
        }
    }
}

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        self.send_to_reaper();
    }
}

impl Worker {
    /// Blocks until the thread has ended. Its permit is returned then.
    pub(crate) fn join(&self) {
        let mut running = lock(&self.0);
        if let Some(Running { thread, permit }) = running.take() {
            join(Some(thread));
            drop(permit);
        }
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
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn there_is_a_permit_for_every_client_and_some_pumps() {
        for (clients, delivery, permits) in [
            (1, Delivery::Inline, 2),
            (16, Delivery::Inline, 18),
            (15_870, Delivery::Inline, 16_126),
            (7935, Delivery::Handoff, 16_126),
        ] {
            let budget = Arc::new(ThreadBudget::new(clients, delivery));
            let taken: Vec<_> = std::iter::from_fn(|| budget.permit(Duration::ZERO)).collect();
            assert_eq!(taken.len(), permits, "{clients} {delivery:?}");
            drop(taken);
            assert!(budget.permit(Duration::ZERO).is_some());
        }
    }

    /// A budget for one client and one pump, whose reaper runs.
    fn for_two() -> Arc<ThreadBudget> {
        let budget = Arc::new(ThreadBudget::new(1, Delivery::Inline));
        budget.start_reaper().unwrap();
        budget
    }

    #[test]
    fn over_the_budget_no_thread_is_started_until_one_has_ended() {
        let budget = for_two();
        let (end, wait) = crossbeam_channel::bounded::<()>(0);
        let spawn = |patience| {
            let wait = wait.clone();
            budget.spawn("x".to_owned(), 64 << 10, patience, move || _ = wait.recv())
        };
        let _both = (spawn(Duration::ZERO).unwrap(), spawn(Duration::ZERO).unwrap());
        let error = spawn(Duration::ZERO).err().expect("the budget is spent");
        assert_eq!(error.to_string(), "the limit of threads is reached");
        drop(end);
        spawn(PATIENCE).unwrap();
        budget.join_all(Instant::now() + PATIENCE);
        let books = budget.books();
        assert_eq!((books.running, books.free), (0, 2));
    }

    #[test]
    fn a_thread_that_does_not_end_keeps_nobody_longer_than_the_deadline() {
        let budget = for_two();
        let (end, wait) = crossbeam_channel::bounded::<()>(0);
        let worker = budget.spawn("x".to_owned(), 64 << 10, PATIENCE, move || _ = wait.recv()).unwrap();
        budget.join_all(Instant::now() + Duration::from_millis(1));
        assert_eq!(budget.books().running, 1);
        drop(end);
        worker.join();
        assert_eq!(budget.books().running, 0);
    }

    /// The threads of this process that have the name.
    fn named(name: &str) -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        // One that ends in this moment has none.
        tasks
            .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
            .filter(|comm| comm.trim() == name)
            .count()
    }

    #[test]
    fn however_many_threads_end_there_are_never_more_of_them_than_permits() {
        let (budget, permits) = (Arc::new(ThreadBudget::new(40, Delivery::Inline)), 45);
        budget.start_reaper().unwrap();
        let mut most = 0;
        for n in 0..5000 {
            budget.spawn("ends-at-once".to_owned(), 64 << 10, PATIENCE, || {}).unwrap();
            if n % 50 == 0 {
                most = most.max(named("ends-at-once"));
            }
        }
        assert!((1..=permits).contains(&most), "{most}");
        budget.join_all(Instant::now() + PATIENCE);
        assert_eq!(named("ends-at-once"), 0);
    }

    #[test]
    fn a_thousand_threads_that_end_together_are_all_joined() {
        let budget = Arc::new(ThreadBudget::new(1000, Delivery::Inline));
        budget.start_reaper().unwrap();
        let (end, wait) = crossbeam_channel::bounded::<()>(0);
        for _ in 0..1000 {
            let wait = wait.clone();
            let run = move || _ = wait.recv();
            budget.spawn("ends-together".to_owned(), 64 << 10, Duration::ZERO, run).unwrap();
        }
        drop(end);
        budget.join_all(Instant::now() + PATIENCE);
        assert_eq!((budget.books().running, named("ends-together")), (0, 0));
    }

    #[test]
    fn who_has_joined_a_thread_can_start_another_one() {
        let budget = for_two();
        let _one_is_left = budget.permit(Duration::ZERO);
        for n in 0..5000 {
            let worker = budget.spawn("x".to_owned(), 64 << 10, Duration::ZERO, || {}).expect("it has ended");
            // So that it is joined at each moment of its end.
            (0..n % 500 * 10).for_each(|_| std::hint::spin_loop());
            worker.join();
        }
    }

    #[test]
    fn a_thread_that_panics_returns_its_permit() {
        let budget = for_two();
        for _ in 0..9 {
            budget.spawn("x".to_owned(), 64 << 10, PATIENCE, || panic!("as planned")).unwrap().join();
        }
        let books = budget.books();
        assert_eq!((books.running, books.free), (0, 2));
    }
}
