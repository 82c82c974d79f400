//! [`Topics`]: published messages other than the time, and their subscribers. Any thread.
//!
//! A client gets the topics that it has asked for (`?topic=NAME`), `all`, and `id/ITS ID`. It gets a message as it
//! is, or with the subprotocol `threadcast.1` as `{"topic":"all","text":"hello"}`. In JSON, binary is `base64`.

use data_encoding::BASE64;
use serde_json::Value;

use crate::clock::clients::MAX_ID;
use threadcast::{Connection, Error, Hub, Message, Request, Result};

/// The topic of every client.
pub const ALL: &str = "all";
/// The prefix of the topic of one client; its Id follows.
const OF_ONE: &str = "id/";
/// Most topics that a client may ask for.
const MOST: usize = 32;
/// Most bytes of such a topic.
const MAX_TOPIC: usize = 256;
/// Bytes of a topic with one subscriber and the longest name, which is stored twice, and the topic's own list.
const TOPIC_MEMORY: u64 = 1 << 10;

/// See the [module](self).
pub struct Topics {
    /// Of clients that get a message as it is.
    plain: Hub,
    /// Of clients that speak `threadcast.1`.
    wrapped: Hub,
    /// Topics that a client may ask for; any if it is empty.
    allowed: Vec<String>,
}

impl Topics {
    /// Starts without a subscriber. `allowed`: topics that a client may ask for; any if it is empty.
    pub fn new(allowed: Vec<String>) -> Topics {
        let (plain, wrapped) = Hub::in_two_forms(wrap);
        Topics { plain, wrapped, allowed }
    }

    /// Returns the most bytes of one client's own topics. Topics that are named at the start are shared by all clients.
    pub fn memory(&self) -> u64 {
        let asked = if self.allowed.is_empty() { MOST as u64 } else { 0 };
        (1 + asked) * TOPIC_MEMORY
    }

    /// Returns the hub in which all is published.
    pub fn hub(&self) -> &Hub {
        &self.plain
    }

    /// Sends a message as it is to all who speak `threadcast.1`.
    pub fn greet(&self, message: Message) {
        if let Err(error) = self.wrapped.publish(ALL, message) {
            log::error!("cannot send the greeting: {error}");
        }
    }

    /// Subscribes a client to the topics that its request asks for, and to those of all. `is_wrapped`: whether it
    /// speaks `threadcast.1`.
    ///
    /// # Errors
    /// [`Error::Refused`] with 400 for too many topics, or one that it cannot have.
    #[inline(never)]
    pub fn subscribe(
        &self,
        connection: &Connection,
        id: &str,
        request: &Request,
        is_wrapped: bool,
    ) -> Result<()> {
        let asked = request.get_arguments("topic")?;
        if asked.len() > MOST {
            let reason = format!("{} topics are too many: ask for {MOST} at most", asked.len());
            return Err(Error::refused(400, reason));
        }
        asked.iter().try_for_each(|topic| self.check(topic))?;
        let hub = if is_wrapped { &self.wrapped } else { &self.plain };
        let own = [ALL.to_owned(), format!("{OF_ONE}{id}")];
        let mut topics = own.iter().chain(&asked);
        topics.try_for_each(|topic| hub.subscribe(topic, connection).map(drop)).map_err(refused)
    }

    fn check(&self, topic: &str) -> Result<()> {
        check_topic(topic).map_err(|reason| Error::refused(400, reason))?;
        let is_allowed =
            topic == ALL || self.allowed.is_empty() || self.allowed.iter().any(|one| one == topic);
        is_allowed
            .then_some(())
            .ok_or_else(|| Error::refused(400, format!("This server has no topic {topic:?}")))
    }

    /// Publishes bytes, as a text if they are UTF-8, and else as binary. Returns how many clients of this process got
    /// them.
    ///
    /// # Errors
    /// [`Error::Refused`] with 400 for a topic that nobody can have.
    pub fn publish(&self, topic: &str, bytes: &[u8]) -> Result<usize> {
        let checked = match topic.strip_prefix(OF_ONE) {
            Some(id) if id.len() > MAX_ID => Err(format!("an Id has at most {MAX_ID} bytes")),
            Some(_) => Ok(()),
            None => check_topic(topic),
        };
        checked.map_err(|reason| Error::refused(400, reason))?;
        let message = match std::str::from_utf8(bytes) {
            Ok(text) => Message::text(text),
            Err(_) => Message::binary(bytes),
        };
        self.plain.publish(topic, message).map_err(refused)
    }
}

/// Checks a topic that a client is to ask for.
///
/// # Errors
/// The topic is not valid; the error is a sentence.
pub fn check_topic(topic: &str) -> Result<(), String> {
    if topic.starts_with(OF_ONE) {
        return Err(format!(
            "clients cannot ask for topics that begin with {OF_ONE}: each belongs to one client"
        ));
    }
    if topic.is_empty() || topic.len() > MAX_TOPIC || topic.contains(char::is_control) {
        let shown: String = topic.chars().take(40).collect();
        return Err(format!(
            "{shown:?} is not a topic: use 1 to {MAX_TOPIC} bytes of text without control characters"
        ));
    }
    Ok(())
}

/// Returns a hub's error as a refusal for the client.
fn refused(error: Error) -> Error {
    match error {
        Error::Invalid(reason) => Error::refused(400, reason),
        other => other,
    }
}

/// Wraps a message for clients that speak `threadcast.1`.
fn wrap(topic: &str, message: &Message) -> Message {
    let (kind, content) = match message.as_text() {
        Some(text) => ("text", text.to_owned()),
        None => ("base64", BASE64.encode(message.as_bytes())),
    };
    Message::text(format!(r#"{{"topic":{},"{kind}":{}}}"#, Value::from(topic), Value::from(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_message_have_a_form_in_json() {
        for (message, wrapped) in [
            (Message::from("hello"), r#"{"topic":"a\"b","text":"hello"}"#),
            ("two\nlines \"é\"".into(), r#"{"topic":"a\"b","text":"two\nlines \"é\""}"#),
            (b"\xff\x00".into(), r#"{"topic":"a\"b","base64":"/wA="}"#),
        ] {
            assert_eq!(wrap("a\"b", &message), wrapped.into());
        }
    }

    #[test]
    fn topics_to_ask_for_as_a_table() {
        for (topic, wrong) in [
            ("all", ""),
            ("weather in Bern", ""),
            ("idle", ""),
            ("id/ann", "clients cannot ask for topics that begin with"),
            ("id/", "clients cannot ask for topics that begin with"),
            ("", "is not a topic"),
            ("a\nb", "is not a topic"),
            (&"x".repeat(256), ""),
            (&"x".repeat(257), "is not a topic"),
        ] {
            let found = check_topic(topic).err().unwrap_or_default();
            assert!(found.contains(wrong) && found.is_empty() == wrong.is_empty(), "{topic}: {found}");
        }
    }
}
