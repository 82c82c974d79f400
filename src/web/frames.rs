//! The socket as tungstenite sees it, on `client-N`: reads block, and end at the end of a frame; writes
//! go into the outbox.
//!
//! Ending at the end of a frame is what makes three promises cheap. tungstenite's buffer is empty
//! between two frames, so a large one can be thrown away; a message over the limit is refused when
//! its header is here; the peer's close code is seen before tungstenite replaces a bad one.
//!
//! Never here: a second thread, a read while the client's backlog is over half its limit.

use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::thread;
use std::time::Duration;

use tungstenite::Bytes;

use crate::web::connection::Connection;
use crate::web::error::Error;
use crate::web::message::MAX_CONTROL;
use crate::web::observer::Event;
use crate::web::wire::Frame;

/// Bytes that `client-N` receives at a time.
const RECEIVE: usize = 1024;
/// A frame with more than this still to come is received in larger pieces than [`RECEIVE`].
pub(crate) const LARGE: u64 = 16 * 1024;
/// The size of those pieces.
const LARGE_RECEIVE: usize = 64 * 1024;
/// A frame's header (RFC 6455, section 5.2): two bytes, a length of up to eight, a mask of four.
const MAX_HEADER: usize = 14;
/// Opcodes; those of control frames begin with Close.
const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;

/// How a client keeps its connection, see [`Application::ping_interval`](crate::Application::ping_interval).
#[derive(Clone, Copy)]
pub(crate) struct Keepalive {
    pub(crate) interval: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
}

/// See the [module](self).
pub(crate) struct FrameStream<'a> {
    connection: &'a Connection,
    keepalive: Keepalive,
    scanner: Scanner,
    /// `start..end` is received and not yet handed out. As long as what came with the head, then
    /// [`RECEIVE`], or [`LARGE_RECEIVE`] while a large frame comes in. On the heap, where it costs what
    /// it is; on the stack it would cost whole pages.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<'a> FrameStream<'a> {
    /// `early` came with the head of the request, and is read first.
    pub(crate) fn new(
        connection: &'a Connection,
        early: Vec<u8>,
        max_message: usize,
        keepalive: Keepalive,
    ) -> FrameStream<'a> {
        let scanner = Scanner { max_message: max_message as u64, ..Scanner::default() };
        let end = early.len();
        FrameStream { connection, keepalive, scanner, buffer: early, start: 0, end }
    }

    /// The code in the peer's Close frame, as it was sent.
    pub(crate) fn close_code(&self) -> Option<u16> {
        (self.scanner.close.len() == 2)
            .then(|| u16::from_be_bytes([self.scanner.close[0], self.scanner.close[1]]))
    }

    /// Blocks until there are bytes, or the end of them.
    fn receive(&mut self) -> io::Result<()> {
        // What it reads can make it write: a client that does not take its answers is not asked again.
        if !self.connection.outbox().wait_for_room() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let length = if self.scanner.left > LARGE { LARGE_RECEIVE } else { RECEIVE };
        if self.buffer.len() != length {
            self.buffer = vec![0; length];
        }
        if self.end > 0 {
            // After a message, not at first. While others run, the next one may come; where clients are busy,
            // that saves this thread from going to sleep and being woken for each.
            thread::yield_now();
        }
        let mut pinged = false;
        self.connection.report(Event::Reads);
        let received = loop {
            match (&self.connection.socket().stream).read(&mut self.buffer) {
                Ok(received) => break received,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The read timeout is the ping interval: the client has been silent for that long.
                Err(error) if is_timeout(&error) && !pinged => {
                    pinged = true;
                    self.set_timeout(self.keepalive.timeout)?;
                    // Closing already, it needs no ping, but must still answer in time.
                    let _ = self.connection.ping(b"");
                }
                Err(error) if is_timeout(&error) => return Err(ErrorKind::TimedOut.into()),
                Err(error) => return Err(error),
            }
        };
        self.connection.report(Event::Wakes);
        if pinged {
            self.set_timeout(self.keepalive.interval)?;
        }
        (self.start, self.end) = (0, received);
        Ok(())
    }

    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        if self.keepalive.timeout == self.keepalive.interval {
            return Ok(());
        }
        self.connection.socket().stream.set_read_timeout(timeout)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl Read for FrameStream<'_> {
    /// Errors: `FileTooLarge` for a message over the limit, `InvalidData` for a control frame over its
    /// own, `TimedOut` for a peer that did not answer a ping, anything else for a connection that is gone.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end {
            self.receive()?;
        }
        let received = &self.buffer[self.start..self.end];
        let offered = &received[..received.len().min(into.len())];
        let taken = self.scanner.scan(offered)?;
        into[..taken].copy_from_slice(&offered[..taken]);
        self.start += taken;
        Ok(taken)
    }
}

