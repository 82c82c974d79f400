//! The newest frame of a kind: while one waits, the next takes its place.
//!
//! The channel carries the [`Slot`], in which the drainer finds the newest frame at that time. Nothing polls, and a
//! connection without slots pays nothing.
//!
//! Never here: a slot's lock held while something is written.

use std::sync::Arc;

use super::drain::Drain;
use super::{Link, Outbox, PushError, QueuedFrame, cost};
use crate::net::seal::Delivery;
use crate::net::sync::Mutex;
use crate::ws::frame::Frame;

/// Where the newest frame of a kind waits for one connection. Pushing threads fill it, and the drainer empties it.
pub(crate) struct Slot(Mutex<Option<Frame>>);

impl Slot {
    pub(crate) fn new() -> Slot {
        Slot(Mutex::new(None))
    }

    /// Takes the frame out.
    pub(super) fn take(&self) -> Option<Frame> {
        self.0.lock().expect("nothing panics under this lock").take()
    }
}

impl<L: Link> Outbox<L> {
    /// Accepts a frame as [`push`](Outbox::push) does, in place of the one that waits in its slot: so at most one
    /// waits. It counts as the frame that began to wait. The outbox calls `slot` only if other frames are on their way.
    pub(crate) fn push_latest(
        self: &Arc<Self>,
        frame: Frame,
        slot: impl FnOnce() -> Arc<Slot>,
    ) -> Result<(), PushError> {
        let (state, cost, is_inline) = (self.state(), cost(&frame), self.link.delivery() == Delivery::Inline);
        if state.is_dead() || state.is_closing() {
            return Err(PushError::Closed);
        }
        if is_inline && state.frames() == 0 {
            let before = self.backlog.admit(cost, false).map_err(|before| self.push_error(before))?;
            if before.frames() == 0 {
                return Drain::new(self, frame, cost).inline();
            }
            // Another thread was faster. The frame is counted, so it must come. If an older frame waits, this one takes
            // its turn, and an empty frame comes in the turn of this one.
            let slot = slot();
            *slot.0.lock().expect("nothing panics under this lock") = Some(frame);
            return self.queue(QueuedFrame::Latest(slot, cost), before);
        }
        let slot = slot();
        let mut waiting = slot.0.lock().expect("nothing panics under this lock");
        if waiting.is_some() {
            *waiting = Some(frame);
            return Ok(());
        }
        match self.backlog.admit(cost, false) {
            Ok(before) if before.frames() == 0 && is_inline => {
                drop(waiting);
                Drain::new(self, frame, cost).inline()
            }
            Ok(before) => {
                *waiting = Some(frame);
                drop(waiting);
                self.queue(QueuedFrame::Latest(slot, cost), before)
            }
            Err(before) => {
                drop(waiting);
                Err(self.push_error(before))
            }
        }
    }
}
