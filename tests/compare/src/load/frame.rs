//! WebSocket frames on the client's side: reads those of a server, writes its own.

use std::ops::Range;

use crate::frame;

/// The mask of all outgoing frames. It must not be 0, or a server could skip unmasking.
const MASK: [u8; 4] = [0x5a, 0x3c, 0x96, 0xe1];
/// The longest payload that a server of this comparison may send, in bytes.
const PAYLOAD_LIMIT: usize = 16 << 20;

/// The purpose of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole text or binary message, compressed or not.
    Message {
        /// Whether its payload must be inflated.
        compressed: bool,
    },
    /// The peer closes.
    Close,
    /// The peer wants its payload back.
    Ping,
    /// An unsolicited answer.
    Pong,
}

/// A frame at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Its purpose.
    pub kind: Kind,
    /// The range of its payload; the frame ends with the payload.
    pub payload: Range<usize>,
}

/// The first frame in `bytes`; None if it is incomplete, an error if a server must not send it.
pub fn first_frame(bytes: &[u8]) -> Result<Option<Found>, &'static str> {
    let &[first, second, ..] = bytes else {
        return Ok(None);
    };
    let kind = match first {
        0x81 | 0x82 => Kind::Message { compressed: false },
        0xc1 | 0xc2 => Kind::Message { compressed: true },
        0x88 => Kind::Close,
        0x89 => Kind::Ping,
        0x8a => Kind::Pong,
        _ => return Err("a fragment, a reserved bit or an unknown opcode"),
    };
    let (header, length) = match second {
        126 => match bytes.get(2..4) {
            Some(length) => (4, usize::from(u16::from_be_bytes([length[0], length[1]]))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10) {
            Some(length) => (10, length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))),
            None => return Ok(None),
        },
        length if length < 126 => (2, usize::from(length)),
        _ => return Err("a masked frame"),
    };
    if length > PAYLOAD_LIMIT {
        return Err("a message of more than 16 MiB");
    }
    if bytes.len() < header + length {
        return Ok(None);
    }
    let payload = header..header + length;
    Ok(Some(Found { kind, payload }))
}

/// A masked text frame.
pub fn text_frame(text: &str) -> Vec<u8> {
    frame::text(text, Some(MASK))
}

/// The answer to a ping.
pub fn pong_frame(payload: &[u8]) -> Vec<u8> {
    frame::pong(&payload[..payload.len().min(125)], Some(MASK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_found_once_they_are_whole() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let frame = frame::text(&"x".repeat(length), None);
            let found = first_frame(&frame).unwrap().unwrap();
            assert_eq!((found.kind, found.payload.len()), (Kind::Message { compressed: false }, length));
            for cut in [0, 1, frame.len() - 1] {
                assert_eq!(first_frame(&frame[..cut]), Ok(None), "{cut} of {length}");
            }
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_an_error() {
        for bytes in [[0x01, 0x00], [0xc9, 0x00], [0xe1, 0x00], [0x83, 0x00], [0x81, 0x80]] {
            assert!(first_frame(&bytes).is_err(), "{bytes:?}");
        }
    }
}
