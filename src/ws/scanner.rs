//! [`Scanner`]: finds the ends of frames, and keeps facts that tungstenite does not report. Pure.

use crate::ws::close::is_on_the_wire;
use crate::ws::frame::MAX_CONTROL;
use crate::ws::header::{CLOSE, CONTINUATION, Header};

/// An error in a frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// The message exceeds the limit.
    MessageTooLarge,
    /// A control frame exceeds 125 bytes.
    ControlTooLarge,
}

/// Finds the ends of frames in a stream of bytes.
#[derive(Default)]
pub(crate) struct Scanner {
    max_message: u64,
    header: Header,
    /// Bytes of the payload that have not arrived.
    left: u64,
    /// Bytes of the fragmented message before this frame.
    message: u64,
    /// A Close frame's payload, unmasked.
    close: Vec<u8>,
}

impl Scanner {
    /// Starts between two frames. `max_message` is the most bytes of a message, inclusive.
    pub(crate) fn new(max_message: u64) -> Scanner {
        Scanner { max_message, ..Scanner::default() }
    }

    /// Returns how many bytes of the frame's payload have not arrived.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Returns code and reason of the peer's Close frame, if the code is valid.
    pub(crate) fn close(&self) -> Option<(u16, &str)> {
        let (code, reason) = self.close.split_first_chunk()?;
        let code = u16::from_be_bytes(*code);
        is_on_the_wire(code).then_some((code, std::str::from_utf8(reason).ok()?))
    }

    /// Returns how many of `bytes` belong to the current frame.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<usize, HeaderError> {
        let mut taken = 0;
        if self.left == 0 {
            taken = self.header.take(bytes);
            if !self.header.is_complete() {
                return Ok(taken);
            }
            self.left = self.begin()?;
        }
        let payload = (bytes.len() - taken).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if payload > 0 && self.header.opcode() == CLOSE {
            self.keep_close(&bytes[taken..taken + payload]);
        }
        self.left -= payload as u64;
        if self.left == 0 {
            self.header.clear();
        }
        Ok(taken + payload)
    }

    /// Parses the header, which is complete. Returns the length of the payload, if it is within the limits.
    fn begin(&mut self) -> Result<u64, HeaderError> {
        let (length, opcode) = (self.header.length(), self.header.opcode());
        if opcode >= CLOSE {
            return if length <= MAX_CONTROL as u64 { Ok(length) } else { Err(HeaderError::ControlTooLarge) };
        }
        let before = if opcode == CONTINUATION { self.message } else { 0 };
        let message = before.saturating_add(length);
        self.message = if self.header.is_final() { 0 } else { message };
        if message <= self.max_message { Ok(length) } else { Err(HeaderError::MessageTooLarge) }
    }

    fn keep_close(&mut self, payload: &[u8]) {
        let mask = self.header.mask();
        let at = self.close.len();
        self.close
            .extend(payload.iter().zip(mask.iter().cycle().skip(at % 4)).map(|(byte, mask)| byte ^ mask));
    }
}

#[cfg(test)]
mod tests;
