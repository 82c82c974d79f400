//! [`Observer`]: a hook that shows what the threads do. Any thread reports.
//!
//! Unwatched, an event costs one relaxed load. Never here: a report that blocks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::panics::{Contained, caught};

/// Something that the calling thread of a server has just done, or is about to do, for one of its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// `listener` has a new client, and starts its thread.
    Accepted,
    /// The client asked for this path and query, and has its 101. Browsers send tokens in the query: keep it out of
    /// logs.
    Opened(String),
    /// The thread is about to call this method of the handler.
    HandlerBegins(&'static str),
    /// The method has returned, or panicked.
    HandlerEnds {
        /// Which one.
        method: &'static str,
        /// Whether it panicked.
        panicked: bool,
    },
    /// The client's thread blocks in `read`.
    Reads,
    /// It has read something, or the end.
    Wakes,
    /// It stops reading until its client has taken some of its backlog.
    Waits,
    /// The calling thread has written a frame to the client's socket.
    Wrote,
    /// The calling thread left a frame to the thread that is writing to this client.
    Queued,
    /// The calling thread is the client's pump (or writer), and has just started.
    PumpBegins,
    /// It is about to end.
    PumpEnds,
    /// The server disconnects the client: its backlog is too large.
    SlowConsumer {
        /// The client's backlog, in bytes.
        backlog: u64,
    },
    /// The WebSocket is over; `on_close` is next.
    Closed {
        /// The code in the peer's Close frame.
        code: Option<u16>,
    },
    /// The client's thread is about to end.
    Gone,
}

type Report = Box<dyn Fn(u64, Event) + Send + Sync>;

/// Hears what a server's threads do, while it watches; pass it to
/// [`Application::observer`](crate::Application::observer). Clones share one observer.
#[derive(Clone)]
pub struct Observer(Arc<Watch>);

struct Watch {
    /// The watcher sets it, every thread reads it. Relaxed: an event more or less does not matter.
    on: AtomicBool,
    report: Contained<Report>,
}

impl Observer {
    /// Calls `report` on the reporting thread, with the client's number ([`Connection::id`]) and the event. It must not
    /// block. It starts switched off; see [`watch`](Observer::watch). If it panics, the log says so and the observer
    /// switches off, so that a listener or a pump survives it.
    ///
    /// [`Connection::id`]: crate::Connection::id
    pub fn new(report: impl Fn(u64, Event) + Send + Sync + 'static) -> Observer {
        Observer(Arc::new(Watch { on: AtomicBool::new(false), report: Contained::new(Box::new(report)) }))
    }

    /// Begins to watch, or stops.
    pub fn watch(&self, on: bool) {
        self.0.on.store(on, Ordering::Relaxed);
    }

    /// Returns whether anybody watches.
    #[inline]
    pub fn is_watching(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// Reports an event, as a server's threads do, if somebody watches.
    #[inline]
    pub fn report(&self, client: u64, event: Event) {
        if self.is_watching() {
            self.tell(client, event);
        }
    }

    /// Not inlined: code that runs only while somebody watches must not grow the stack of an idle client's thread.
    #[cold]
    #[inline(never)]
    fn tell(&self, client: u64, event: Event) {
        if let Err(text) = caught(|| (self.0.report)(client, event)) {
            self.watch(false);
            log::error!("the observer panicked, and is not called again: {text}");
        }
    }
}

/// An observer that never watches.
impl Default for Observer {
    fn default() -> Observer {
        Observer::new(|_, _| {})
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("on", &self.0.on).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;

    const EVENTS: u64 = if cfg!(debug_assertions) { 1000 } else { 100_000_000 };

    #[test]
    fn it_hears_only_while_it_watches() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let list = heard.clone();
        let observer = Observer::new(move |client, event| list.lock().unwrap().push((client, event)));
        observer.report(1, Event::Accepted);
        observer.watch(true);
        observer.clone().report(2, Event::Reads);
        observer.watch(false);
        observer.report(3, Event::Gone);
        assert_eq!(*heard.lock().unwrap(), [(2, Event::Reads)]);
    }

    #[test]
    fn one_that_panics_watches_no_more_and_its_thread_goes_on() {
        let observer = Observer::new(|_, _| panic!("as planned"));
        observer.watch(true);
        observer.report(1, Event::Accepted);
        assert!(!observer.is_watching());
    }

    /// Checks the text that `make bench` prints.
    #[test]
    fn unwatched_it_hears_nothing_and_costs_next_to_nothing() {
        let heard = Arc::new(Mutex::new(0));
        let count = heard.clone();
        let observer = Observer::new(move |_, _| *count.lock().unwrap() += 1);
        let time = |event: &dyn Fn(u64)| {
            let begun = Instant::now();
            (0..EVENTS).for_each(event);
            begun.elapsed().as_secs_f64() * 1e9 / EVENTS as f64
        };
        let none = time(&|client| _ = black_box(client));
        let one = time(&|client| black_box(&observer).report(black_box(client), Event::Wrote));
        println!("an event that nobody watches: {:.1} ns", (one - none).max(0.0));
        assert_eq!(*heard.lock().unwrap(), 0);
    }
}
