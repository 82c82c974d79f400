//! The transport as tungstenite sees it, on `client-N`: reads block, and end at the end of a frame; writes
//! go into the outbox.
//!
//! Ending at the end of a frame is what makes three promises cheap. tungstenite's buffer is empty
//! between two frames, so a large one can be thrown away; a message over the limit is rejected when
//! its header is here; the peer's close code is seen before tungstenite replaces a bad one.
//!
//! Never here: a second thread, a read while the client's backlog is over half its limit.

use std::io::{self, ErrorKind, Read, Write};
use std::thread;

use tungstenite::Bytes;

use crate::error::Error;
use crate::net::buffers::Held;
use crate::net::transport::Transport;
use crate::observer::Event;
use crate::server::connection::Connection;
use crate::server::keepalive::Keepalive;
use crate::ws::frame::{self, Frame};
use crate::ws::header::CLOSE;
#[cfg(feature = "deflate")]
use crate::ws::inflate::{InflateError, Inflater, Taken};
use crate::ws::scanner::{HeaderError, Scanner};

/// Bytes that `client-N` receives at a time.
const RECEIVE: usize = 1024;
/// A frame with more than this still to come is received in larger pieces than [`RECEIVE`].
pub(crate) const LARGE: u64 = 16 * 1024;
/// The size of those pieces.
const LARGE_RECEIVE: usize = 64 * 1024;

/// Why a read failed that did not end with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFailure {
    /// A message or a control frame is too large.
    Header(HeaderError),
    /// There is no room for more of the message.
    NoRoom,
    /// A compressed message cannot be read.
    #[cfg(feature = "deflate")]
    Inflate(InflateError),
    /// The peer showed no sign of life after a Ping.
    PingTimeout,
}

/// See the [module](self).
pub(crate) struct FrameStream<'a> {
    connection: &'a Connection,
    scanner: Scanner,
    /// Stands before the scanner if compression was agreed on.
    #[cfg(feature = "deflate")]
    inflater: Option<Box<Inflater>>,
    /// `start..end` is received and not yet handed out. As long as what came with the head, then
    /// [`RECEIVE`], or [`LARGE_RECEIVE`] while a large frame comes in. On the heap, where it costs what
    /// it is; on the stack it would cost whole pages.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the message that is not whole, or not handled yet.
    message: u64,
    held: Held,
    keepalive: Keepalive,
    failure: Option<ReadFailure>,
}

impl<'a> FrameStream<'a> {
    /// `early` came with the head of the request, and is read first.
    pub(crate) fn new(connection: &'a Connection, early: Vec<u8>) -> FrameStream<'a> {
        let max_message = connection.state().settings.max_message;
        let scanner = Scanner::new(max_message as u64);
        let end = early.len();
        FrameStream {
            connection,
            scanner,
            #[cfg(feature = "deflate")]
            inflater: connection.is_compressed().then(|| Box::new(Inflater::new(max_message))),
            buffer: early,
            start: 0,
            end,
            message: 0,
            held: Held::new(&connection.state().buffers),
            keepalive: Keepalive::default(),
            failure: None,
        }
    }

    /// Returns code and reason of the peer's Close frame, if it had a code that may be sent.
    pub(crate) fn close(&self) -> Option<(u16, &str)> {
        self.scanner.close()
    }

    /// Returns why the last read failed; `None` if that was the end of the connection.
    pub(crate) fn failure(&self) -> Option<ReadFailure> {
        self.failure
    }

    /// Called when a message has been handled.
    pub(crate) fn message_handled(&mut self) {
        self.message = 0;
        self.held.clear();
    }

    /// Takes a Pong that answers the keepalive's Ping. False for any other, which is the handler's.
    pub(crate) fn take_pong(&mut self, payload: &[u8]) -> bool {
        self.keepalive.take_pong(self.connection, payload)
    }

    /// Returns how many bytes of the frame's payload are still to come.
    fn left(&self) -> u64 {
        #[cfg(feature = "deflate")]
        if let Some(inflater) = &self.inflater {
            return inflater.left();
        }
        self.scanner.left()
    }

    /// Counts bytes that are handed out, and those of a compressed message that wait.
    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.message += bytes as u64;
        let kept = self.message;
        #[cfg(feature = "deflate")]
        let kept = kept + self.inflater.as_ref().map_or(0, |inflater| inflater.waiting());
        // What fits into a read's buffer is not worth counting.
        if kept > LARGE && !self.held.grow_to(kept) {
            self.failure = Some(ReadFailure::NoRoom);
            return Err(ErrorKind::OutOfMemory.into());
        }
        Ok(())
    }

