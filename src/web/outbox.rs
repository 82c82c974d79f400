//! The client's channel, which empties itself. Any thread pushes; one at a time writes.
//!
//! ```text
//!  push ──► count it ──► was the count 0? ── yes ──► this thread is the drainer: it writes, without
//!              │                                     blocking, and hands over to a pump if the
//!              └── no: into the channel, return      socket is full
//! ```
//!
//! One atomic word, the [backlog](crate::web::backlog), counts what is on its way. Whoever takes the count
//! from 0 to 1 is the drainer, and stays it until the count is 0 again. So there is one writer per socket by
//! construction, nothing is left behind, and order is the channel's.
//!
//! Never here: a lock held while writing, a wait on the pushing thread, a frame that is half written
//! and followed by another. If the drainer cannot go on (an error, a panic, no thread for a pump), its
//! guard kills the connection.
//!
//! A frame is counted *before* it goes into the channel. Counting afterwards works too, but then the
//! thread that finds a count of 0 cannot know that the channel is empty, and would have to send each
//! frame through it. This way the drainer writes its own frame straight from its own stack.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tungstenite::Bytes;

use crate::web::backlog::Backlog;
use crate::web::backlog::OVERHEAD;
use crate::web::backlog::State;
use crate::web::observer::Event;
use crate::web::sync::Channel;
use crate::web::sync::Condvar;
use crate::web::sync::Mutex;
use crate::web::wire::Death;
use crate::web::wire::Delivery;
use crate::web::wire::Frame;
use crate::web::wire::Wire;

/// Frames and bytes of others that a pushing thread writes inline before a pump takes over. Few, since
/// the pushing thread has its own things to do (unbounded, one `send` wrote 943 frames for others).
const INLINE_FRAMES: usize = 8;
const INLINE_BYTES: usize = 64 * 1024;

/// Why a push was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    /// The backlog, in bytes; the connection has been killed.
    Full(u64),
}

/// See the [module](self).
pub(crate) struct Outbox<W> {
    pub(crate) wire: W,
    delivery: Delivery,
    /// A pump that gets rid of no byte for this long gives up.
    write_deadline: Duration,
    /// Written by pushing threads and the drainer.
    backlog: Backlog,
    /// Sent to by pushing threads that found a drainer at work, received from by that drainer.
    channel: Channel<Frame>,
    /// Guards nothing but the sleep of the one thread in [`wait`](Outbox::wait).
    sleep: Mutex<()>,
    changed: Condvar,
}

impl<W: Wire> Outbox<W> {
    /// An outbox whose drainer is the caller until it calls [`begin`](Outbox::begin): what is pushed
    /// before that waits in the channel. `limit` is the backlog, in bytes, of a slow consumer.
    pub(crate) fn new(wire: W, limit: u64, write_deadline: Duration, delivery: Delivery) -> Outbox<W> {
        Outbox {
            wire,
            delivery,
            write_deadline,
            backlog: Backlog::new(limit),
            channel: Channel::new(),
            sleep: Mutex::new(()),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.backlog.state()
    }

    /// Writes `head`, the response that every frame has to wait for, and then what has been pushed.
    pub(crate) fn begin(self: &Arc<Self>, head: Bytes) -> Result<(), Refused> {
        let drain = Drain::new(self, head, 0);
        match self.delivery {
            Delivery::Inline => drain.inline(),
            Delivery::Handoff => drain.hand_over(0),
        }
    }

    /// Accepts a frame, whole, or refuses it. Never blocks. `Ok` means that it will be written before
    /// the Close frame unless the connection dies.
    pub(crate) fn push(self: &Arc<Self>, frame: Frame) -> Result<(), Refused> {
        let cost = frame.bytes.len() as u64 + OVERHEAD;
        match self.backlog.admit(cost, frame.is_close) {
            Ok(before) if before.frames() == 0 && self.delivery == Delivery::Inline => {
                Drain::new(self, frame.bytes, cost).inline()
            }
            Ok(_) => {
                self.channel.send(frame);
                self.wire.report(Event::Queued);
                Ok(())
            }
            Err(before) if before.is_closing() || before.is_dead() => Err(Refused::Closed),
            Err(before) => {
                self.kill(Death::Overflow { backlog: before.bytes() });
                Err(Refused::Full(before.bytes()))
            }
        }
    }

    /// Blocks the client's own thread until half of its backlog is free. False if the connection died.
    pub(crate) fn wait_for_room(&self) -> bool {
        self.wait(None, |state| self.backlog.is_half_empty(state));
        !self.state().is_dead()
    }

    /// Blocks until all that was accepted is written, the connection is dead, or the deadline passes.
    pub(crate) fn wait_until_written(&self, deadline: Instant) {
        self.wait(Some(deadline), |state| state.frames() == 0);
    }

    /// One thread at a time, the client's own, waits here.
    fn wait(&self, deadline: Option<Instant>, ready: impl Fn(State) -> bool) {
        let ready = |state: State| state.is_dead() || ready(state);
        if ready(self.state()) {
            return;
        }
        self.wire.report(Event::Waits);
        let mut sleep = self.sleep.lock().expect("nothing panics under this lock");
        // The flag is set and the state read under the lock that `wake` takes: no wake-up is lost.
        while !ready(self.backlog.begin_to_wait()) {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            sleep = match left {
                Some(Duration::ZERO) => break,
                Some(left) => self.changed.wait_timeout(sleep, left).expect("as above").0,
                None => self.changed.wait(sleep).expect("as above"),
            };
        }
        self.backlog.end_to_wait();
    }

    fn wake(&self) {
        let _sleep = self.sleep.lock().expect("nothing panics under this lock");
        self.changed.notify_all();
    }

    /// Ends the connection at once, from any thread; what is not written is lost. Only the first death
    /// counts.
    pub(crate) fn kill(&self, why: Death) {
        let before = self.backlog.die();
        if !before.is_dead() {
            self.wire.kill(why);
            if self.delivery == Delivery::Handoff {
                // Not counted, and never written: it wakes a writer that waits for the next frame.
                self.channel.send(Frame { bytes: Bytes::new(), is_close: false });
            }
        }
        if before.is_waited_for() {
            self.wake();
        }
    }
}

/// The drainer's role. It ends when the count is 0; dropped before that, it kills the connection.
struct Drain<W: Wire> {
    outbox: Arc<Outbox<W>>,
    /// What is left of the frame that is being written.
    bytes: Bytes,
    cost: u64,
    /// The Close frame, while frames that were accepted before it are still on their way here.
    held: Option<Frame>,
    done: bool,
}

impl<W: Wire> Drain<W> {
    fn new(outbox: &Arc<Outbox<W>>, bytes: Bytes, cost: u64) -> Drain<W> {
        Drain { outbox: outbox.clone(), bytes, cost, held: None, done: false }
    }

