//! The transport for tungstenite, on the reading thread. Reads block, and end at the end of a frame; writes go into the
//! outbox.
//!
//! Ending at the end of a frame makes three promises cheap. tungstenite's buffer is empty between two frames, so a
//! large one can be dropped. A message over the limit fails when its header arrives. The peer's close code can be read
//! before tungstenite replaces a bad one.
//!
//! Never here: a second thread, a server's read while the client's backlog is over half its limit.

use std::io::{self, ErrorKind, Read, Write};

use tungstenite::Bytes;

use crate::connection::connection::Connection;
use crate::connection::received::Received;
use crate::error::Error;
use crate::net::buffers::{Held, HoldError};
use crate::ws::frame::{self, Frame};
use crate::ws::header::CLOSE;
#[cfg(feature = "deflate")]
use crate::ws::inflate::{InflateError, Inflater, Taken};
use crate::ws::mask;
use crate::ws::scanner::{HeaderError, Scanner};

/// If more than this remains of a frame, the pieces are larger than [`RECEIVE`].
pub(crate) const LARGE: u64 = 16 * 1024;
/// Why a read failed, other than by the connection's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFailure {
    /// A message or a control frame is too large.
    Header(HeaderError),
    /// The buffers are full, so the message cannot grow.
    NoRoom,
    /// Other clients need the message's room.
    GaveWay,
    /// A compressed message cannot be read.
    #[cfg(feature = "deflate")]
    Inflate(InflateError),
    /// The peer showed no sign of life after a Ping.
    PingTimeout,
    /// The client has exceeded its rate.
    TooFast,
}

/// See the [module](self). Lives for one read of tungstenite, with what the [`Reader`](super::reader::Reader) lends it.
pub(crate) struct FrameStream<'a> {
    pub(crate) received: &'a mut Received,
    pub(crate) frames: &'a mut FrameState,
}

/// The state between two reads: the frame and the message that are being received.
pub(crate) struct FrameState {
    scanner: Scanner,
    /// Runs before the scanner if compression was negotiated.
    #[cfg(feature = "deflate")]
    inflater: Option<Box<Inflater>>,
    /// Bytes of the incomplete message, or of the one not handled yet.
    message: u64,
    held: Held,
    failure: Option<ReadFailure>,
}

impl FrameState {
    pub(crate) fn new(connection: &Connection) -> FrameState {
        let max_message = connection.link().max_message();
        FrameState {
            scanner: Scanner::new(max_message as u64),
            #[cfg(feature = "deflate")]
            inflater: connection
                .is_compressed()
                .then(|| Box::new(Inflater::new(max_message, !connection.link().is_client()))),
            message: 0,
            held: Held::new(&connection.state().buffers),
            failure: None,
        }
    }

    /// Returns code and reason of the peer's Close frame, if it had a valid code.
    pub(crate) fn close(&self) -> Option<(u16, &str)> {
        self.scanner.close()
    }

    /// Returns why the last read failed; `None` after the end of the connection.
    pub(crate) fn failure(&self, received: &Received) -> Option<ReadFailure> {
        let of_receiving = || match received {
            received if received.is_silent() => Some(ReadFailure::PingTimeout),
            received if received.is_too_fast() => Some(ReadFailure::TooFast),
            received if received.connection().link().has_given_way() => Some(ReadFailure::GaveWay),
            _ => None,
        };
        self.failure.or_else(of_receiving)
    }

    /// Called when a message is complete: it no longer has to give way. False if it already has to.
    #[inline]
    pub(crate) fn message_is_whole(&mut self) -> bool {
        self.held.settle()
    }

    /// Called when a message has been handled.
    pub(crate) fn message_handled(&mut self) {
        self.message = 0;
        self.held.clear();
    }

