//! [`Relay`]: carries a hub's messages beyond its own subscribers.

use std::sync::{Arc, PoisonError};

use super::Hub;
use crate::ws::message::Message;

/// Carries messages of a [`Hub`] further, such as to other machines. Pass messages from there to [`Hub::publish_here`].
pub trait Relay: Send + Sync {
    /// Forwards a message. Each [`Hub::publish`] calls it, on its own thread, after the hub's own subscribers have the
    /// message. It must not block.
    fn forward(&self, topic: &str, message: &Message);
}

impl Hub {
    /// Passes messages to a relay too, from now on. Returns false, and changes nothing, if the hub already has one.
    pub fn set_relay(&self, relay: Arc<dyn Relay>) -> bool {
        let mut place = self.0.relay.write().unwrap_or_else(PoisonError::into_inner);
        let is_free = place.is_none();
        place.get_or_insert(relay);
        is_free
    }

    /// Removes the relay and returns it.
    pub fn end_relay(&self) -> Option<Arc<dyn Relay>> {
        self.0.relay.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}