impl Write for FrameStream<'_> {
    /// tungstenite writes whole frames, one at a time: its own pongs and its reply to a Close.
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        let is_close = frame.first().is_some_and(|first| first & 0x0f == CLOSE);
        // Tornado answers a Close with its code, tungstenite with its reason too.
        let bytes = match frame {
            [first, 3..=125, code @ .., _] if is_close => [&[*first, 2], &code[..2]].concat().into(),
            _ => Bytes::copy_from_slice(frame),
        };
        match self.connection.push(Frame { bytes, is_close }) {
            // After a Close of ours there is nothing more to say, a second Close least of all.
            Ok(()) | Err(Error::Closed) => Ok(frame.len()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Finds the ends of frames in a stream of bytes.
#[derive(Default)]
pub(crate) struct Scanner {
    max_message: u64,
    header: [u8; MAX_HEADER],
    /// Bytes of the header that are here; 0 between two frames.
    have: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
    /// Bytes of the message in fragments before this frame.
    message: u64,
    /// The first two bytes of a Close frame's payload.
    close: Vec<u8>,
}

impl Scanner {
    /// How many of `bytes` belong to the frame at hand. The error is for its header, see
    /// [`FrameStream::read`].
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let mut taken = 0;
        while self.left == 0 && taken < bytes.len() {
            self.header[self.have] = bytes[taken];
            self.have += 1;
            taken += 1;
            if self.have == self.header_length() {
                self.left = self.begin()?;
                if self.left == 0 {
                    self.have = 0;
                    return Ok(taken);
                }
            }
        }
        let payload = (bytes.len() - taken).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if payload > 0 && self.header[0] & 0x0f == CLOSE {
            self.keep_close_code(&bytes[taken..taken + payload]);
        }
        self.left -= payload as u64;
        if self.left == 0 && payload > 0 {
            self.have = 0;
        }
        Ok(taken + payload)
    }

    /// Bytes of this header, as far as they are known.
    fn header_length(&self) -> usize {
        let length = match self.header[1] & 0x7f {
            _ if self.have < 2 => return 2,
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.is_masked() { 4 } else { 0 }
    }

    fn is_masked(&self) -> bool {
        self.header[1] & 0x80 != 0
    }

    /// The header is complete: the length of the payload, if that stays within the limits.
    fn begin(&mut self) -> Result<u64, ErrorKind> {
        let length = match self.header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => u64::from_be_bytes(self.header[2..10].try_into().expect("eight bytes")),
            length => u64::from(length),
        };
        let (is_final, opcode) = (self.header[0] & 0x80 != 0, self.header[0] & 0x0f);
        if opcode >= CLOSE {
            return if length <= MAX_CONTROL as u64 { Ok(length) } else { Err(ErrorKind::InvalidData) };
        }
        let before = if opcode == CONTINUATION { self.message } else { 0 };
        let message = before.saturating_add(length);
        self.message = if is_final { 0 } else { message };
        if message <= self.max_message { Ok(length) } else { Err(ErrorKind::FileTooLarge) }
    }

    fn keep_close_code(&mut self, payload: &[u8]) {
        let mask: [u8; 4] = match self.is_masked() {
            true => self.header[self.have - 4..self.have].try_into().expect("four bytes"),
            false => [0; 4],
        };
        for byte in payload.iter().take(2 - self.close.len()) {
            self.close.push(byte ^ mask[self.close.len()]);
        }
    }
}

#[cfg(test)]
mod tests;
