//! [`Drain`]: the role of the one thread that writes. A pushing thread or a pump has it.
//!
//! Never here: holding a lock while writing, or beginning a frame after one that failed.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Instant;

use tungstenite::Bytes;

use super::{Link, Outbox, PushError, Queued};
use crate::error::{is_timeout, uninterrupted};
use crate::metrics::DisconnectReason;
use crate::net::seal::{Delivery, Seal};
use crate::observer::Event;
use crate::ws::frame::Frame;

/// The frames and bytes of other threads that a pushing thread writes inline before a pump takes over. Few, since the
/// pushing thread has its own work (unbounded, one `send` wrote 943 frames for others).
pub(super) const INLINE_FRAMES: usize = 8;
pub(super) const INLINE_BYTES: usize = 64 * 1024;

type SealPart<L> = fn(&<L as Link>::Transport, &mut Bytes) -> io::Result<Bytes>;
type SendPart<L> = fn(&<L as Link>::Transport, &[u8]) -> io::Result<usize>;

/// The drainer's role. It ends when the count is 0, or with the connection.
pub(super) struct Drain<L: Link> {
    outbox: Arc<Outbox<L>>,
    /// The rest of the frame that is being written, and not yet sealed.
    frame: Frame,
    /// The unwritten rest of its sealed part.
    sealed: Bytes,
    cost: u64,
    /// Its share of the buffers' limit: nothing, while its own pusher writes it.
    holds: u64,
    /// The Close frame, while frames that were accepted before it have not arrived in the channel.
    held: Option<Queued>,
    done: bool,
}

impl<L: Link> Drain<L> {
    pub(super) fn new(outbox: &Arc<Outbox<L>>, frame: Frame, cost: u64) -> Drain<L> {
        Drain { outbox: outbox.clone(), frame, sealed: Bytes::new(), cost, holds: 0, held: None, done: false }
    }

