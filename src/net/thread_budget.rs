//! The threads that a server may start for its clients. Any thread; nothing here waits long.
//!
//! Past the machine's limits a thread that has *started* can abort the process, see
//! [`Capacity`](crate::Capacity). The number of clients is planned, that of pumps is not: it is how many
//! sockets are full at a time. So they share one budget.
//!
//! A thread keeps its stack until it is joined. So each thread that ends joins the one that ended before it,
//! and a shutdown joins the very last.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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
    /// Who waits for a permit without blocking.
    waker: OnceLock<Arc<Waker>>,
}

struct Books {
    free: usize,
    running: usize,
    /// The thread that ended last, to be joined by the next one that ends.
    ended: Option<JoinHandle<()>>,
}

/// A thread that [`ThreadBudget::spawn`] has started: its handle, until it is joined or about to end.
#[derive(Clone)]
pub(crate) struct Worker(Arc<Mutex<Option<JoinHandle<()>>>>);

/// One thread's share of the budget, until this is dropped.
struct Permit(Arc<ThreadBudget>);

/// The end of a thread that has begun, however it comes.
struct ThreadEnd {
    own: Worker,
    permit: Option<Permit>,
}

impl ThreadBudget {
    /// Allows for `clients` clients, and some pumps.
    pub(crate) fn new(clients: usize, delivery: Delivery) -> ThreadBudget {
        let threads = clients.saturating_mul(delivery.threads());
        let spare = clients.div_ceil(SPARE).min(MOST_SPARE);
        let free = threads.saturating_add(spare);
        ThreadBudget {
            books: Mutex::new(Books { free, running: 0, ended: None }),
            returned: Condvar::new(),
            waker: OnceLock::new(),
        }
    }

    /// Tells `waker` from now on when a permit is returned.
    pub(crate) fn tell(&self, waker: Arc<Waker>) {
        self.waker.get_or_init(|| waker);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// Starts a thread. The error is the system's, or says that the budget is spent, and still is after `patience`:
    /// who has just left may hold a permit for a moment.
    pub(crate) fn spawn(
        self: &Arc<ThreadBudget>,
        name: String,
        stack_size: usize,
        patience: Duration,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<Worker> {
        let own = Worker(Arc::default());
        let permit = self.permit(patience).ok_or_else(|| io::Error::other("as many as there may be run"))?;
        // Held until the handle is in it; at its end the thread waits for that.
        let mut handle = lock(&own.0);
        let thread = thread::Builder::new().name(name).stack_size(stack_size);
        let its_own = own.clone();
        *handle = Some(thread.spawn(move || {
            let _ending = ThreadEnd { own: its_own, permit: Some(permit) };
            run();
        })?);
        drop(handle);
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

    /// Blocks until the last thread has ended, or the deadline passes; then joins it.
    pub(crate) fn join_all(&self, deadline: Instant) {
        let mut books = self.books();
        while books.running > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            books = self.returned.wait_timeout(books, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let last = books.ended.take();
        drop(books);
        join(last);
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
    /// Joins the thread that ended before this one. Not inlined: what is below every thread's stack stays small.
    #[inline(never)]
    fn join_before(&mut self) {
        // Held until the permit is returned: who has joined this thread can start another one.
        let mut handle = lock(&self.own.0);
        // Not there if somebody is joining it.
        let own = handle.take();
        let permit = self.permit.take();
        let books = permit.as_ref().map(|Permit(budget)| budget.books());
        let before = own.zip(books).and_then(|(own, mut books)| books.ended.replace(own));
        drop(permit);
        drop(handle);
        join(before);
    }
}

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        self.join_before();
    }
}

impl Worker {
    /// Blocks until the thread has ended.
    pub(crate) fn join(&self) {
        let thread = lock(&self.0).take();
        join(thread);
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

    #[test]
    fn over_the_budget_no_thread_is_started_until_one_has_ended() {
        let budget = Arc::new(ThreadBudget::new(1, Delivery::Inline));
        let spawn =
            |run: Box<dyn FnOnce() + Send>| budget.spawn("x".to_owned(), 64 << 10, Duration::ZERO, run);
        let (end, wait) = crossbeam_channel::bounded::<()>(0);
        let waits = || {
            let wait = wait.clone();
            Box::new(move || _ = wait.recv()) as Box<dyn FnOnce() + Send>
        };
        let (first, _second) = (spawn(waits()).unwrap(), spawn(waits()).unwrap());
        let error = spawn(Box::new(|| {})).err().expect("the budget is spent");
        assert_eq!(error.to_string(), "as many as there may be run");
        budget.join_all(Instant::now() + Duration::from_millis(1));
        assert_eq!(budget.books().running, 2, "the deadline is kept");
        drop(end);
        first.join();
        budget.join_all(Instant::now() + Duration::from_secs(60));
        spawn(Box::new(|| {})).unwrap().join();
        assert_eq!(budget.books().running, 0);
    }

    #[test]
    fn who_has_joined_a_thread_can_start_another_one() {
        let budget = Arc::new(ThreadBudget::new(1, Delivery::Inline));
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
        let budget = Arc::new(ThreadBudget::new(1, Delivery::Inline));
        for _ in 0..9 {
            budget.spawn("x".to_owned(), 64 << 10, PATIENCE, || panic!("as planned")).unwrap().join();
        }
        let books = budget.books();
        assert_eq!((books.running, books.free), (0, 2));
    }
}
