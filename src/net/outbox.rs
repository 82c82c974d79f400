//! The client's channel, which empties itself. Any thread pushes; one at a time writes.
//!
//! ```text
//!  push ──► count it ──► was the count 0? ── yes ──► this thread is the drainer: it writes, without
//!              │                                     blocking, and hands over to a pump if the
//!              └── no: into the channel, return      socket is full
//! ```
//!
//! One atomic word, the [backlog](crate::net::backlog), counts what is on its way. The thread that takes the
//! count from 0 to 1 is the drainer, and stays it until the count is 0 again. So there is one writer per socket by
//! construction, nothing is left behind, and order is the channel's.
//!
//! Never here: a lock held while writing, a wait on the pushing thread, a frame that is half written
//! and followed by another. If the drainer cannot go on (an error, a panic, no thread for a pump), its
//! guard kills the connection.
//!
//! A frame is counted *before* it goes into the channel. Counting afterwards works too, but then the
//! thread that finds a count of 0 cannot know that the channel is empty, and would have to send each
//! frame through it. This way the drainer writes its own frame straight from its own stack.

mod drain;
pub(crate) mod latest;
mod waiting;

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tungstenite::Bytes;

use drain::Drain;
use latest::Slot;
use waiting::Sleepers;

use crate::metrics::DisconnectReason;
use crate::net::backlog::{Backlog, OVERHEAD, State};
use crate::net::closer::Kill;
use crate::net::seal::{Delivery, Seal};
use crate::net::sync::{Channel, Condvar, Mutex};
use crate::observer::Event;
use crate::ws::frame::Frame;

/// What an outbox is the outbox of: the transport that it writes to, and who has to know what happens.
pub(crate) trait Link: Send + Sync + Sized + 'static {
    /// How the bytes travel.
    type Transport: Seal;

    /// Returns it.
    fn transport(&self) -> &Self::Transport;
    /// Returns who writes.
    fn delivery(&self) -> Delivery;
    /// Returns how long a pump goes on without getting rid of a byte.
    fn write_deadline(&self) -> Duration;
    /// Runs `pump` on a thread of its own, once there is one. If there is none in time, `pump` is dropped. Never blocks.
    fn start_pump(&self, pump: impl FnOnce() + Send + 'static) -> io::Result<()>;
    /// Shuts the transport down, with this much on its way. Called once, for the first reason.
    fn disconnect(&self, reason: DisconnectReason, backlog: u64);
    /// Called once, when the Close frame is written: from now on the peer has to answer.
    fn close_written(&self, connection: Weak<dyn Kill>);
    /// Counts bytes that the transport has taken. Called by the drainer.
    fn sent(&self, bytes: usize) {
        let _ = bytes;
    }
    /// Counts bytes that begin to wait, `all` for this client. False if all that waits, for all clients, is more than
    /// there is room for.
    fn hold(&self, bytes: u64, all: u64) -> bool {
        let _ = (bytes, all);
        true
    }
    /// Takes off bytes that wait no longer.
    fn release(&self, bytes: u64) {
        let _ = bytes;
    }
    /// Tells those who watch, see [`Observer`](crate::Observer).
    fn report(&self, event: Event) {
        let _ = event;
    }
}

/// Why a push was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Closed,
    /// The backlog, in bytes; the connection has been killed.
    Full(u64),
}

/// A frame that waits in the channel.
enum QueuedFrame {
    Frame(Frame),
    /// Whichever is the newest when its turn comes, and what it costs all the same.
    Latest(Arc<Slot>, u64),
}

impl QueuedFrame {
    fn is_close(&self) -> bool {
        matches!(self, QueuedFrame::Frame(frame) if frame.is_close)
    }

    fn cost(&self) -> u64 {
        match self {
            QueuedFrame::Frame(frame) => cost(frame),
            QueuedFrame::Latest(_, cost) => *cost,
        }
    }

    fn into_frame(self) -> Frame {
        match self {
            QueuedFrame::Frame(frame) => frame,
            QueuedFrame::Latest(slot, _) => {
                slot.take().unwrap_or_else(|| Frame { bytes: Bytes::new(), is_close: false })
            }
        }
    }
}

/// What waits in the channel.
struct Queued {
    frame: QueuedFrame,
    /// Whether the limit counts it, until it is being written.
    is_counted: bool,
}

/// See the [module](self).
pub(crate) struct Outbox<L: Link> {
    pub(crate) link: L,
    /// Written by pushing threads and the drainer.
    backlog: Backlog,
    /// Sent to by pushing threads that found a drainer at work, received from by that drainer.
    channel: Channel<Queued>,
    /// Who waits. Written by them, under the lock that wakes them.
    sleepers: Mutex<Sleepers>,
    changed: Condvar,
}