    /// Counts bytes that it returns, and waiting bytes of a compressed message.
    fn count(&mut self, bytes: usize, connection: &Connection) -> io::Result<()> {
        self.message += bytes as u64;
        let kept = self.message;
        #[cfg(feature = "deflate")]
        let kept = kept + self.inflater.as_ref().map_or(0, |inflater| inflater.waiting());
        // A message that fits into a read's buffer need not be counted.
        if kept <= LARGE {
            return Ok(());
        }
        self.held.grow_to(kept, connection.outbox()).map_err(|error| {
            self.failure = Some(match error {
                HoldError::Full => ReadFailure::NoRoom,
                HoldError::GiveWay => ReadFailure::GaveWay,
            });
            ErrorKind::OutOfMemory.into()
        })
    }
}

impl FrameStream<'_> {
    /// [`read`](Read::read) with compression. Not inlined: a client without it would pay for its stack frame.
    #[cfg(feature = "deflate")]
    #[inline(never)]
    fn read_inflated(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let frames = &mut *self.frames;
        loop {
            let inflater = frames.inflater.as_mut().expect("its caller has looked");
            let failure = &mut frames.failure;
            let mut fail = |error| {
                *failure = Some(ReadFailure::Inflate(error));
                io::Error::from(ErrorKind::InvalidData)
            };
            let ready = inflater.ready().map_err(&mut fail)?;
            if !ready.is_empty() {
                let offered = &ready[..ready.len().min(into.len())];
                let taken = scan(&mut frames.scanner, &mut frames.failure, offered)?;
                into[..taken].copy_from_slice(&offered[..taken]);
                inflater.handed_out(taken);
                frames.count(taken, self.received.connection())?;
                return Ok(taken);
            }
            let is_large = inflater.left() > LARGE;
            let received = self.received.bytes(is_large)?;
            if received.is_empty() {
                return Ok(0);
            }
            match inflater.take(received, into.len()).map_err(fail)? {
                Taken::Plain(taken) => {
                    let taken = scan(&mut frames.scanner, &mut frames.failure, &received[..taken])?;
                    into[..taken].copy_from_slice(&received[..taken]);
                    self.received.handed_out(taken);
                    frames.count(taken, self.received.connection())?;
                    return Ok(taken);
                }
                Taken::Kept(taken) => {
                    self.received.handed_out(taken);
                    frames.count(0, self.received.connection())?;
                }
            }
        }
    }
}

/// Scans, and notes an error.
fn scan(scanner: &mut Scanner, failure: &mut Option<ReadFailure>, bytes: &[u8]) -> io::Result<usize> {
    scanner.scan(bytes).map_err(|error| {
        *failure = Some(ReadFailure::Header(error));
        ErrorKind::InvalidData.into()
    })
}

impl Read for FrameStream<'_> {
    /// An error ends the connection; [`failure`](FrameState::failure) says why.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "deflate")]
        if self.frames.inflater.is_some() {
            return self.read_inflated(into);
        }
        let frames = &mut *self.frames;
        let received = self.received.bytes(frames.scanner.left() > LARGE)?;
        let offered = &received[..received.len().min(into.len())];
        let taken = scan(&mut frames.scanner, &mut frames.failure, offered)?;
        into[..taken].copy_from_slice(&offered[..taken]);
        self.received.handed_out(taken);
        frames.count(taken, self.received.connection())?;
        Ok(taken)
    }
}

impl Write for FrameStream<'_> {
    /// tungstenite writes one whole frame per call: its own pongs and its reply to a Close.
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        // At the client's end, a push masks it again.
        let plain = if self.received.connection().link().is_client() {
            &mask::unmasked(written)[..]
        } else {
            written
        };
        let is_close = plain.first().is_some_and(|first| first & 0x0f == CLOSE);
        // Answers a Close with only a code, as Tornado does; tungstenite adds a reason, and does not know all of IANA's
        // codes.
        let frame = match (self.frames.close(), plain) {
            (Some((code, _)), _) if is_close => frame::close(Some(code), None).map_err(io::Error::other)?,
            (None, [first, 3..=125, code @ .., _]) if is_close => {
                Frame { bytes: [&[*first, 2], &code[..2]].concat().into(), is_close }
            }
            _ => Frame { bytes: Bytes::copy_from_slice(plain), is_close },
        };
        match self.received.answer(frame) {
            // Nothing may follow our own Close, least of all a second one.
            Ok(()) | Err(Error::Closed) => Ok(written.len()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
