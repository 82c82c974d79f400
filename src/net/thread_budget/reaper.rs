//! The thread `reaper`: joins clients' threads that end, and starts the pumps that wait for their permits.
//!
//! Blocks in a channel, and in `join` while a finished thread ends.

use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::{Permit, ThreadBudget, Worker};

/// How long it sleeps if no pump waits.
const LONGEST: Duration = Duration::from_secs(3600);

pub(super) struct Reaper {
    orders: Sender<ReaperOrder>,
    /// Taken by [`join_all`](ThreadBudget::join_all).
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
}

/// An order for the reaper.
pub(super) enum ReaperOrder {
    /// This thread is about to end.
    Join(Worker),
    /// A pump waits.
    Look,
    /// The server shuts down.
    Stop,
}

/// A pump without a thread.
pub(super) struct WaitingPump {
    pub(super) worker: Worker,
    pub(super) name: String,
    /// When to give up.
    pub(super) until: Instant,
}

impl ThreadBudget {
    /// Starts the thread `reaper`, which runs until [`join_all`](ThreadBudget::join_all).
    pub(crate) fn start_reaper(self: &Arc<ThreadBudget>) -> io::Result<()> {
        let (orders, receiver) = crossbeam_channel::unbounded();
        let budget = Arc::downgrade(self);
        let run = move || reap(&receiver, &budget);
        let thread = thread::Builder::new().name("reaper".to_owned()).spawn(run)?;
        let _ = self.reaper.set(Reaper { orders, thread: Mutex::new(Some(thread)) });
        Ok(())
    }

    /// Sends the reaper an order. After the reaper has ended, this does nothing.
    pub(super) fn order(&self, order: ReaperOrder) {
        if let Some(reaper) = self.reaper.get() {
            let _ = reaper.orders.send(order);
        }
    }

    /// Starts pumps while permits are free, and drops those that have waited too long. Returns the deadline of the next
    /// one.
    fn serve_waiting(self: &Arc<ThreadBudget>) -> Option<Instant> {
        loop {
            let mut books = self.books();
            let until = books.waiting.front()?.until;
            let has_permit = books.free_pumps > 0;
            if !has_permit && until > Instant::now() {
                return Some(until);
            }
            let WaitingPump { worker, name, .. } = books.waiting.pop_front()?;
            if !has_permit || worker.is_given_up() {
                drop(books);
                worker.give_up();
                continue;
            }
            books.free_pumps -= 1;
            books.running += 1;
            drop(books);
            let permit = Permit { budget: self.clone(), is_pump: true };
            if let Err(error) = worker.start(name, permit) {
                log::warn!(target: crate::LOG, "cannot start a pump: {error}");
            }
        }
    }
}

fn reap(orders: &Receiver<ReaperOrder>, budget: &Weak<ThreadBudget>) {
    loop {
        let until = budget.upgrade().and_then(|budget| budget.serve_waiting());
        match orders.recv_deadline(until.unwrap_or_else(|| Instant::now() + LONGEST)) {
            Ok(ReaperOrder::Join(worker)) => worker.join(),
            Ok(ReaperOrder::Look) | Err(RecvTimeoutError::Timeout) => {}
            Ok(ReaperOrder::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
