//! [`Relay`]: where a hub's messages go besides its own subscribers.

use std::sync::{Arc, PoisonError};

use super::Hub;
use crate::ws::message::Message;

/// Takes what is published in a [`Hub`] further, such as to other machines. What comes from there goes to
/// [`Hub::publish_here`].
pub trait Relay: Send + Sync {
    /// Takes a message along. Called by each [`Hub::publish`], on its thread, when the hub's own subscribers have it:
    /// must not block.
    fn forward(&self, topic: &str, message: &Message);
}

impl Hub {
    /// Hands what is published from now on to a relay too. Returns false, and changes nothing, if there is one.
    pub fn set_relay(&self, relay: Arc<dyn Relay>) -> bool {
        let mut place = self.0.relay.write().unwrap_or_else(PoisonError::into_inner);
        let is_free = place.is_none();
        place.get_or_insert(relay);
        is_free
    }

    /// Hands nothing to a relay any more. Returns the one that there was.
    pub fn end_relay(&self) -> Option<Arc<dyn Relay>> {
        self.0.relay.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}
