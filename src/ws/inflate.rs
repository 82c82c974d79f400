//! [`Inflater`]: turns compressed messages into uncompressed frames, which tungstenite then reads, so that its own
//! rules for text, sizes and fragments apply. Runs on `client-N`, between the socket and the scanner.
//!
//! Never here: waiting for missing bytes, or a state that belongs to a connection.

use crate::ws::header::{CLOSE, CONTINUATION, FIN, Header};
use crate::ws::inflate::states::{CHUNK, Lent};

mod states;

/// Bytes of an incomplete message that are inflated together.
const PART: usize = 16 * 1024;
const RESERVED: u8 = 0x70;
/// Set in the first frame of a compressed message.
pub(crate) const RSV1: u8 = 0x40;

/// Why the inflater ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// A frame that is not allowed within a compressed message.
    Protocol,
    /// The compressed bytes alone exceed the limit.
    TooLarge,
    /// The data are not valid, or do not end where a message may end.
    Data,
}

/// The result of taking some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Bytes of a frame that tungstenite reads unchanged.
    Plain(usize),
    /// Bytes that the inflater keeps, for a compressed message.
    Kept(usize),
}

/// See the [module](self). One for each connection that may send compressed messages.
pub(crate) struct Inflater {
    /// The most compressed bytes of a message.
    limit: u64,
    /// Whether frames are masked: those of a client are, and so are the frames that the inflater makes of them.
    is_masked: bool,
    header: Header,
    /// Bytes of the frame's payload that have not arrived.
    left: u64,
    /// Whether the frame is part of a compressed message.
    is_compressed: bool,
    /// The compressed message that is not yet handed out completely. An idle client has none.
    message: Option<Box<Compressed>>,
}

/// A compressed message.
struct Compressed {
    /// The first byte of the next frame for tungstenite: the message's opcode, then that of a continuation.
    first: u8,
    /// Bytes of it that have arrived.
    length: u64,
    /// The waiting bytes, unmasked, after the first `used` ones.
    input: Vec<u8>,
    used: usize,
    /// Whether it is complete.
    is_whole: bool,
    /// Whether the inflater may have more output, though no more input comes.
    is_full: bool,
    state: Option<Lent>,
}

impl Inflater {
    /// Starts between two frames. `max_message` is the most bytes of a message, inclusive.
    pub(crate) fn new(max_message: usize, is_masked: bool) -> Inflater {
        // Incompressible data grow a little; a message that is far larger exceeds the limit.
        let max = max_message as u64;
        let limit = max.saturating_add(max / 16 + 1024);
        Inflater { limit, is_masked, header: Header::default(), left: 0, is_compressed: false, message: None }
    }

    /// Makes the inflaters' shared part, once for the process: 1 MiB. Call it before the first inflater exists, on a
    /// thread with a large stack.
    pub(crate) fn prepare() {
        Lent::fill();
    }

