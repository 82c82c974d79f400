//! The threads that a server may start for its clients. Any thread; nothing here waits long.
//!
//! Past the machine's limits a thread that has *started* can abort the process, see
//! [`Capacity`](crate::Capacity). The number of clients is planned, that of pumps is not: it is how many
//! sockets are full at a time. So they share one budget.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crate::web::wire::Delivery;

/// Pumps for which there is room beside as many clients as there may be: half of the threads in the
/// reserve of [`Capacity`](crate::Capacity), or this part of the clients if that is less.
const MOST_SPARE: usize = 256;
const SPARE: usize = 8;

/// See the [module](self).
pub(crate) struct Threads {
    free: AtomicUsize,
    /// The thread that ended last. A thread keeps its stack until it is joined, so the next one to end
    /// joins it, and the server joins the very last.
    ended: Mutex<Option<JoinHandle<()>>>,
}

/// One thread's place in the budget, until this is dropped.
pub(crate) struct Place(Arc<Threads>);

impl Threads {
    /// Enough for so many clients.
    pub(crate) fn new(clients: usize, delivery: Delivery) -> Threads {
        let threads = clients.saturating_mul(delivery.threads());
        let spare = clients.div_ceil(SPARE).min(MOST_SPARE);
        Threads { free: AtomicUsize::new(threads.saturating_add(spare)), ended: Mutex::default() }
    }

    /// A place, if there is one.
    pub(crate) fn take(self: &Arc<Threads>) -> Option<Place> {
        let one_less = |free: usize| free.checked_sub(1);
        let taken = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        taken.is_ok().then(|| Place(self.clone()))
    }

    /// A thread is about to end, or there is no other: the one that ended before it, to be joined.
    pub(crate) fn ended(&self, thread: Option<JoinHandle<()>>) -> Option<JoinHandle<()>> {
        std::mem::replace(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner), thread)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_place_for_every_client_and_some_pumps() {
        for (clients, delivery, places) in [
            (1, Delivery::Inline, 2),
            (16, Delivery::Inline, 18),
            (15_870, Delivery::Inline, 16_126),
            (7935, Delivery::Handoff, 16_126),
        ] {
            let threads = Arc::new(Threads::new(clients, delivery));
            let taken: Vec<_> = std::iter::from_fn(|| threads.take()).collect();
            assert_eq!(taken.len(), places, "{clients} {delivery:?}");
            drop(taken);
            assert!(threads.take().is_some());
        }
    }
}
