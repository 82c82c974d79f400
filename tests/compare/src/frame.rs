//! Writes WebSocket frames: complete ones, as a server or, with a mask, as a client sends them.

use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// The mask of a client's payload; None for a server's.
pub type Mask = Option<[u8; 4]>;

/// Returns the text frame around `text`.
pub fn text(text: &str, mask: Mask) -> Vec<u8> {
    bytes(Frame::message(text.to_owned(), OpCode::Data(Data::Text), true), mask)
}

/// Returns the answer to a ping.
pub fn pong(payload: &[u8], mask: Mask) -> Vec<u8> {
    bytes(Frame::pong(payload.to_vec()), mask)
}

fn bytes(mut frame: Frame, mask: Mask) -> Vec<u8> {
    frame.header_mut().mask = mask;
    let mut bytes = Vec::with_capacity(frame.len());
    // Writing to a Vec does not fail.
    let _ = frame.format(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_grows_with_the_payload() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = text(&"x".repeat(length), None);
            assert_eq!(frame[..header.len()], header, "payload of {length}");
            assert_eq!(frame.len(), header.len() + length);
        }
    }

    #[test]
    fn a_mask_stands_before_what_it_hides() {
        let mask = Some([0x5a, 0x3c, 0x96, 0xe1]);
        assert_eq!(text("hi", mask), [0x81, 0x82, 0x5a, 0x3c, 0x96, 0xe1, b'h' ^ 0x5a, b'i' ^ 0x3c]);
        assert_eq!(pong(b"", mask), [0x8a, 0x80, 0x5a, 0x3c, 0x96, 0xe1]);
        assert_eq!(text(&"x".repeat(126), mask).len(), 8 + 126);
    }
}
