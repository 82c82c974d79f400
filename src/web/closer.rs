//! The `closer` thread: disconnects peers that do not answer a Close frame in time.
//!
//! `client-N` cannot do it, since it is blocked in `read` when another thread calls `close`. Blocks in
//! a channel; never touches a handler.

use crossbeam_channel::Receiver;
use crossbeam_channel::RecvTimeoutError;

use crate::web::socket::Unanswered;
use crate::web::wire::Death;

/// Runs until the server drops the other end of `stop`. Every deadline lies equally far ahead when it
/// is sent, so they come in their order, and one sleep at a time is enough.
pub(crate) fn run(unanswered: Receiver<Unanswered>, stop: Receiver<()>) {
    loop {
        let next = crossbeam_channel::select! {
            recv(unanswered) -> next => next,
            recv(stop) -> _ => return,
        };
        let Ok(Unanswered { deadline, outbox }) = next else { return };
        if stop.recv_deadline(deadline) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        if let Some(outbox) = outbox.upgrade() {
            // Answered, its thread has ended it already, and this changes nothing.
            outbox.kill(Death::Ended);
        }
    }
}
