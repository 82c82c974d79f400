//! A second form of each published message, for the subscribers of a second hub.

use super::{Hub, Shared};
use crate::connection::connection::Connection;
use crate::error::Result;
use crate::panics::{Contained, caught};
use crate::ws::message::Message;

/// Makes the second form of a topic's message.
type Form = Box<dyn Fn(&str, &Message) -> Message + Send + Sync>;

/// The second hub, and the function that makes its messages.
pub(super) struct SecondForm {
    hub: Hub,
    form: Contained<Form>,
}

impl SecondForm {
    /// Publishes a message in its second form. Does not make it if the topic has no subscribers.
    pub(super) fn publish(
        &self,
        topic: &str,
        message: &Message,
        except: Option<&Connection>,
    ) -> Result<usize> {
        self.publish_by(topic, message, |message| self.hub.publish_and_relay(topic, message, except))
    }

    /// Publishes the newest value of a topic in its second form.
    pub(super) fn publish_latest(&self, topic: &str, message: &Message) -> Result<usize> {
        self.publish_by(topic, message, |message| self.hub.publish_latest(topic, message))
    }

    fn publish_by(
        &self,
        topic: &str,
        message: &Message,
        publish: impl FnOnce(Message) -> Result<usize>,
    ) -> Result<usize> {
        if self.hub.count(topic) == 0 {
            return Ok(0);
        }
        match caught(|| (self.form)(topic, message)) {
            Ok(message) => publish(message),
            Err(text) => {
                log::error!("the function that makes a hub's second form panicked: {text}");
                Ok(0)
            }
        }
    }
}

impl Hub {
    /// Creates two hubs for clients that speak two formats. A message that is published in the first hub reaches the
    /// subscribers of the second one too, in another form, which is made and encoded once for all of them.
    /// [`publish`](Hub::publish) counts both. A message that is published in the second hub stays there.
    ///
    /// ```
    /// use threadcast::{Hub, Message};
    ///
    /// let (plain, json) = Hub::in_two_forms(|topic, message| {
    ///     Message::json(&(topic, message.as_text())).unwrap_or_else(|_| "null".into())
    /// });
    /// assert_eq!(plain.publish("weather", "it rains")?, 0); // subscribers of `json` get ["weather","it rains"]
    /// # Ok::<(), threadcast::Error>(())
    /// ```
    pub fn in_two_forms(form: impl Fn(&str, &Message) -> Message + Send + Sync + 'static) -> (Hub, Hub) {
        let second = Hub::new();
        let mut first = Shared::default();
        first.second_form = Some(SecondForm { hub: second.clone(), form: Contained::new(Box::new(form)) });
        (Hub(first.into()), second)
    }
}
