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
mod waiting;

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tungstenite::Bytes;

use drain::Drain;
use waiting::Sleepers;

use crate::metrics::DisconnectReason;
use crate::net::backlog::{Backlog, OVERHEAD, State};
use crate::net::closer::Kill;
use crate::net::sync::{Channel, Condvar, Mutex};
use crate::net::transport::{Delivery, Transport};
use crate::observer::Event;
use crate::ws::frame::Frame;

/// The outbox's surroundings: the transport that it writes to, and the owner that it reports to.
pub(crate) trait Link: Send + Sync + Sized + 'static {
    /// The kind of transport.
    type Transport: Transport;

    /// Returns the transport.
    fn transport(&self) -> &Self::Transport;
    /// Returns which threads write.
    fn delivery(&self) -> Delivery;
    /// Returns how long a pump may go without writing a byte.
    fn write_deadline(&self) -> Duration;
    /// Calls `pump` on a new thread, once one is free. If none is in time, it drops `pump`. Never blocks.
    fn start_pump(&self, pump: impl FnOnce() + Send + 'static) -> io::Result<()>;
    /// Shuts the transport down. Called once, for the first reason.
    fn disconnect(&self, reason: DisconnectReason);
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

/// A frame in the channel.
struct Queued {
    frame: Frame,
    /// Whether the limit counts it, until it is being written.
    is_counted: bool,
}

/// See the [module](self).
pub(crate) struct Outbox<L: Link> {
    pub(crate) link: L,
    /// Written by pushing threads and the drainer.
    backlog: Backlog,
    /// Pushing threads that find a drainer at work send to it; that drainer receives.
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
            Ok(before) => {
                let (is_close, is_counted) = (frame.is_close, before.counts());
                if !is_counted {
                    self.backlog.add_uncounted(cost);
                }
                let has_room = self.link.hold(cost, self.bytes());
                // It is counted, so it has to come, even over the limit.
                self.channel.send(Queued { frame, is_counted });
                if !has_room {
                    return Err(self.overflow());
                }
                self.link.report(Event::Queued);
                if is_close && before.is_waited_for() {
                    // Threads that wait for room will get none.
                    self.wake();
                }
                Ok(())
            }
            Err(before) if before.is_closing() || before.is_dead() => Err(PushError::Closed),
            Err(_) => Err(self.overflow()),
        }
    }

    /// Ends the connection of a slow consumer.
    fn overflow(&self) -> PushError {
        let backlog = self.bytes();
        self.kill(DisconnectReason::Overflow { backlog });
        PushError::Full(backlog)
    }

    /// Drops the frames in the channel.
    fn forget_queued(&self) {
        self.channel.drain(|queued| self.link.release(cost(&queued.frame)));
    }

    /// Ends the connection at once, from any thread; unwritten frames are lost. Only the first reason counts.
    pub(crate) fn kill(&self, reason: DisconnectReason) {
        let before = self.backlog.die();
        if !before.is_dead() {
            self.link.disconnect(reason);
            if self.link.delivery() == Delivery::Handoff {
                // Not counted, and never written: it wakes a writer that waits for the next frame.
                let frame = Frame { bytes: Bytes::new(), is_close: false };
                // No other client has to make room for it.
                self.link.hold(cost(&frame), u64::MAX);
                self.backlog.add_uncounted(cost(&frame));
                self.channel.send(Queued { frame, is_counted: false });
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
