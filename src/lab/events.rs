//! The thread `lab-events`: sends the watchers the events, 20 times a second, and the numbers, once a second.
//!
//! Blocks in a channel. Without watchers, it blocks until one comes.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde_json::{Map, Value, json};

use crate::lab::batch;
use crate::lab::beside::HERE;
use crate::lab::numbers::Process;
use crate::lab::recorder::{Recorder, Seen};
use threadcast::{Connection, Event, Message, Meter, broadcast};

/// Time from one batch of events to the next.
const BATCH: Duration = Duration::from_millis(50);
/// Time from one set of numbers to the next.
const NUMBERS: Duration = Duration::from_secs(1);
/// A watcher with this number of bytes waiting for it gets no events until it has taken some. A quarter of the
/// backlog at which it is disconnected by default, so that a full batch fits above it.
const BEHIND: u64 = 256 << 10;

/// A change that `lab-events` has to know of.
pub enum Change {
    /// Somebody begins to watch.
    Comes(Connection),
    /// Somebody has left.
    Leaves(Connection),
    /// The lab's own clients have changed.
    Crowd(Value),
    /// A sentence for all who watch.
    Note(String),
    /// The lab ends.
    Stop,
}

/// The sources of a watcher's messages.
pub struct Events {
    /// When the lab began.
    pub began: Instant,
    /// Records the threads' work.
    pub recorder: Recorder,
    /// Clients and watchers that come and go.
    pub changes: Receiver<Change>,
    /// The server's counters.
    pub meter: Meter,
    /// This process, and those beside.
    pub processes: Vec<(String, Process)>,
    /// The constant part of the first message to a new watcher.
    pub hello: Value,
    /// The numbers and names of the connected clients.
    pub clients: Box<dyn Fn() -> Vec<(u64, String)> + Send>,
    /// The last report of `lab-crowd`.
    pub crowd: Value,
    /// The current watchers.
    pub watchers: Vec<Connection>,
}

impl Events {
    /// Runs until [`Change::Stop`].
    pub fn run(mut self) {
        while let Ok(change) = self.changes.recv() {
            if !self.take(change) || (!self.watchers.is_empty() && !self.watch()) {
                return;
            }
        }
    }

    /// Runs while somebody watches. Returns false if the lab ends.
    fn watch(&mut self) -> bool {
        let (mut batch, mut numbers) = (Instant::now(), Instant::now());
        let mut goes_on = true;
        while goes_on && !self.watchers.is_empty() {
            goes_on = match self.changes.recv_deadline(batch) {
                Ok(change) => self.take(change),
                Err(RecvTimeoutError::Disconnected) => false,
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    self.send_events();
                    batch = now + BATCH;
                    if now >= numbers {
                        numbers = now + NUMBERS;
                        self.send_numbers();
                    }
                    true
                }
            };
        }
        self.recorder.observer.watch(false);
        self.recorder.seen.try_iter().for_each(drop);
        goes_on
    }

    /// Carries out a change. Returns false if the lab ends.
    fn take(&mut self, change: Change) -> bool {
        match change {
            Change::Comes(watcher) => {
                // Before the list of clients is made: a client that comes in between is sent twice, and not missed.
                self.recorder.observer.watch(true);
                let hello = json!({ "hello": self.hello_to(&watcher) });
                send([&watcher], &hello);
                self.watchers.push(watcher);
            }
            Change::Leaves(watcher) => self.watchers.retain(|other| *other != watcher),
            Change::Crowd(crowd) => {
                self.crowd = crowd;
                self.tell(&json!({ "crowd": self.crowd }));
            }
            Change::Note(note) => self.tell(&json!({ "note": note })),
            Change::Stop => return false,
        }
        true
    }

    fn hello_to(&self, watcher: &Connection) -> Value {
        let mut hello = self.hello.clone();
        hello["t"] = json!(self.now());
        hello["you"] = json!(watcher.id());
        hello["watchers"] = json!(self.watchers.iter().map(Connection::id).collect::<Vec<_>>());
        hello["clients"] = json!((self.clients)());
        hello["crowd"] = self.crowd.clone();
        hello["dropped"] = json!(self.recorder.dropped());
        hello
    }

    fn send_events(&self) {
        // No more than are queued now, or the batch might never be done.
        let seen = self.recorder.seen.try_iter().take(self.recorder.seen.len());
        let list = batch::encode(seen.filter(|seen| !self.is_a_batch(seen)), self.began);
        self.recorder.begin_batch();
        if list.is_empty() {
            return;
        }
        let (behind, ready): (Vec<_>, Vec<_>) =
            self.watchers.iter().partition(|watcher| watcher.backlog() > BEHIND);
        if !behind.is_empty() {
            self.recorder.lose(list.len());
        }
        let dropped = self.recorder.dropped();
        send(ready, &json!({ "events": { "t": self.now(), "list": list, "dropped": dropped } }));
    }

    /// Returns whether a pump or a writer has sent a batch on: reporting it in a batch would cause another one.
    fn is_a_batch(&self, seen: &Seen) -> bool {
        matches!(seen.event, Event::Wrote | Event::Queued)
            && self.watchers.iter().any(|watcher| watcher.id() == seen.client)
    }

    fn send_numbers(&mut self) {
        let mut beside = Map::new();
        let mut here = Value::Null;
        for (name, process) in &mut self.processes {
            let numbers = process.read();
            if name == HERE {
                here = numbers;
            } else {
                beside.insert(name.clone(), numbers);
            }
        }
        let stats = self.meter.stats();
        let numbers = json!({
            "t": self.now(),
            "clients": stats.clients,
            "pushes": stats.pushes,
            "here": here,
            "beside": beside,
        });
        self.tell(&json!({ "numbers": numbers }));
    }

    fn tell(&self, message: &Value) {
        send(&self.watchers, message);
    }

    fn now(&self) -> f64 {
        batch::millis(self.began, Instant::now())
    }
}

/// Ignores watchers that have left in the meantime.
fn send<'a>(watchers: impl IntoIterator<Item = &'a Connection>, message: &Value) {
    let sent = Message::json(message).and_then(|message| broadcast(watchers, message));
    sent.map(drop).unwrap_or_else(|error| log::error!("the lab's watchers miss an event: {error}"));
}
