//! The outbox's one atomic word: the number of frames on their way, the bytes that wait behind the frame that is being
//! written, and four flags. Any thread; nothing here waits.

use std::sync::atomic::AtomicU64 as Statistic;

use crate::net::sync::{AtomicU64, Ordering};
use crate::ws::frame::MAX_FRAME;

/// The cost of a frame in addition to its bytes: its slot in the channel and its allocation. So a backlog of a million
/// empty frames counts as much as it occupies.
pub(crate) const OVERHEAD: u64 = 64;

/// The word: bytes in bits 0 to 31, frames in bits 32 to 59, then the flags. The largest limit and the largest
/// frame together fit in 32 bits.
const FRAME: u64 = 1 << 32;
const BYTES: u64 = FRAME - 1;
const FRAMES: u64 = ((1 << 28) - 1) << 32;
/// The response, which precedes all frames, has not been written yet.
const EARLY: u64 = 1 << 60;
/// A thread waits for the backlog to change.
const WAITING: u64 = 1 << 61;
/// A Close frame is in: the outbox accepts nothing after it (RFC 6455, section 5.5.1).
const CLOSING: u64 = 1 << 62;
/// The connection is dead: the outbox accepts and writes nothing.
const DEAD: u64 = 1 << 63;

/// A reading of the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(u64);

impl State {
    pub(crate) fn frames(self) -> u64 {
        (self.0 & FRAMES) / FRAME
    }

    /// Returns the bytes that the limit counts: those behind the frame that is being written.
    pub(crate) fn bytes(self) -> u64 {
        self.0 & BYTES
    }

    /// Returns whether the response, which precedes all frames, has yet to come.
    pub(crate) fn is_early(self) -> bool {
        self.0 & EARLY != 0
    }

    /// Returns whether the limit counts a frame that is admitted in this state. It does not count a frame that is
    /// written next, or one from before the response.
    pub(crate) fn counts(self) -> bool {
        self.frames() > 0 && !self.is_early()
    }

    pub(crate) fn is_waited_for(self) -> bool {
        self.0 & WAITING != 0
    }

    pub(crate) fn is_closing(self) -> bool {
        self.0 & CLOSING != 0
    }

    pub(crate) fn is_dead(self) -> bool {
        self.0 & DEAD != 0
    }
}

/// The word. `AcqRel` throughout: the previous drainer's writes to the socket must happen before the next one's, and
/// loom finds a race with anything weaker.
pub(crate) struct Backlog {
    word: AtomicU64,
    /// The bytes at which the outbox accepts only a Close frame. Written before the response arrives; until then it
    /// counts nothing.
    limit: Statistic,
    /// Bytes on their way that the limit does not count. Written by the drainer, and by early pushers. For display
    /// only; no decision depends on it.
    uncounted: Statistic,
}

impl Backlog {
    /// Starts with one free frame on its way: the response, which precedes all frames.
    pub(crate) fn new(limit: u64) -> Backlog {
        let limit = Statistic::new(limit.min(MAX_FRAME as u64));
        Backlog { word: AtomicU64::new(FRAME | EARLY), limit, uncounted: Statistic::new(0) }
    }

