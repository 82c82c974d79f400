//! [`Message`]: text or binary. Pure, any thread.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use tungstenite::protocol::frame::coding::Data;
use tungstenite::{Bytes, Utf8Bytes};

use crate::error::{Error, Result};
use crate::ws::frame::Prepared;

/// A WebSocket message: text or binary. `&str` and `String` become text, `&[u8]` and `Vec<u8>` become
/// binary, so Tornado's `write_message(m, binary=True)` is `write_message(bytes)`. Clones share their bytes.
///
/// Its `Display` is Python's: text as it is, binary as `b'\x00\xff'`.
///
/// ```
/// use threadcast::Message;
///
/// let message = Message::from("hi");
/// assert_eq!(message.as_text(), Some("hi"));
/// assert!(!message.is_binary());
/// assert_eq!(Message::from(vec![0, 255]).to_string(), r"b'\x00\xff'");
/// ```
///
/// Anything else is a mistake that the compiler finds:
///
/// ```compile_fail
/// threadcast::Message::from(2026);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message(Payload);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Payload {
    Text(Utf8Bytes),
    Binary(Bytes),
}

impl Message {
    /// Makes a text message.
    pub fn text(text: impl Into<String>) -> Message {
        Message(Payload::Text(text.into().into()))
    }

    /// Makes a binary message.
    pub fn binary(bytes: impl Into<Vec<u8>>) -> Message {
        Message(Payload::Binary(bytes.into().into()))
    }

    /// Makes a text message of `value` as JSON (in Tornado: a `dict` given to `write_message`).
    ///
    /// # Errors
    /// [`Error::Invalid`] if the value has no JSON form, such as a map whose keys are not strings.
    pub fn json(value: &impl Serialize) -> Result<Message> {
        let text = serde_json::to_string(value)
            .map_err(|error| Error::invalid(format!("cannot write this message as JSON: {error}")))?;
        Ok(text.into())
    }

    /// Reads it as JSON, text or binary. `T` may borrow from it.
    ///
    /// ```
    /// use threadcast::Message;
    ///
    /// let (x, y) = Message::from("[1, 2]").parse::<(i32, i32)>()?;
    /// assert_eq!(x + y, 3);
    /// # Ok::<(), threadcast::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Other`], with a [`serde_json::Error`], for what is not JSON, or not a `T`. A handler that returns it
    /// closes with 1011; where that is the client's mistake, close with a code of your own, see
    /// [`Error::closing`](crate::Error::closing).
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        Ok(serde_json::from_slice(self.as_bytes())?)
    }

    /// Returns whether it is binary.
    pub fn is_binary(&self) -> bool {
        matches!(self.0, Payload::Binary(_))
    }

    /// Returns the text, or `None` for a binary message.
    pub fn as_text(&self) -> Option<&str> {
        match &self.0 {
            Payload::Text(text) => Some(text),
            Payload::Binary(_) => None,
        }
    }

    /// Returns the bytes; of a text, its UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Payload::Text(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        }
    }

    /// Turns a text message into its text, and returns a binary one as it is.
    ///
    /// # Errors
    /// The message itself, if it is binary.
    pub fn into_text(self) -> Result<String, Message> {
        match self.0 {
            Payload::Text(text) => Ok(text.as_str().to_owned()),
            Payload::Binary(_) => Err(self),
        }
    }

    /// Turns the message into its bytes; of a text, its UTF-8.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.0 {
            Payload::Text(text) => Bytes::from(text).into(),
            Payload::Binary(bytes) => bytes.into(),
        }
    }

    /// Wraps a text that tungstenite has read, without copying it.
    pub(crate) fn received_text(text: Utf8Bytes) -> Message {
        Message(Payload::Text(text))
    }

    /// Wraps bytes that tungstenite has read, without copying them.
    pub(crate) fn received_binary(bytes: Bytes) -> Message {
        Message(Payload::Binary(bytes))
    }

    /// Encodes it, once for any number of clients.
    pub(crate) fn prepare(self) -> Result<Prepared<'static>> {
        match self.0 {
            Payload::Text(text) => Prepared::new(Data::Text, Bytes::from(text)),
            Payload::Binary(bytes) => Prepared::new(Data::Binary, bytes),
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Message {
        Message(Payload::Text(text.into()))
    }
}

impl From<String> for Message {
    fn from(text: String) -> Message {
        Message::text(text)
    }
}

impl From<&String> for Message {
    fn from(text: &String) -> Message {
        Message::from(text.as_str())
    }
}

impl From<Cow<'_, str>> for Message {
    fn from(text: Cow<'_, str>) -> Message {
        Message::text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Message {
        Message(Payload::Binary(Bytes::copy_from_slice(bytes)))
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(bytes: &[u8; N]) -> Message {
        Message::from(&bytes[..])
    }
}

/// The clone, which shares the bytes: a kept message is sent again.
impl From<&Message> for Message {
    fn from(message: &Message) -> Message {
        message.clone()
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Message {
        Message::binary(bytes)
    }
}

/// The value as JSON text.
impl From<serde_json::Value> for Message {
    fn from(value: serde_json::Value) -> Message {
        Message::text(value.to_string())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match &self.0 {
            Payload::Text(text) => return f.write_str(text),
            Payload::Binary(bytes) => bytes,
        };
        // Python's repr(bytes): double quotes only for a text with a single quote and without a double one.
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

/// `Text("hi")`, `Binary(b"\x00\xff")`
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Payload::Text(text) => f.debug_tuple("Text").field(&text.as_str()).finish(),
            Payload::Binary(bytes) => f.debug_tuple("Binary").field(bytes).finish(),
        }
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
    fn conversions_into_a_message_as_a_table() {
        let text = "hi".to_owned();
        for message in [
            Message::from("hi"),
            Message::from(&text),
            Message::from(Cow::Borrowed("hi")),
            Message::text("hi"),
            Message::from(text.clone()),
            Message::from(&Message::from("hi")),
        ] {
            assert_eq!((message.as_text(), message.is_binary()), (Some("hi"), false));
            assert_eq!(message.as_bytes(), b"hi");
            assert_eq!(message.clone().into_bytes(), b"hi");
            assert_eq!(message.into_text(), Ok(text.clone()));
        }
        for message in [Message::from(b"\0"), Message::from(&[0u8][..]), Message::binary([0]), vec![0].into()]
        {
            assert_eq!((message.as_text(), message.is_binary()), (None, true));
            assert_eq!(message.clone().into_text(), Err(message.clone()));
            assert_eq!(message.into_bytes(), [0]);
        }
        assert_eq!(Message::from(serde_json::json!({ "a": [1] })).as_text(), Some(r#"{"a":[1]}"#));
        assert_eq!(Message::json(&vec![1, 2]).unwrap().as_text(), Some("[1,2]"));
        let map = std::collections::HashMap::from([(vec![1], 2)]);
        assert!(Message::json(&map).unwrap_err().to_string().contains("JSON"));
    }
}