    /// Writes on the pushing thread. An error means that the pusher's own frame was not accepted.
    pub(super) fn inline(mut self) -> Result<(), PushError> {
        let (mut frames, mut written) = (0, 0);
        loop {
            match uninterrupted(|| self.write(L::Transport::try_seal, L::Transport::try_send)) {
                Ok(sent) => {
                    written += sent;
                    if self.advance() {
                        frames += 1;
                        if self.done {
                            return Ok(());
                        }
                    }
                    if frames > INLINE_FRAMES || written > INLINE_BYTES {
                        return self.hand_over(frames);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.hand_over(frames),
                Err(_) => {
                    self.give_up(DisconnectReason::Failed);
                    return accepted(frames);
                }
            }
        }
    }

    /// Hands the role to a pump: the socket is full, or this thread has done enough for others.
    pub(super) fn hand_over(mut self, frames: usize) -> Result<(), PushError> {
        if self.holds == 0 {
            // From now on its own frame waits too.
            self.holds = self.cost;
            self.outbox.backlog.add_uncounted(self.cost);
            if !self.outbox.link.hold(self.cost, self.outbox.bytes()) {
                let backlog = self.outbox.bytes();
                self.give_up(DisconnectReason::Overflow);
                return if frames > 0 { Ok(()) } else { Err(PushError::Full(backlog)) };
            }
        }
        let outbox = self.outbox.clone();
        let handed = Handed(Some(self));
        match outbox.link.start_pump(move || handed.pump()) {
            Ok(()) => Ok(()),
            Err(_) => accepted(frames),
        }
    }

    /// Writes on a pump's or writer's thread, blocking.
    fn pump(mut self) {
        let mut progress = Instant::now();
        while !self.done && !self.outbox.state().is_dead() {
            match uninterrupted(|| self.write(L::Transport::seal, L::Transport::send)) {
                Ok(_) => {
                    self.advance();
                    progress = Instant::now();
                }
                Err(error) if is_timeout(&error) => {
                    if progress.elapsed() >= self.outbox.link.write_deadline() {
                        return self.give_up(DisconnectReason::Stalled);
                    }
                }
                Err(_) => return self.give_up(DisconnectReason::Failed),
            }
        }
        self.done = true;
    }

    /// Sends some of the frame. Returns how many of its sealed bytes are out.
    fn write(&mut self, seal: SealPart<L>, send: SendPart<L>) -> io::Result<usize> {
        let transport = self.outbox.link.transport();
        if self.sealed.is_empty() {
            self.sealed = seal(transport, &mut self.frame.bytes)?;
            if self.sealed.is_empty() {
                // An empty frame, and the transport adds nothing.
                return Ok(0);
            }
        }
        let sent = send(transport, &self.sealed)?;
        self.outbox.link.sent(sent);
        let _ = self.sealed.split_to(sent);
        Ok(sent)
    }

    /// Checks whether the frame is written. Returns true if it is; then the next one has arrived, or `done`.
    fn advance(&mut self) -> bool {
        if !self.sealed.is_empty() || !self.frame.bytes.is_empty() {
            return false;
        }
        let outbox = &self.outbox;
        outbox.link.report(Event::Wrote);
        if self.frame.is_close {
            let connection = Arc::downgrade(outbox);
            outbox.link.close_written(connection);
        }
        let holds = std::mem::take(&mut self.holds);
        if holds > 0 {
            outbox.link.release(holds);
            outbox.backlog.remove_uncounted(holds);
        }
        let before = outbox.backlog.written();
        // Room is made where a frame begins; this wakes threads that wait for the last one.
        if before.is_waited_for() && before.frames() == 1 {
            outbox.wake();
        }
        // A writer stays until it has written the Close. A dead connection never gets another drainer, so its remaining
        // frames may stay counted.
        let stays = outbox.link.delivery() == Delivery::Handoff && !before.is_closing();
        self.done = (before.frames() == 1 && !stays) || before.is_dead();
        if !self.done {
            self.take_next();
        }
        true
    }

    /// At least one frame is counted, so it is in the channel, or about to be: a blocking receive. (A writer has
    /// nothing else to do.)
    fn take_next(&mut self) {
        let channel = &self.outbox.channel;
        let mut queued = self.held.take().unwrap_or_else(|| channel.recv());
        if queued.frame.is_close() && self.outbox.state().frames() > 1 {
            // The outbox accepts nothing after a Close, but a frame that another thread had accepted before it can come
            // out of the channel after it. It was promised, so it is written first.
            self.held = Some(std::mem::replace(&mut queued, channel.recv()));
        }
        self.cost = queued.frame.cost();
        self.holds = self.cost;
        self.frame = queued.frame.into_frame();
        if queued.is_counted && self.outbox.backlog.begun(self.cost).is_waited_for() {
            self.outbox.wake();
        }
    }

    /// Ends the connection because no thread can continue: after part of a frame failed, nothing more is ever written.
    fn give_up(mut self, reason: DisconnectReason) {
        self.done = true;
        self.outbox.kill(reason);
    }
}

/// The role on its way to a pump. If no pump takes it, the connection ends.
struct Handed<L: Link>(Option<Drain<L>>);

impl<L: Link> Handed<L> {
    fn pump(mut self) {
        if let Some(drain) = self.0.take() {
            drain.pump();
        }
    }
}

impl<L: Link> Drop for Handed<L> {
    fn drop(&mut self) {
        if let Some(drain) = self.0.take() {
            drain.give_up(DisconnectReason::NoPump);
        }
    }
}

/// The connection has failed after `frames` frames. The first one was the pusher's own: once it is out, losing the
/// others is not its pusher's failure.
fn accepted(frames: usize) -> Result<(), PushError> {
    if frames > 0 { Ok(()) } else { Err(PushError::Closed) }
}

impl<L: Link> Drop for Drain<L> {
    fn drop(&mut self) {
        if !self.done {
            // Only a panic drops the role at this point.
            self.outbox.kill(DisconnectReason::Panicked);
        }
        if self.outbox.state().is_dead() {
            self.outbox.forget_queued();
        }
        self.outbox.link.release(self.holds + self.held.as_ref().map_or(0, |queued| queued.frame.cost()));
    }
}