    /// Writes on the pushing thread. An error means that the pusher's own frame was not accepted.
    fn inline(mut self) -> Result<(), Refused> {
        let (mut frames, mut written) = (0, 0);
        loop {
            match self.outbox.wire.send_now(&self.bytes) {
                Ok(sent) => {
                    written += sent;
                    if !self.advance(sent) {
                        continue;
                    }
                    frames += 1;
                    if self.done {
                        return Ok(());
                    }
                    if frames > INLINE_FRAMES || written > INLINE_BYTES {
                        return self.hand_over(frames);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.hand_over(frames),
                Err(_) => return accepted(frames),
            }
        }
    }

    /// The socket is full, or this thread has done enough for others.
    fn hand_over(self, frames: usize) -> Result<(), Refused> {
        let outbox = self.outbox.clone();
        outbox.wire.start_pump(Box::new(move || self.pump())).or_else(|_| accepted(frames))
    }

    /// Writes on a thread of its own, blocking.
    fn pump(mut self) {
        let mut progress = Instant::now();
        while !self.done && !self.outbox.state().is_dead() {
            match self.outbox.wire.send(&self.bytes) {
                Ok(sent) => {
                    self.advance(sent);
                    progress = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if progress.elapsed() >= self.outbox.write_deadline {
                        let backlog = self.outbox.state().bytes();
                        return self.outbox.kill(Death::Stalled { backlog });
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// `sent` bytes are out. True if the frame was complete; then the next one is here, or `done`.
    fn advance(&mut self, sent: usize) -> bool {
        if sent < self.bytes.len() {
            self.bytes = self.bytes.slice(sent..);
            return false;
        }
        self.outbox.wire.report(Event::Wrote);
        let before = self.outbox.backlog.written(self.cost);
        if before.is_waited_for() {
            self.outbox.wake();
        }
        // A writer stays until it has written the Close. Of a dead connection nobody becomes the drainer
        // any more, so what is left may stay counted.
        let stays = self.outbox.delivery == Delivery::Handoff && !before.is_closing();
        self.done = (before.frames() == 1 && !stays) || before.is_dead();
        if !self.done {
            self.take_next();
        }
        true
    }

    /// At least one frame is counted, so it is in the channel, or about to be: a blocking receive. (A
    /// writer has nothing else to do.)
    fn take_next(&mut self) {
        let channel = &self.outbox.channel;
        let mut frame = self.held.take().unwrap_or_else(|| channel.recv());
        if frame.is_close && self.outbox.state().frames() > 1 {
            // Nothing is accepted after a Close, but what other threads had accepted before it can come
            // out of the channel behind it. It was promised, so it is written first.
            self.held = Some(std::mem::replace(&mut frame, channel.recv()));
        }
        self.cost = frame.bytes.len() as u64 + OVERHEAD;
        self.bytes = frame.bytes;
    }
}

/// The connection has failed after so many frames. The first one was the pusher's own: once it is out,
/// what became of the others is not its pusher's failure.
fn accepted(frames: usize) -> Result<(), Refused> {
    if frames > 0 { Ok(()) } else { Err(Refused::Closed) }
}

impl<W: Wire> Drop for Drain<W> {
    fn drop(&mut self) {
        if !self.done {
            self.outbox.kill(Death::Failed);
        }
        if self.outbox.state().is_dead() {
            self.outbox.channel.clear();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod model;
