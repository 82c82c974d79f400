//! [`Scanner`]: finds where frames end, and keeps what tungstenite does not tell. Pure.

use crate::ws::frame::{MAX_CONTROL, may_be_sent};

/// A frame's header (RFC 6455, section 5.2): two bytes, a length of up to eight, a mask of four.
const MAX_HEADER: usize = 14;
/// Opcodes; those of control frames begin with Close.
const CONTINUATION: u8 = 0;
pub(crate) const CLOSE: u8 = 8;

/// What is wrong with a frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// The message is over the limit.
    MessageTooLarge,
    /// A control frame is over 125 bytes.
    ControlTooLarge,
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
    /// A Close frame's payload, unmasked.
    close: Vec<u8>,
}

impl Scanner {
    /// Starts between two frames. `max_message` is the most bytes of a message, inclusive.
    pub(crate) fn new(max_message: u64) -> Scanner {
        Scanner { max_message, ..Scanner::default() }
    }

    /// Returns how many bytes of the frame's payload are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Returns code and reason of the peer's Close frame, if it had a code that may be sent.
    pub(crate) fn close(&self) -> Option<(u16, &str)> {
        let (code, reason) = self.close.split_first_chunk()?;
        let code = u16::from_be_bytes(*code);
        may_be_sent(code).then_some((code, std::str::from_utf8(reason).ok()?))
    }

    /// Returns how many of `bytes` belong to the frame at hand.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<usize, HeaderError> {
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
            self.keep_close(&bytes[taken..taken + payload]);
        }
        self.left -= payload as u64;
        if self.left == 0 && payload > 0 {
            self.have = 0;
        }
        Ok(taken + payload)
    }

    /// Returns the bytes of this header, as far as they are known.
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

    /// Reads the header, which is complete. Returns the length of the payload, if that stays within the limits.
    fn begin(&mut self) -> Result<u64, HeaderError> {
        let length = match self.header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => u64::from_be_bytes(self.header[2..10].try_into().expect("eight bytes")),
            length => u64::from(length),
        };
        let (is_final, opcode) = (self.header[0] & 0x80 != 0, self.header[0] & 0x0f);
        if opcode >= CLOSE {
            return if length <= MAX_CONTROL as u64 { Ok(length) } else { Err(HeaderError::ControlTooLarge) };
        }
        let before = if opcode == CONTINUATION { self.message } else { 0 };
        let message = before.saturating_add(length);
        self.message = if is_final { 0 } else { message };
        if message <= self.max_message { Ok(length) } else { Err(HeaderError::MessageTooLarge) }
    }

    fn keep_close(&mut self, payload: &[u8]) {
        let mask = if self.is_masked() { &self.header[self.have - 4..self.have] } else { &[0; 4][..] };
        let at = self.close.len();
        self.close
            .extend(payload.iter().zip(mask.iter().cycle().skip(at % 4)).map(|(byte, mask)| byte ^ mask));
    }
}

#[cfg(test)]
mod tests;
