//! Outgoing frames: encoded by tungstenite, and shared by all recipients. Pure, any thread.

#[cfg(feature = "deflate")]
use std::sync::OnceLock;

use tungstenite::Bytes;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame as Encoder;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::error::{Error, Result};
#[cfg(feature = "deflate")]
use crate::ws::compress;

/// The most bytes in a control frame's payload (RFC 6455, section 5.5); a close code takes two of them.
pub(crate) const MAX_CONTROL: usize = 125;
/// The most bytes in a data frame's payload. Together with the largest backlog it must fit in 32 bits.
pub(crate) const MAX_FRAME: usize = 1 << 30;

/// One encoded WebSocket frame; clones share its bytes.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// Whether it is the connection's last frame.
    pub(crate) is_close: bool,
}

/// A message for any number of connections: encoded once in each form that a connection needs.
pub(crate) struct Prepared<'a> {
    plain: Frame,
    /// The first thread that needs it compresses; `None` if the message goes out uncompressed.
    #[cfg(feature = "deflate")]
    deflated: OnceLock<Option<Frame>>,
    /// The original of a copy.
    #[cfg_attr(
        not(feature = "deflate"),
        expect(dead_code, reason = "only a second form is asked for there")
    )]
    original: Option<&'a Prepared<'a>>,
}

impl Prepared<'static> {
    /// Encodes a message of at most [`MAX_FRAME`] bytes.
    pub(crate) fn new(kind: Data, payload: Bytes) -> Result<Prepared<'static>> {
        if payload.len() > MAX_FRAME {
            return Err(Error::invalid(format!(
                "a message of {} bytes is over the {MAX_FRAME} bytes that one frame may have",
                payload.len()
            )));
        }
        Ok(Prepared::of(encode(Encoder::message(payload, OpCode::Data(kind), true), false), None))
    }
}

