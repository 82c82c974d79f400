//! [`Greeting`]: what a client of the subprotocol `threadcast.1` is told first. Any thread.

use std::time::Duration;

use serde_json::json;

use threadcast::Message;

/// See the [module](self).
pub struct Greeting {
    /// From one push to the next, so that a client can tell a silent connection from a slow clock.
    pub interval: Duration,
    /// Whether there is a lab, so that the page can show its link.
    pub lab: bool,
}

impl Greeting {
    /// Returns it as it is now.
    #[inline(never)]
    pub fn message(&self) -> Message {
        let mut hello = json!({ "interval_ms": self.interval.as_millis() as u64 });
        if self.lab {
            hello["lab"] = json!(true);
        }
        json!({ "hello": hello }).into()
    }
}
