//! [`ChannelName`]: the names of Redis channels.
//!
//! | channel | content |
//! |---|---|
//! | `NAME:TOPIC` | any program's message: text if it is UTF-8, else binary |
//! | `NAME/MACHINE/tLINK:TOPIC`, `NAME/MACHINE/bLINK:TOPIC` | a machine's text or binary message, which it drops itself |
//! | `NAME/MACHINE/c` | a machine's beats and claims, and which Ids it wants closed |

use crate::error::{Error, Result};
use crate::ws::message::Message;

/// The longest name of a fleet.
const MAX_NAME: usize = 64;

/// The kind of a channel.
#[derive(Debug, PartialEq)]
pub(super) enum ChannelName<'a> {
    /// For messages of any program to a topic.
    Open(&'a str),
    /// For messages of a machine to a topic, over its link of this number.
    Machine { machine: &'a str, is_binary: bool, link: u64, topic: &'a str },
    /// For what a machine tells the others: its beats and the Ids that it claims.
    Control(&'a str),
}

impl ChannelName<'_> {
    /// Parses a channel of the fleet `name`; `None` for any other name.
    pub(super) fn parse<'a>(name: &str, channel: &'a str) -> Option<ChannelName<'a>> {
        let rest = channel.strip_prefix(name)?;
        if let Some(topic) = rest.strip_prefix(':') {
            return Some(ChannelName::Open(topic));
        }
        let (machine, rest) = rest.strip_prefix('/')?.split_once('/')?;
        let Some((kind, topic)) = rest.split_once(':') else {
            return (rest == "c").then_some(ChannelName::Control(machine));
        };
        let (is_binary, link) = match kind.split_at_checked(1)? {
            ("t", link) => (false, link.parse().ok()?),
            ("b", link) => (true, link.parse().ok()?),
            _ => return None,
        };
        Some(ChannelName::Machine { machine, is_binary, link, topic })
    }
}

/// Returns the channel of a machine's message to a topic.
pub(super) fn of_message(name: &str, machine: &str, link: u64, topic: &str, message: &Message) -> String {
    let kind = if message.is_binary() { 'b' } else { 't' };
    format!("{name}/{machine}/{kind}{link}:{topic}")
}

/// Returns the channel of a machine's beats and claims.
pub(super) fn of_control(name: &str, machine: &str) -> String {
    format!("{name}/{machine}/c")
}

/// Returns the pattern of all channels of a fleet.
pub(super) fn pattern(name: &str) -> String {
    format!("{name}[:/]*")
}

/// Turns bytes from Redis into a message: text if they are UTF-8, unless they are known to be binary.
pub(super) fn message(bytes: Vec<u8>, is_binary: bool) -> Message {
    if is_binary {
        return Message::binary(bytes);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Message::text(text),
        Err(error) => Message::binary(error.into_bytes()),
    }
}

/// Refuses a name with characters that have a meaning in a pattern.
pub(super) fn check_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
        return Err(Error::invalid(format!(
            "{name:?} is not a fleet name: use 1 to {MAX_NAME} letters, digits, '.', '_' and '-'"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_as_a_table() {
        let machine =
            |is_binary, topic| Some(ChannelName::Machine { machine: "m", is_binary, link: 12, topic });
        for (channel, expected) in [
            ("app:all", Some(ChannelName::Open("all"))),
            ("app:id/a:b", Some(ChannelName::Open("id/a:b"))),
            ("app/m/t12:all", machine(false, "all")),
            ("app/m/b12:a/b:c", machine(true, "a/b:c")),
            ("app/m/c", Some(ChannelName::Control("m"))),
            ("app/m/x", None),
            ("app/m/x12:a", None),
            ("app/m/t:a", None),
            ("app/m/t-1:a", None),
            ("app/m/:a", None),
            ("app/m/é:a", None),
            ("app/m/", None),
            ("app/m/é", None),
            ("app/m", None),
            ("apple:all", None),
            ("other:all", None),
        ] {
            assert_eq!(ChannelName::parse("app", channel), expected, "{channel}");
        }
        for message in [Message::from("hi"), Message::from(b"hi")] {
            let channel = of_message("app", "m", 12, "a", &message);
            assert_eq!(ChannelName::parse("app", &channel), machine(message.is_binary(), "a"));
        }
        assert_eq!(ChannelName::parse("app", &of_control("app", "m")), Some(ChannelName::Control("m")));
        assert_eq!(message(b"hi".to_vec(), false), "hi".into());
        assert_eq!(message(b"hi".to_vec(), true), b"hi".into());
        assert_eq!(message(vec![255], false), b"\xff".into());
    }

    #[test]
    fn names_as_a_table() {
        for name in ["a", "threadcast", "A.b_c-9", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "a*", "a[b]", "a:b", "a/b", "a\\", "é", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
