//! A message: text or binary, and how it becomes a frame. Pure, any thread.

use std::fmt;

use serde::Serialize;
use tungstenite::Bytes;
use tungstenite::Utf8Bytes;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame as Encoder;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::frame::coding::Data;
use tungstenite::protocol::frame::coding::OpCode;

use crate::web::backlog::MAX_FRAME;
use crate::web::error::Error;
use crate::web::error::Result;
use crate::web::wire::Frame;

/// Most bytes in a control frame's payload (RFC 6455, section 5.5); a close code takes two of them.
pub(crate) const MAX_CONTROL: usize = 125;

/// A WebSocket message. `&str` and `String` become text, `&[u8]` and `Vec<u8>` become binary, so
/// Tornado's `write_message(m, binary=True)` is `write_message(bytes)`.
///
/// Its `Display` is Python's: text as it is, binary as `b'\x00\xff'`.
///
/// Anything else is a mistake that the compiler finds:
///
/// ```compile_fail
/// threadcast::Message::from(2026);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text message; dereferences to `&str`.
    Text(Utf8Bytes),
    /// A binary message; dereferences to `&[u8]`.
    Binary(Bytes),
}

impl Message {
    /// A text message of `value` as JSON (in Tornado: a `dict` given to `write_message`).
    ///
    /// # Errors
    /// [`Error::Invalid`] if the value has no JSON form, such as a map whose keys are not strings.
    pub fn json(value: &impl Serialize) -> Result<Message> {
        let text = serde_json::to_string(value)
            .map_err(|error| Error::invalid(format!("cannot write this message as JSON: {error}")))?;
        Ok(text.into())
    }

    /// The text, or `None` of a binary message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    /// Encoded once, for however many clients.
    pub(crate) fn encode(self) -> Result<Frame> {
        let (data, payload) = match self {
            Message::Text(text) => (Data::Text, Bytes::from(text)),
            Message::Binary(bytes) => (Data::Binary, bytes),
        };
        if payload.len() > MAX_FRAME {
            return Err(Error::invalid(format!(
                "a message of {} bytes is over the {MAX_FRAME} bytes that one frame may have",
                payload.len()
            )));
        }
        Ok(encode(Encoder::message(payload, OpCode::Data(data), true), false))
    }
}

/// A Ping frame with up to 125 bytes of payload.
pub(crate) fn ping(payload: &[u8]) -> Result<Frame> {
    if payload.len() > MAX_CONTROL {
        return Err(Error::invalid(format!(
            "a ping carries at most {MAX_CONTROL} bytes, this one has {}",
            payload.len()
        )));
    }
    Ok(encode(Encoder::ping(payload.to_vec()), false))
}

/// A Close frame. A reason alone means code 1000; neither is an empty frame.
pub(crate) fn close(code: Option<u16>, reason: Option<&str>) -> Result<Frame> {
    let code = code.or(reason.map(|_| 1000));
    let reason = reason.unwrap_or_default();
    // RFC 6455, sections 7.4.1 and 7.4.2: 1005, 1006 and 1015 are never sent; 1016 to 2999 are reserved.
    if let Some(code) = code.filter(|code| !CloseCode::from(*code).is_allowed()) {
        return Err(Error::invalid(format!(
            "close code {code} cannot be sent: use 1000 to 1003, 1007 to 1013, or 3000 to 4999"
        )));
    }
    if reason.len() > MAX_CONTROL - 2 {
        return Err(Error::invalid(format!(
            "a close reason has at most {} bytes, this one has {}",
            MAX_CONTROL - 2,
            reason.len()
        )));
    }
    let frame = code.map(|code| CloseFrame { code: code.into(), reason: reason.into() });
    Ok(encode(Encoder::close(frame), true))
}

fn encode(frame: Encoder, is_close: bool) -> Frame {
    let mut bytes = Vec::with_capacity(frame.len());
    frame.format(&mut bytes).expect("a Vec takes every write");
    Frame { bytes: bytes.into(), is_close }
}

impl From<&str> for Message {
    fn from(text: &str) -> Message {
        Message::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Message {
        Message::Text(text.into())
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Message {
        Message::Binary(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Message {
        Message::Binary(bytes.into())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match self {
            Message::Text(text) => return f.write_str(text),
            Message::Binary(bytes) => bytes,
        };
        // Python's repr(bytes): double quotes only where there is a single quote and no double one.
        let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
        write!(f, "b{quote}")?;
        for &byte in bytes.iter() {
            match byte {
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                b'\\' => f.write_str("\\\\")?,
                _ if char::from(byte) == quote => write!(f, "\\{quote}")?,
                b' '..=b'~' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        write!(f, "{quote}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_messages_are_shown_as_python_shows_them() {
        for (bytes, expected) in [
            (&b"\x00\xff"[..], r"b'\x00\xff'"),
            (b"a b~", "b'a b~'"),
            (b"\n\r\t\\", r"b'\n\r\t\\'"),
            (b"it's", "b\"it's\""),
            (b"'\"", r#"b'\'"'"#),
            (b"\x7f", r"b'\x7f'"),
            (b"", "b''"),
        ] {
            assert_eq!(Message::from(bytes).to_string(), expected);
        }
        assert_eq!(Message::from("hi").to_string(), "hi");
    }

    #[test]
    fn frames_as_a_table() {
        let bytes = |frame: Result<Frame>| frame.map(|f| f.bytes.to_vec()).map_err(|e| e.to_string());
        assert_eq!(bytes(Message::from("hi").encode()), Ok(b"\x81\x02hi".to_vec()));
        assert_eq!(bytes(Message::from(&[0u8][..]).encode()), Ok(b"\x82\x01\0".to_vec()));
        assert_eq!(bytes(Message::json(&vec![1, 2]).unwrap().encode()), Ok(b"\x81\x05[1,2]".to_vec()));
        assert_eq!(bytes(ping(b"")), Ok(b"\x89\x00".to_vec()));
        assert_eq!(bytes(close(None, None)), Ok(b"\x88\x00".to_vec()));
        assert_eq!(bytes(close(Some(1001), None)), Ok(b"\x88\x02\x03\xe9".to_vec()));
        assert_eq!(bytes(close(None, Some("x"))), Ok(b"\x88\x03\x03\xe8x".to_vec()));
        assert_eq!(bytes(close(Some(4001), Some("replaced"))), Ok(b"\x88\x0a\x0f\xa1replaced".to_vec()));
    }

    #[test]
    fn what_may_not_be_sent_is_an_error_with_a_sentence() {
        for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65535] {
            let error = close(Some(code), None).err().expect("refused").to_string();
            assert!(error.starts_with(&format!("close code {code} cannot be sent")), "{error}");
        }
        assert!(close(None, Some(&"x".repeat(123))).is_ok());
        assert!(close(None, Some(&"x".repeat(124))).err().unwrap().to_string().contains("at most 123 bytes"));
        assert!(ping(&[0; 125]).is_ok());
        assert!(ping(&[0; 126]).err().unwrap().to_string().contains("at most 125 bytes"));
        let map = std::collections::HashMap::from([(vec![1], 2)]);
        assert!(Message::json(&map).unwrap_err().to_string().contains("JSON"));
    }
}