impl<'a> Prepared<'a> {
    fn of(plain: Frame, original: Option<&'a Prepared<'a>>) -> Prepared<'a> {
        #[cfg(feature = "deflate")]
        let deflated = OnceLock::new();
        Prepared {
            plain,
            #[cfg(feature = "deflate")]
            deflated,
            original,
        }
    }

    /// Returns the form for a connection.
    pub(crate) fn frame(&self) -> Frame {
        self.plain.clone()
    }

    /// Copies the bytes, so that threads on different cores that share a round each count references to their own copy.
    /// Encodes and compresses nothing again.
    pub(crate) fn copied(&'a self) -> Prepared<'a> {
        Prepared::of(copied(&self.plain), Some(self))
    }

    /// Returns the payload.
    #[cfg(feature = "deflate")]
    pub(crate) fn payload(&self) -> &[u8] {
        let bytes = &self.plain.bytes;
        let header = match bytes[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        &bytes[header..]
    }

    /// Returns the compressed form, if it is smaller. The first caller compresses; other threads of the round wait for
    /// it.
    #[cfg(feature = "deflate")]
    pub(crate) fn deflated(&self) -> Option<Frame> {
        let make = || match self.original {
            Some(original) => original.deflated().as_ref().map(copied),
            None => {
                let kind = if self.plain.bytes[0] & 0x0f == 1 { Data::Text } else { Data::Binary };
                let payload = compress::compress(self.payload())?;
                let mut frame = Encoder::message(payload, OpCode::Data(kind), true);
                frame.header_mut().rsv1 = true;
                Some(encode(frame, false))
            }
        };
        self.deflated.get_or_init(make).clone()
    }
}

/// Returns a copy of the frame at another place in memory.
fn copied(frame: &Frame) -> Frame {
    Frame { bytes: Bytes::copy_from_slice(&frame.bytes), is_close: frame.is_close }
}

/// Encodes a Ping with up to 125 bytes of payload.
pub(crate) fn ping(payload: &[u8]) -> Result<Frame> {
    if payload.len() > MAX_CONTROL {
        return Err(Error::invalid(format!(
            "a ping carries at most {MAX_CONTROL} bytes, this one has {}",
            payload.len()
        )));
    }
    Ok(encode(Encoder::ping(payload.to_vec()), false))
}

/// Returns whether a Close frame may have this code: one from IANA's registry, or from the ranges for libraries and for
/// private use. 1004 is reserved; 1005, 1006 and 1015 are never sent (RFC 6455, section 7.4).
pub(crate) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Encodes a Close. A reason alone means code 1000; without code and reason the frame is empty. Cuts a long reason
/// between two characters.
pub(crate) fn close(code: Option<u16>, reason: Option<&str>) -> Result<Frame> {
    let code = code.or(reason.map(|_| 1000));
    let reason = reason.unwrap_or_default();
    if let Some(code) = code.filter(|code| !may_be_sent(*code)) {
        return Err(Error::invalid(format!(
            "close code {code} cannot be sent: use 1000 to 1003, 1007 to 1014, or 3000 to 4999"
        )));
    }
    let fits = (0..=MAX_CONTROL - 2).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or_default();
    let reason = &reason[..fits];
    let frame = code.map(|code| CloseFrame { code: code.into(), reason: reason.into() });
    Ok(encode(Encoder::close(frame), true))
}

fn encode(frame: Encoder, is_close: bool) -> Frame {
    let mut bytes = Vec::with_capacity(frame.len());
    frame.format(&mut bytes).expect("a Vec takes every write");
    Frame { bytes: bytes.into(), is_close }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_as_a_table() {
        let bytes = |frame: Result<Frame>| frame.map(|f| f.bytes.to_vec()).map_err(|e| e.to_string());
        let message = |kind, payload: &'static [u8]| {
            bytes(Prepared::new(kind, Bytes::from_static(payload)).map(|prepared| prepared.frame()))
        };
        assert_eq!(message(Data::Text, b"hi"), Ok(b"\x81\x02hi".to_vec()));
        assert_eq!(message(Data::Binary, b"\0"), Ok(b"\x82\x01\0".to_vec()));
        assert_eq!(bytes(ping(b"")), Ok(b"\x89\x00".to_vec()));
        assert_eq!(bytes(close(None, None)), Ok(b"\x88\x00".to_vec()));
        assert_eq!(bytes(close(Some(1001), None)), Ok(b"\x88\x02\x03\xe9".to_vec()));
        assert_eq!(bytes(close(None, Some("x"))), Ok(b"\x88\x03\x03\xe8x".to_vec()));
        assert_eq!(bytes(close(Some(4001), Some("replaced"))), Ok(b"\x88\x0a\x0f\xa1replaced".to_vec()));
    }

    #[test]
    fn a_reason_that_does_not_fit_is_cut_between_two_characters() {
        for (reason, fits) in [
            ("x".repeat(123), 123),
            ("x".repeat(124), 123),
            ("é".repeat(62), 122),
            ("x".to_owned() + &"é".repeat(62), 123),
            ("🦀".repeat(1000), 120),
        ] {
            let bytes = close(Some(4000), Some(&reason)).unwrap().bytes;
            assert_eq!(bytes[4..], reason.as_bytes()[..fits]);
            assert_eq!(usize::from(bytes[1]), 2 + fits);
        }
    }

    #[test]
    fn an_invalid_frame_is_an_error_with_a_sentence() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            let error = close(Some(code), None).err().expect("refused").to_string();
            assert!(error.starts_with(&format!("close code {code} cannot be sent")), "{error}");
        }
        for code in [1000, 1003, 1007, 1012, 1013, 1014, 3000, 4999] {
            assert!(close(Some(code), None).is_ok(), "{code}");
        }
        assert!(ping(&[0; 125]).is_ok());
        assert!(ping(&[0; 126]).err().unwrap().to_string().contains("at most 125 bytes"));
    }
}
