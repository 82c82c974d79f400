//! Events on their way to `lab-events`: a bounded channel. Any thread writes, and never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_channel::Receiver;

use crate::lab::lanes::Lane;
use threadcast::{Event, Observer};

/// Events that may be on their way. `lab-events` takes them 20 times a second, so this is some 60,000 a
/// second of the frequent events; more are dropped and counted.
const WAITING: usize = 4096;
/// One of this number of places is kept for rare events, such as a new client: a flood of messages must not hide
/// them.
const SELDOM: usize = 4;
/// The most frequent events of a client between two batches; a picture shows no more. So a client that floods hides
/// none of the others, and its page does not fall behind.
const EACH: u32 = 64;
/// Counts of frequent events, each for the clients with one remainder of their number. A thousand clients that get a
/// push stay far below [`EACH`].
const COUNTS: usize = 256;

/// Something that a thread did.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// Which thread.
    pub lane: Lane,
    /// For which client.
    pub client: u64,
    /// What.
    pub event: Event,
}

/// The end of the channel at which `lab-events` takes them out.
#[derive(Clone)]
pub struct Recorder {
    /// Tells the framework whether to report.
    pub observer: Observer,
    /// The events that it reported.
    pub seen: Receiver<Seen>,
    dropped: Arc<AtomicU64>,
    /// Frequent events since the last batch.
    often: Arc<[AtomicU32; COUNTS]>,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new()
    }
}

impl Recorder {
    /// Starts without an event.
    pub fn new() -> Recorder {
        Recorder::with_room(WAITING)
    }

    fn with_room(waiting: usize) -> Recorder {
        let (sender, seen) = crossbeam_channel::bounded(waiting);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        let often = Arc::new([const { AtomicU32::new(0) }; COUNTS]);
        let counts = often.clone();
        let observer = Observer::new(move |client, event| {
            let lane = Lane::current();
            // The batches themselves are frames that are written: reporting them would never end. Those that
            // a pump or a writer sends on are left out by `lab-events`.
            if lane == Lane::Lab {
                return;
            }
            let full = happens_often(&event)
                && (counts[client as usize % COUNTS].fetch_add(1, Ordering::Relaxed) >= EACH
                    || sender.len() >= waiting - waiting / SELDOM);
            if full || sender.try_send(Seen { at: Instant::now(), lane, client, event }).is_err() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        });
        Recorder { observer, seen, dropped, often }
    }

    /// Begins to count each client's frequent events again.
    pub fn begin_batch(&self) {
        self.often.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// Counts events that were taken out, but not sent to a watcher.
    pub fn lose(&self, events: usize) {
        self.dropped.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// Returns the events that were lost so far: the channel was full, or a watcher was behind.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Returns whether an event happens with each message.
fn happens_often(event: &Event) -> bool {
    use Event::*;
    matches!(event, HandlerBegins(_) | HandlerEnds { .. } | Reads | Wakes | Wrote | Queued)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_floods_hides_no_other() {
        let recorder = Recorder::new();
        recorder.observer.watch(true);
        for _ in 0..EACH + 10 {
            recorder.observer.report(1, Event::Reads);
        }
        assert_eq!((recorder.seen.len(), recorder.dropped()), (EACH as usize, 10));
        recorder.observer.report(2, Event::Wakes);
        recorder.observer.report(1, Event::PumpBegins);
        assert_eq!((recorder.seen.len(), recorder.dropped()), (EACH as usize + 2, 10));
        recorder.begin_batch();
        recorder.observer.report(1, Event::Reads);
        assert_eq!((recorder.seen.len(), recorder.dropped()), (EACH as usize + 3, 10));
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let recorder = Recorder::with_room(4);
        recorder.observer.watch(true);
        for _ in 0..10 {
            recorder.observer.report(1, Event::Reads);
        }
        assert_eq!((recorder.seen.len(), recorder.dropped()), (3, 7));
        recorder.observer.report(1, Event::PumpBegins);
        assert_eq!((recorder.seen.len(), recorder.dropped()), (4, 7), "what happens seldom has room left");
        recorder.observer.report(1, Event::PumpEnds);
        assert_eq!((recorder.seen.len(), recorder.dropped()), (4, 8));
        recorder.seen.try_iter().for_each(drop);
        recorder.observer.report(1, Event::Wakes);
        assert_eq!((recorder.seen.len(), recorder.dropped()), (1, 8));
    }
}
