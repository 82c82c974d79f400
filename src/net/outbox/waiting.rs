//! Threads that wait for the backlog to shrink: the reading thread, producers, and the thread that ends the connection.
//!
//! Producers wait until at most a quarter of the limit is used, and the reader until at most half: so producers that
//! flood a client do not stop its input. If its answers alone fill that half, the reader and the producers take turns,
//! so a client that floods does not lock producers out.
//!
//! Never here: holding the lock while a thread sleeps or reports.

use std::time::{Duration, Instant};

use super::{Link, Outbox};
use crate::net::backlog::State;
use crate::observer::Event;

/// Threads in [`wait`](Outbox::wait).
#[derive(Default)]
pub(super) struct Sleepers {
    pub(super) count: u32,
    producers: u32,
    reader: bool,
    /// The reader waited for room and got it, and no producer has since.
    reader_owes: bool,
}

/// The role in which a thread waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Reader,
    Producer,
    /// Waits until everything is written, and then writes nothing.
    Last,
}

impl Sleepers {
    fn enter(&mut self, role: Role) {
        self.count += 1;
        self.producers += u32::from(role == Role::Producer);
        self.reader |= role == Role::Reader;
    }

    fn leave(&mut self, role: Role, had_to_wait: bool, is_ready: bool) {
        self.count -= 1;
        match role {
            // A reader that gave up does not change whose turn it is.
            Role::Reader if !is_ready => self.reader = false,
            Role::Reader => (self.reader, self.reader_owes) = (false, had_to_wait),
            Role::Producer => {
                self.producers -= 1;
                self.reader_owes = false;
            }
            Role::Last => {}
        }
    }

    /// Returns whether the reader lets a producer go first.
    fn is_producers_turn(&self) -> bool {
        self.reader && self.reader_owes && self.producers > 0
    }
}

impl<L: Link> Outbox<L> {
    /// Returns whether at most half of the limit waits.
    pub(crate) fn has_room(&self) -> bool {
        self.backlog.is_half_empty(self.state())
    }

    /// Blocks the reading thread until at most half of the limit waits. False if the connection died.
    pub(crate) fn wait_to_read(&self) -> bool {
        self.wait(Role::Reader, None);
        !self.state().is_dead()
    }

    /// Blocks the reading thread until at most half of the limit waits, or the deadline. False if the deadline passed.
    pub(crate) fn wait_to_read_until(&self, deadline: Instant) -> bool {
        self.wait(Role::Reader, Some(deadline))
    }

    /// Blocks until the response is out and at most a quarter of the limit waits (or half, if the reader lets it go
    /// first), until the connection is dead or closing, or until the deadline. Any number of threads may wait. Returns
    /// false if the deadline passed.
    pub(crate) fn wait_for_room(&self, deadline: Instant) -> bool {
        self.wait(Role::Producer, Some(deadline))
    }

    /// Blocks until all accepted frames are written, or the connection is dead: a pump that makes no progress until the
    /// write deadline kills it.
    pub(crate) fn wait_until_written(&self) {
        self.wait(Role::Last, None);
    }

    /// Returns whether a thread in this role may go, if it is its turn.
    fn is_room(&self, role: Role, state: State, is_producers_turn: bool) -> bool {
        match role {
            Role::Reader => self.backlog.is_half_empty(state),
            // Nothing is written before the response.
            Role::Producer if state.is_early() => state.is_closing(),
            Role::Producer if is_producers_turn => state.is_closing() || self.backlog.is_half_empty(state),
            Role::Producer => state.is_closing() || self.backlog.is_mostly_empty(state),
            Role::Last => state.frames() == 0,
        }
    }

    /// Blocks until the thread may go or the connection is dead, and returns true, or until the deadline, and returns
    /// false.
    fn wait(&self, role: Role, deadline: Option<Instant>) -> bool {
        let state = self.state();
        // No other thread is waiting, so it cannot be another's turn.
        if state.is_dead() || (!state.is_waited_for() && self.is_room(role, state, false)) {
            return true;
        }
        let (mut had_to_wait, mut is_reported) = (false, false);
        let mut sleepers = self.sleepers.lock().expect("nothing panics under this lock");
        sleepers.enter(role);
        if sleepers.is_producers_turn() {
            self.changed.notify_all();
        }
        // Sets the flag and reads the state under the lock that `wake` takes, so no wake-up is lost.
        let is_ready = loop {
            let (state, is_producers_turn) = (self.backlog.set_waiting(), sleepers.is_producers_turn());
            let is_room = self.is_room(role, state, is_producers_turn);
            if state.is_dead() || (is_room && !(role == Role::Reader && is_producers_turn)) {
                break true;
            }
            had_to_wait |= !is_room;
            if !is_reported {
                drop(sleepers);
                self.link.report(Event::Waits);
                is_reported = true;
                sleepers = self.sleepers.lock().expect("as above");
                continue;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            sleepers = match left {
                Some(Duration::ZERO) => break false,
                Some(left) => self.changed.wait_timeout(sleepers, left).expect("as above").0,
                None => self.changed.wait(sleepers).expect("as above"),
            };
        };
        sleepers.leave(role, had_to_wait, is_ready);
        if sleepers.reader {
            // It may have been a producer's turn, and no longer be.
            self.changed.notify_all();
        }
        if sleepers.count == 0 {
            self.backlog.clear_waiting();
        }
        is_ready
    }

    pub(super) fn wake(&self) {
        let _sleepers = self.sleepers.lock().expect("nothing panics under this lock");
        self.changed.notify_all();
    }
}