impl<L: Link> Outbox<L> {
    /// Returns an outbox whose drainer is the caller until it calls [`begin`](Outbox::begin): what is pushed
    /// before that waits in the channel. `limit` is the backlog, in bytes, of a slow consumer: what waits behind the frame
    /// that is being written. It counts nothing of what is pushed before `begin`.
    pub(crate) fn new(link: L, limit: u64) -> Outbox<L> {
        Outbox {
            link,
            backlog: Backlog::new(limit),
            channel: Channel::new(),
            sleepers: Mutex::new(Sleepers::default()),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.backlog.state()
    }

    /// Sets the backlog of a slow consumer, before [`begin`](Outbox::begin).
    pub(crate) fn set_limit(&self, limit: u64) {
        self.backlog.set_limit(limit);
    }

    /// Returns all bytes that are on their way.
    pub(crate) fn bytes(&self) -> u64 {
        self.backlog.total()
    }

    /// Writes `head`, the response that every frame has to wait for, and then what has been pushed.
    pub(crate) fn begin(self: &Arc<Self>, head: Bytes) -> Result<(), PushError> {
        if self.backlog.begin().is_waited_for() {
            self.wake();
        }
        let drain = Drain::new(self, Frame { bytes: head, is_close: false }, 0);
        match self.link.delivery() {
            Delivery::Inline => drain.inline(),
            Delivery::Handoff => drain.hand_over(0),
        }
    }

    /// Accepts a frame, whole, or not at all. Never blocks. `Ok` means that it will be written before
    /// the Close frame unless the connection dies.
    pub(crate) fn push(self: &Arc<Self>, frame: Frame) -> Result<(), PushError> {
        let cost = cost(&frame);
        match self.backlog.admit(cost, frame.is_close) {
            Ok(before) if before.frames() == 0 && self.link.delivery() == Delivery::Inline => {
                Drain::new(self, frame, cost).inline()
            }
            Ok(before) => self.queue(QueuedFrame::Frame(frame), before),
            Err(before) => Err(self.refused(before)),
        }
    }

    /// Leaves a frame that is counted to the drainer.
    #[inline]
    fn queue(&self, frame: QueuedFrame, before: State) -> Result<(), PushError> {
        let (cost, is_close, is_counted) = (frame.cost(), frame.is_close(), before.counts());
        if !is_counted {
            self.backlog.add_uncounted(cost);
        }
        let has_room = self.link.hold(cost, self.bytes());
        // Counted, it has to come, also if there is no room for it.
        self.channel.send(Queued { frame, is_counted });
        if !has_room {
            return Err(self.overflow());
        }
        self.link.report(Event::Queued);
        if is_close && before.is_waited_for() {
            // Who waits for room will get none.
            self.wake();
        }
        Ok(())
    }

    /// Returns why a frame is not accepted, and ends the connection if that is for its backlog.
    #[cold]
    fn refused(&self, before: State) -> PushError {
        if before.is_closing() || before.is_dead() { PushError::Closed } else { self.overflow() }
    }

    /// Ends the connection of a slow consumer.
    fn overflow(&self) -> PushError {
        let backlog = self.bytes();
        self.kill(DisconnectReason::Overflow);
        PushError::Full(backlog)
    }

    /// Drops what is in the channel.
    fn forget_queued(&self) {
        self.channel.drain(|queued| self.link.release(queued.frame.cost()));
    }

    /// Ends the connection at once, from any thread; what is not written is lost. Only the first reason
    /// counts.
    pub(crate) fn kill(&self, reason: DisconnectReason) {
        let (backlog, before) = (self.bytes(), self.backlog.die());
        if !before.is_dead() {
            self.link.disconnect(reason, backlog);
            if self.link.delivery() == Delivery::Handoff {
                // Not counted, and never written: it wakes a writer that waits for the next frame.
                let frame = Frame { bytes: Bytes::new(), is_close: false };
                // Nobody has to make room for it.
                self.link.hold(cost(&frame), u64::MAX);
                self.backlog.add_uncounted(cost(&frame));
                self.channel.send(Queued { frame: QueuedFrame::Frame(frame), is_counted: false });
            }
        }
        if before.is_waited_for() {
            self.wake();
        }
    }
}

/// Bytes that a frame is charged.
fn cost(frame: &Frame) -> u64 {
    frame.bytes.len() as u64 + OVERHEAD
}

impl<L: Link> Drop for Outbox<L> {
    fn drop(&mut self) {
        self.forget_queued();
    }
}

impl<L: Link> Kill for Outbox<L> {
    fn kill(&self, reason: DisconnectReason) {
        Outbox::kill(self, reason);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod model;
