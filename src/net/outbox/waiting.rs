//! Who waits for the backlog to shrink: the reading thread, producers, and who ends the connection.
//!
//! The reader and the producers wait for the same half of the limit, and each of them may fill it again at once. So they
//! take turns: a client that floods does not keep producers out, and they do not keep it from being read.
//!
//! Never here: the lock held while somebody sleeps, or while something is reported.

use std::time::{Duration, Instant};

use super::{Link, Outbox};
use crate::net::backlog::State;
use crate::observer::Event;

/// Those who are in [`wait`](Outbox::wait).
#[derive(Default)]
pub(super) struct Sleepers {
    pub(super) count: u32,
    producers: u32,
    reader: bool,
    /// The reader had its turn later than a producer.
    reader_went: bool,
}

/// What somebody waits as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Reader,
    Producer,
    /// Waits for all to be written, and writes nothing then.
    Last,
}

impl Sleepers {
    fn enter(&mut self, role: Role) {
        self.count += 1;
        self.producers += u32::from(role == Role::Producer);
        self.reader |= role == Role::Reader;
    }

    /// Returns whether it is its turn, where there is room.
    fn may_go(&self, role: Role) -> bool {
        match role {
            Role::Reader => self.producers == 0 || !self.reader_went,
            Role::Producer => !self.reader || self.reader_went,
            Role::Last => true,
        }
    }

    /// Returns whether it may be somebody else's turn now.
    fn leave(&mut self, role: Role) -> bool {
        self.count -= 1;
        match role {
            Role::Reader => (self.reader, self.reader_went) = (false, true),
            Role::Producer => {
                self.producers -= 1;
                self.reader_went = false;
            }
            Role::Last => {}
        }
        self.reader || (self.producers > 0 && role == Role::Reader)
    }
}

impl<L: Link> Outbox<L> {
    /// Returns whether at most half of the limit waits.
    pub(crate) fn has_room(&self) -> bool {
        self.backlog.is_half_empty(self.state())
    }

    /// Blocks the reading thread until at most half of the limit waits, and it is its turn. False if the connection
    /// died.
    pub(crate) fn wait_to_read(&self) -> bool {
        self.wait(Role::Reader, None, |state| self.backlog.is_half_empty(state));
        !self.state().is_dead()
    }

    /// Blocks until at most half of the limit waits, and it is a producer's turn; or the connection is dead or closing,
    /// or the deadline passes. Any number of threads may wait. False if the deadline passed.
    pub(crate) fn wait_for_room(&self, deadline: Instant) -> bool {
        let ready = |state: State| state.is_closing() || self.backlog.is_half_empty(state);
        self.wait(Role::Producer, Some(deadline), ready)
    }

    /// Blocks until all that was accepted is written, or the connection is dead: a pump that gets rid of
    /// nothing for the write deadline kills it.
    pub(crate) fn wait_until_written(&self) {
        self.wait(Role::Last, None, |state| state.frames() == 0);
    }

    /// Blocks until the connection is dead, or it is `ready` and this one's turn, which is true, or until the deadline,
    /// which is false.
    fn wait(&self, role: Role, deadline: Option<Instant>, ready: impl Fn(State) -> bool) -> bool {
        let state = self.state();
        // Nobody is asleep whose turn it could be.
        if state.is_dead() || (ready(state) && !state.is_waited_for()) {
            return true;
        }
        self.link.report(Event::Waits);
        let mut sleepers = self.sleepers.lock().expect("nothing panics under this lock");
        sleepers.enter(role);
        // The flag is set and the state read under the lock that `wake` takes: no wake-up is lost.
        let is_ready = loop {
            let state = self.backlog.set_waiting();
            let has_turn = || state.is_closing() || sleepers.may_go(role);
            if state.is_dead() || (ready(state) && has_turn()) {
                break true;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            sleepers = match left {
                Some(Duration::ZERO) => break false,
                Some(left) => self.changed.wait_timeout(sleepers, left).expect("as above").0,
                None => self.changed.wait(sleepers).expect("as above"),
            };
        };
        if sleepers.leave(role) {
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