    /// [`read`](Read::read) where messages may be compressed.
    #[cfg(feature = "deflate")]
    fn read_inflated(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let inflater = self.inflater.as_mut().expect("its caller has looked");
            let failure = &mut self.failure;
            let mut fail = |error| {
                *failure = Some(ReadFailure::Inflate(error));
                io::Error::from(ErrorKind::InvalidData)
            };
            let ready = inflater.ready().map_err(&mut fail)?;
            if !ready.is_empty() {
                let offered = &ready[..ready.len().min(into.len())];
                let taken = scan(&mut self.scanner, &mut self.failure, offered)?;
                into[..taken].copy_from_slice(&offered[..taken]);
                inflater.handed_out(taken);
                self.count(taken)?;
                return Ok(taken);
            }
            if self.start == self.end {
                self.receive()?;
                if self.end == 0 {
                    return Ok(0);
                }
                continue;
            }
            let received = &self.buffer[self.start..self.end];
            match inflater.take(received, into.len()).map_err(fail)? {
                Taken::Plain(taken) => {
                    let taken = scan(&mut self.scanner, &mut self.failure, &received[..taken])?;
                    into[..taken].copy_from_slice(&received[..taken]);
                    self.start += taken;
                    self.count(taken)?;
                    return Ok(taken);
                }
                Taken::Kept(taken) => {
                    self.start += taken;
                    self.count(0)?;
                }
            }
        }
    }

    /// Blocks until there are bytes, or the end of them.
    fn receive(&mut self) -> io::Result<()> {
        // What it reads can make it write: a client that does not take its answers is not asked again.
        if !self.connection.outbox().wait_to_read() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let length = if self.left() > LARGE { LARGE_RECEIVE } else { RECEIVE };
        if self.buffer.len() != length {
            self.buffer = vec![0; length];
        }
        if self.end > 0 {
            // After a message, not at first. While others run, the next one may come; where clients are busy,
            // that saves this thread from going to sleep and being woken for each.
            thread::yield_now();
        }
        self.connection.report(Event::Reads);
        let received = loop {
            match self.connection.link().transport.recv(&mut self.buffer) {
                Ok(received) => break received,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The read timeout is the ping interval: the client has been silent for that long.
                Err(error) if is_timeout(&error) && self.keepalive.is_alive(self.connection) => {}
                Err(error) => {
                    if is_timeout(&error) {
                        self.failure = Some(ReadFailure::PingTimeout);
                    }
                    if error.kind() == ErrorKind::InvalidData {
                        self.connection.push_nothing();
                    }
                    return Err(error);
                }
            }
        };
        self.connection.report(Event::Wakes);
        self.keepalive.heard(self.connection)?;
        (self.start, self.end) = (0, received);
        Ok(())
    }
}

/// Scans, and notes what is wrong.
fn scan(scanner: &mut Scanner, failure: &mut Option<ReadFailure>, bytes: &[u8]) -> io::Result<usize> {
    scanner.scan(bytes).map_err(|error| {
        *failure = Some(ReadFailure::Header(error));
        ErrorKind::InvalidData.into()
    })
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl Read for FrameStream<'_> {
    /// An error ends the connection; [`failure`](FrameStream::failure) says why.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "deflate")]
        if self.inflater.is_some() {
            return self.read_inflated(into);
        }
        if self.start == self.end {
            self.receive()?;
        }
        let received = &self.buffer[self.start..self.end];
        let offered = &received[..received.len().min(into.len())];
        let taken = scan(&mut self.scanner, &mut self.failure, offered)?;
        into[..taken].copy_from_slice(&offered[..taken]);
        self.start += taken;
        self.count(taken)?;
        Ok(taken)
    }
}

impl Write for FrameStream<'_> {
    /// tungstenite writes whole frames, one at a time: its own pongs and its reply to a Close.
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        let is_close = written.first().is_some_and(|first| first & 0x0f == CLOSE);
        // A Close is answered with a code alone, as Tornado does; tungstenite adds a reason, and does not know
        // all of IANA's codes.
        let frame = match (self.close(), written) {
            (Some((code, _)), _) if is_close => frame::close(Some(code), None).map_err(io::Error::other)?,
            (None, [first, 3..=125, code @ .., _]) if is_close => {
                Frame { bytes: [&[*first, 2], &code[..2]].concat().into(), is_close }
            }
            _ => Frame { bytes: Bytes::copy_from_slice(written), is_close },
        };
        match self.connection.push(frame) {
            // After a Close of ours there is nothing more to say, a second Close least of all.
            Ok(()) | Err(Error::Closed) => Ok(written.len()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