    /// Sets the limit.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit.min(MAX_FRAME as u64), Ordering::Relaxed);
    }

    fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// The response has come: from now on the limit counts.
    pub(crate) fn begin(&self) -> State {
        State(self.word.fetch_and(!EARLY, Ordering::AcqRel))
    }

    /// Returns all bytes that are on their way, counted or not.
    pub(crate) fn total(&self) -> u64 {
        self.state().bytes() + self.uncounted.load(Ordering::Relaxed)
    }

    /// Adds bytes on their way that the limit does not count.
    pub(crate) fn add_uncounted(&self, cost: u64) {
        self.uncounted.fetch_add(cost, Ordering::Relaxed);
    }

    /// Subtracts them.
    pub(crate) fn remove_uncounted(&self, cost: u64) {
        self.uncounted.fetch_sub(cost, Ordering::Relaxed);
    }

    pub(crate) fn state(&self) -> State {
        State(self.word.load(Ordering::Acquire))
    }

    /// Returns whether at most a quarter of the limit is used, so that producers may continue.
    pub(crate) fn is_mostly_empty(&self, state: State) -> bool {
        state.bytes() <= self.limit() / 4
    }

    /// Returns whether at most half of the limit is used. The client's own thread fills that half; the other half is
    /// for pushes.
    pub(crate) fn is_half_empty(&self, state: State) -> bool {
        state.bytes() <= self.limit() / 2
    }

    /// Counts a frame if it is accepted, and its bytes if the previous state [counts](State::counts) them. Returns the
    /// previous state; the error is the state that forbids it.
    pub(crate) fn admit(&self, cost: u64, is_close: bool) -> Result<State, State> {
        let limit = self.limit();
        let admitted = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let state = State(word);
            let is_full = state.bytes() >= limit && !is_close;
            if state.is_dead() || state.is_closing() || is_full || word & FRAMES == FRAMES {
                return None;
            }
            let closing = if is_close { CLOSING } else { 0 };
            Some((word + FRAME + if state.counts() { cost } else { 0 }) | closing)
        });
        admitted.map(State).map_err(State)
    }

    /// Begins to write a counted frame.
    pub(crate) fn begun(&self, cost: u64) -> State {
        self.add_uncounted(cost);
        State(self.word.fetch_sub(cost, Ordering::AcqRel))
    }

    /// Subtracts a frame that has been written. Returns the previous state, in which it still counts.
    pub(crate) fn written(&self) -> State {
        State(self.word.fetch_sub(FRAME, Ordering::AcqRel))
    }

    /// Sets the flag. Returns the previous state.
    pub(crate) fn die(&self) -> State {
        State(self.word.fetch_or(DEAD, Ordering::AcqRel))
    }

    /// Sets the flag. Returns the previous state.
    pub(crate) fn set_waiting(&self) -> State {
        State(self.word.fetch_or(WAITING, Ordering::AcqRel))
    }

    pub(crate) fn clear_waiting(&self) {
        self.word.fetch_and(!WAITING, Ordering::AcqRel);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn counts(state: State) -> (u64, u64) {
        (state.frames(), state.bytes())
    }

    #[test]
    fn frames_and_bytes_are_counted_apart() {
        let backlog = Backlog::new(1 << 30);
        backlog.begin();
        assert_eq!(counts(backlog.admit((1 << 30) + 7, false).unwrap()), (1, 0));
        assert_eq!(counts(backlog.state()), (2, (1 << 30) + 7));
        assert_eq!(counts(backlog.written()), (2, (1 << 30) + 7));
        assert_eq!(counts(backlog.begun((1 << 30) + 7)), (1, (1 << 30) + 7));
        assert_eq!((counts(backlog.state()), backlog.total()), ((1, 0), (1 << 30) + 7));
        backlog.remove_uncounted((1 << 30) + 7);
        assert_eq!(counts(backlog.written()), (1, 0));
        assert_eq!((counts(backlog.state()), backlog.total()), ((0, 0), 0));
    }

    #[test]
    fn the_backlog_is_full_at_its_limit_but_takes_a_close() {
        let backlog = Backlog::new(100);
        backlog.begin();
        assert!(backlog.admit(99, false).is_ok());
        assert!(backlog.admit(5000, false).is_ok(), "a frame is accepted whole, whatever its size");
        assert_eq!(backlog.admit(1, false).map_err(counts), Err((3, 5099)));
        assert!(backlog.admit(1, true).is_ok());
        assert!(backlog.state().is_closing());
        assert!(backlog.admit(1, true).is_err(), "a second Close frame");
        backlog.written();
        for cost in [99, 5000, 1] {
            backlog.begun(cost);
            backlog.written();
        }
        assert_eq!(counts(backlog.state()), (0, 0));
        assert!(backlog.admit(1, false).is_err(), "nothing follows a Close frame");
    }

    #[test]
    fn the_limit_counts_bytes_behind_the_frame_that_is_being_written() {
        let backlog = Backlog::new(100);
        backlog.begin();
        backlog.written();
        assert_eq!(counts(backlog.admit(1 << 20, false).unwrap()), (0, 0));
        assert_eq!(counts(backlog.admit(99, false).unwrap()), (1, 0));
        assert_eq!(counts(backlog.admit(1, false).unwrap()), (2, 99));
        assert_eq!(backlog.admit(1, false).map_err(counts), Err((3, 100)));
    }

    #[test]
    fn before_the_response_the_limit_counts_nothing() {
        let backlog = Backlog::new(100);
        for _ in 0..3 {
            assert_eq!(counts(backlog.admit(1 << 30, false).unwrap()).1, 0);
        }
        assert!(backlog.begin().is_early() && !backlog.state().is_early());
        assert!(backlog.admit(100, false).is_ok());
        assert!(backlog.admit(1, false).is_err());
    }

    #[test]
    fn the_dead_take_nothing() {
        let backlog = Backlog::new(100);
        assert!(!backlog.die().is_dead());
        assert!(backlog.die().is_dead());
        assert!(backlog.admit(1, false).is_err() && backlog.admit(1, true).is_err());
    }
}
