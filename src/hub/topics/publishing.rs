//! Publishes messages to the subscribers of topics.

use std::sync::PoisonError;

use super::{Hub, SecondForm, check};
use crate::connection::broadcast::broadcast_prepared;
use crate::connection::connection::Connection;
use crate::error::Result;
use crate::metrics::PushTally;
use crate::panics::caught;
use crate::ws::message::Message;

impl Hub {
    /// Sends one message to all subscribers of a topic but one: usually its author, who has it already. Does otherwise
    /// what [`publish`](Hub::publish) does; other machines of a `Fleet`, where this connection is not, get it in any
    /// case.
    ///
    /// # Errors
    /// As [`publish`](Hub::publish).
    pub fn publish_except(
        &self,
        topic: &str,
        message: impl Into<Message>,
        connection: &Connection,
    ) -> Result<usize> {
        self.publish_and_relay(topic, message.into(), Some(connection))
    }

    /// Sends the newest value of a topic. A subscriber whose last message of this topic by `publish_latest` still waits
    /// gets this one in its place: of each topic at most one waits. So a slow subscriber skips old values, and is not
    /// disconnected for it. Returns how many have accepted it, as [`publish`](Hub::publish) does; the message that it
    /// replaces had been accepted too.
    ///
    /// Bytes that the kernel has taken no longer wait in the backlog; with
    /// [`send_buffer`](crate::Application::send_buffer) they are few. A thread that publishes so does all of the work
    /// itself, for any number of subscribers. On other machines of a `Fleet` it is an ordinary message.
    ///
    /// ```
    /// use threadcast::Hub;
    ///
    /// let hub = Hub::new();
    /// for price in ["17.25", "17.30"] {
    ///     hub.publish_latest("price/A", price)?;
    /// }
    /// # Ok::<(), threadcast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Hub::publish).
    pub fn publish_latest(&self, topic: &str, message: impl Into<Message>) -> Result<usize> {
        check(topic)?;
        let message = message.into();
        let publish_second = |form: &SecondForm| form.publish_latest(topic, &message);
        let second = self.0.second_form.as_ref().map_or(Ok(0), publish_second)?;
        let prepared = message.clone().prepare()?;
        let found =
            self.shard(topic).get(topic).map(|topic| (topic.subscribers.clone(), topic.noted.clone()));
        let (mut receivers, mut counts) = (second, PushTally::default());
        if let Some((subscribers, noted)) = &found {
            for connection in subscribers.iter() {
                receivers += usize::from(connection.push_latest(&prepared, noted, &mut counts).is_ok());
            }
        }
        drop(counts);
        self.relay(topic, &message);
        Ok(receivers)
    }

    /// Does what [`publish`](Hub::publish) does, and hands nothing to a relay.
    ///
    /// # Errors
    /// As [`publish`](Hub::publish).
    pub fn publish_here(&self, topic: &str, message: impl Into<Message>) -> Result<usize> {
        self.publish_to_all_but(topic, message.into(), None)
    }

    pub(super) fn publish_and_relay(
        &self,
        topic: &str,
        message: Message,
        except: Option<&Connection>,
    ) -> Result<usize> {
        let receivers = self.publish_to_all_but(topic, message.clone(), except)?;
        self.relay(topic, &message);
        Ok(receivers)
    }

    fn relay(&self, topic: &str, message: &Message) {
        let relay = self.0.relay.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(relay) = relay
            && let Err(text) = caught(|| relay.forward(topic, message))
        {
            log::error!("the relay of a hub panicked: {text}");
        }
    }

    fn publish_to_all_but(
        &self,
        topic: &str,
        message: Message,
        except: Option<&Connection>,
    ) -> Result<usize> {
        check(topic)?;
        let publish_second = |form: &SecondForm| form.publish(topic, &message, except);
        let second = self.0.second_form.as_ref().map_or(Ok(0), publish_second)?;
        let message = message.prepare()?;
        let Some(mut chunks) = self.shard(topic).get(topic).map(|topic| topic.subscribers.clone()) else {
            return Ok(second);
        };
        if let Some(except) = except {
            // Copies the chunk that it is in.
            chunks.remove(except.id());
        }
        if let [chunk] = &chunks.0[..] {
            return Ok(second + broadcast_prepared(&chunk.connections, &message));
        }
        Ok(second + self.0.fan_out.publish(chunks, message))
    }
}
