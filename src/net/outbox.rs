//! The client's channel, which drains itself. Any thread pushes; one thread writes.
//!
//! ```text
//!  push ──► count it ──► was the count 0? ── yes ──► this thread is the drainer: it writes, without
//!              │                                     blocking, and hands over to a pump if the
//!              └── no: into the channel, return      socket is full
//! ```
//!
//! One atomic word, the [backlog](crate::net::backlog), counts the frames on their way. The thread that takes the count
//! from 0 to 1 is the drainer until the count is 0 again. So a socket has one writer by construction, no frame is left
//! behind, and the channel keeps the order.
//!
//! Never here: holding a lock while writing, waiting on the pushing thread, or writing a frame after half of another.
//! If the drainer cannot continue (an error, a panic, no thread for a pump), its guard kills the connection.
//!
//! A frame is counted *before* it goes into the channel. Counting afterwards works too, but then the thread that finds
//! a count of 0 cannot know that the channel is empty, and would have to send each frame through it. In this order the
//! drainer writes its own frame directly from its own stack.

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

use crate::error::Error;
use crate::metrics::DisconnectReason;
use crate::net::backlog::{Backlog, OVERHEAD, State};
use crate::net::closer::Kill;
use crate::net::seal::{Delivery, Seal};
use crate::net::sync::{Channel, Condvar, Mutex};
use crate::observer::Event;
use crate::ws::frame::Frame;

/// The outbox's surroundings: the transport that it writes to, and the owner that it reports to.
///
/// The order of the calls: [`hold`](Link::hold) when a frame begins to wait, [`start_pump`](Link::start_pump) when the
/// socket is full, [`sent`](Link::sent) for each write, [`release`](Link::release) behind the frame,
/// [`close_written`](Link::close_written) behind the Close, and [`disconnect`](Link::disconnect) at most once, at any
/// time.
pub(crate) trait Link: Send + Sync + Sized + 'static {
    /// The kind of transport.
    type Transport: Seal;

    /// Returns the transport.
    fn transport(&self) -> &Self::Transport;
    /// Returns which threads write.
    fn delivery(&self) -> Delivery;
    /// Returns how long a pump may go without writing a byte.
    fn write_deadline(&self) -> Duration;
    /// Calls `pump` on a new thread, once one is free. If none is in time, it drops `pump`. Never blocks.
    fn start_pump(&self, pump: impl FnOnce() + Send + 'static) -> io::Result<()>;
    /// Shuts the transport down, with this much on its way. Called once, for the first reason.
    fn disconnect(&self, reason: DisconnectReason, backlog: u64);
    /// Called once, when the Close frame is written: from now on the peer has to answer.
    fn close_written(&self, connection: Weak<dyn Kill>);
    /// Counts bytes that the transport has taken. The drainer calls it.
    fn sent(&self, bytes: usize) {
        let _ = bytes;
    }
    /// Counts bytes that begin to wait; `all` is this client's total. Returns false if the total of all clients exceeds
    /// the limit.
    fn hold(&self, bytes: u64, all: u64) -> bool {
        let _ = (bytes, all);
        true
    }
    /// Subtracts bytes that no longer wait.
    fn release(&self, bytes: u64) {
        let _ = bytes;
    }
    /// Reports an event, see [`Observer`](crate::Observer).
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

impl From<PushError> for Error {
    #[cold]
    fn from(error: PushError) -> Error {
        match error {
            PushError::Closed => Error::Closed,
            PushError::Full(backlog) => Error::SlowConsumer { backlog },
        }
    }
}

/// A frame that waits in the channel.
enum QueuedFrame {
    Frame(Frame),
    /// The newest frame when its turn comes, and the cost that counts in any case.
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

/// A frame in the channel.
struct Queued {
    frame: QueuedFrame,
    /// Whether the limit counts it, until it is being written.
    is_counted: bool,
}

/// See the [module](self).
pub(crate) struct Outbox<L: Link> {
    pub(crate) link: L,
    /// Written by pushing threads and the drainer. An atomic number: two threads that add to it at once never lose one
    /// of the two, and each gets the number before its own change. So exactly one finds 0, and becomes the drainer.
    backlog: Backlog,
    /// Pushing threads that find a drainer at work send to it; that drainer receives. A channel is a queue for any
    /// number of sending threads; it keeps the order of each thread's items.
    channel: Channel<Queued>,
    /// Threads that wait. They write it, under the lock that wakes them.
    sleepers: Mutex<Sleepers>,
    changed: Condvar,
}

impl<L: Link> Outbox<L> {
    /// Returns an outbox whose drainer is the caller until it calls [`begin`](Outbox::begin); frames that are pushed
    /// before wait in the channel. `limit` is the backlog of a slow consumer, in bytes, behind the frame that is being
    /// written. It does not count frames from before `begin`.
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

    /// Writes `head`, the response that every frame has to wait for, and then all frames pushed so far.
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

    /// Accepts a whole frame, or nothing. Never blocks. `Ok` means that the frame will be written before the Close
    /// frame, unless the connection dies.
    pub(crate) fn push(self: &Arc<Self>, frame: Frame) -> Result<(), PushError> {
        let cost = cost(&frame);
        match self.backlog.admit(cost, frame.is_close) {
            Ok(before) if before.frames() == 0 && self.link.delivery() == Delivery::Inline => {
                Drain::new(self, frame, cost).inline()
            }
            Ok(before) => self.queue(QueuedFrame::Frame(frame), before),
            Err(before) => Err(self.push_error(before)),
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
        // A counted frame must come, even if the buffers are full.
        self.channel.send(Queued { frame, is_counted });
        if !has_room {
            return Err(self.overflow());
        }
        self.link.report(Event::Queued);
        if is_close && before.is_waited_for() {
            // A thread that waits for room will get none.
            self.wake();
        }
        Ok(())
    }

    /// Returns why a frame is not accepted, and ends the connection if that is for its backlog.
    #[cold]
    fn push_error(&self, before: State) -> PushError {
        if before.is_closing() || before.is_dead() { PushError::Closed } else { self.overflow() }
    }

    /// Ends the connection of a slow consumer.
    fn overflow(&self) -> PushError {
        let backlog = self.bytes();
        self.kill(DisconnectReason::Overflow);
        PushError::Full(backlog)
    }

    /// Drops the frames in the channel.
    fn forget_queued(&self) {
        self.channel.drain(|queued| self.link.release(queued.frame.cost()));
    }

    /// Ends the connection at once, from any thread; unwritten frames are lost. Only the first reason counts.
    pub(crate) fn kill(&self, reason: DisconnectReason) {
        let (backlog, before) = (self.bytes(), self.backlog.die());
        if !before.is_dead() {
            self.link.disconnect(reason, backlog);
            if self.link.delivery() == Delivery::Handoff {
                // Not counted, and never written: it wakes a writer that waits for the next frame.
                let frame = Frame { bytes: Bytes::new(), is_close: false };
                // No other client has to give way for it.
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

/// Returns the cost of a frame, in bytes.
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
