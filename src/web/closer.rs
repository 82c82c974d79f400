//! The `closer` thread: disconnects peers that do not answer a Close frame in time, and lets those who were
//! refused read why.
//!
//! `client-N` cannot do the first, since it is blocked in `read` when another thread calls `close`; the
//! second has no thread. Blocks in a channel; never touches a handler.

use std::io::Read;
use std::net::TcpStream;

use crossbeam_channel::Receiver;
use crossbeam_channel::RecvTimeoutError;

use crate::web::socket::Leaving;
use crate::web::socket::Peer;
use crate::web::wire::Death;

/// Runs until the server drops the other end of `stop`. Every deadline lies equally far ahead when it
/// is sent, so they come in their order, and one sleep at a time is enough.
pub(crate) fn run(leaving: Receiver<Leaving>, stop: Receiver<()>) {
    loop {
        let next = crossbeam_channel::select! {
            recv(leaving) -> next => next,
            recv(stop) -> _ => return,
        };
        let Ok(Leaving { deadline, peer }) = next else { return };
        if stop.recv_deadline(deadline) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        match peer {
            // Answered, its thread has ended it already, and this changes nothing.
            Peer::Closing(outbox) => drop(outbox.upgrade().map(|outbox| outbox.kill(Death::Ended))),
            Peer::Refused(stream) => drop(drain(&stream)),
        }
    }
}

/// Reads what is here already, up to a request's length, so that closing the socket resets nothing; tells
/// whether there was any. `stream` does not block.
pub(crate) fn drain(mut stream: &TcpStream) -> bool {
    let mut bytes = [0; 1024];
    let mut reads = (0..16).map(|_| stream.read(&mut bytes).unwrap_or(0)).take_while(|length| *length > 0);
    let any = reads.next().is_some();
    reads.for_each(drop);
    any
}