    /// Returns how many bytes of the frame's payload have not arrived.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Returns how many bytes of an incomplete message wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.message.as_ref().map_or(0, |message| (message.input.len() - message.used) as u64)
    }

    /// Takes bytes of the current frame, no further than its end, and at most `room` of a frame that stays unchanged.
    /// `bytes` must not be empty, and all [ready](Inflater::ready) bytes must have been handed out.
    ///
    /// Not inlined, like the next two: an idle client's stack has no room for it.
    #[inline(never)]
    pub(crate) fn take(&mut self, bytes: &[u8], room: usize) -> Result<Taken, InflateError> {
        if self.header.is_empty() {
            self.is_compressed = self.begins_compressed(bytes[0])?;
        }
        let bytes = if self.is_compressed { bytes } else { &bytes[..bytes.len().min(room)] };
        let mut taken = 0;
        if self.left == 0 {
            taken = self.header.take(bytes);
            if self.header.is_complete() {
                self.begin()?;
            }
        }
        let payload = (bytes.len() - taken).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let is_complete = self.header.is_complete();
        if let Some(message) = self.message.as_mut().filter(|_| self.is_compressed && is_complete) {
            let (mask, at) = (self.header.mask(), self.header.length() - self.left);
            let mask = mask.iter().cycle().skip((at % 4) as usize);
            message
                .input
                .extend(bytes[taken..taken + payload].iter().zip(mask).map(|(byte, mask)| byte ^ mask));
            if self.left == payload as u64 && self.header.is_final() {
                message.is_whole = true;
            }
        }
        self.left -= payload as u64;
        if is_complete && self.left == 0 {
            self.header.clear();
        }
        let taken = taken + payload;
        Ok(if self.is_compressed { Taken::Kept(taken) } else { Taken::Plain(taken) })
    }

    /// Returns bytes that are ready for tungstenite: at most the rest of one frame; nothing if it needs more input.
    #[inline(never)]
    pub(crate) fn ready(&mut self) -> Result<&[u8], InflateError> {
        match &mut self.message {
            Some(message) => message.ready(self.is_masked),
            None => Ok(&[]),
        }
    }

    /// Removes bytes that were ready. At the end of a message its state is free for another one.
    #[inline(never)]
    pub(crate) fn handed_out(&mut self, bytes: usize) {
        let Some(message) = &mut self.message else { return };
        if let Some(state) = message.state.as_mut().and_then(|lent| lent.state.as_mut()) {
            state.ready.start += bytes;
            if state.ready.is_empty() && message.first == FIN {
                self.message = None;
            }
        }
    }

    /// Returns whether the frame that begins with this byte is part of a compressed message. Errors outside of one are
    /// for tungstenite to find.
    fn begins_compressed(&mut self, first: u8) -> Result<bool, InflateError> {
        let opcode = first & 0x0f;
        match self.message {
            _ if opcode >= CLOSE => Ok(false),
            Some(_) if first & !FIN == CONTINUATION => Ok(true),
            Some(_) => Err(InflateError::Protocol),
            None if first & RESERVED == RSV1 && matches!(opcode, 1 | 2) => {
                self.message = Some(Box::new(Compressed::new(opcode)));
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Parses the header, which is complete.
    fn begin(&mut self) -> Result<(), InflateError> {
        self.left = self.header.length();
        let Some(message) = self.message.as_mut().filter(|_| self.is_compressed) else { return Ok(()) };
        if self.header.is_masked() != self.is_masked {
            return Err(InflateError::Protocol);
        }
        message.length = message.length.saturating_add(self.left);
        if message.length > self.limit { Err(InflateError::TooLarge) } else { Ok(()) }
    }
}

impl Compressed {
    /// Starts without bytes.
    fn new(opcode: u8) -> Compressed {
        let (input, used, is_whole, is_full) = (Vec::new(), 0, false, false);
        Compressed { first: opcode, length: 0, input, used, is_whole, is_full, state: None }
    }

    fn ready(&mut self, is_masked: bool) -> Result<&[u8], InflateError> {
        let is_due = self.is_whole || self.is_full || self.input.len() >= PART;
        if self.state.is_none() && is_due {
            self.state = if self.is_whole {
                Some(Lent::wait(self.input.len() - self.used))
            } else {
                Lent::for_a_part()
            };
        }
        let Some(state) = self.state.as_mut().and_then(|lent| lent.state.as_mut()) else { return Ok(&[]) };
        if state.ready.is_empty() && is_due {
            // Complete parts only, so that the place where a bad message ends does not depend on how its bytes arrived.
            let length = self.input.len();
            let end = if self.is_whole { length } else { length - length % PART };
            let (used, made) = state.inflate(&self.input[self.used..end])?;
            self.used += used;
            self.is_full = made == CHUNK;
            if !self.is_full {
                // All of them are used; anything else was an error.
                (self.input, self.used) = (self.input.split_off(end), 0);
            }
            let is_last = self.is_whole && !self.is_full;
            if is_last && !state.is_at_end() {
                return Err(InflateError::Data);
            }
            if made > 0 || is_last {
                state.frame(self.first | if is_last { FIN } else { 0 }, made, is_masked);
                // FIN alone marks this as the last one.
                self.first = if is_last { FIN } else { CONTINUATION };
            }
        }
        Ok(&state.chunk[state.ready.clone()])
    }
}

#[cfg(test)]
mod tests;
