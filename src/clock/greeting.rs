//! [`Greeting`]: the first message to a client of the subprotocol `threadcast.1`, sent again when it changes. Any
//! thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use threadcast::Message;

/// See the [module](self).
pub struct Greeting {
    /// From one push to the next, so that a client can tell a silent connection from a slow clock.
    interval: Duration,
    /// Whether there is a lab, so that the page can show its link.
    lab: bool,
    /// How many machines the fleet has; 0 without one. Written by `fleet-push`.
    machines: AtomicUsize,
}

impl Greeting {
    /// Tells the interval, and whether there is a lab.
    pub fn new(interval: Duration, lab: bool) -> Greeting {
        Greeting { interval, lab, machines: AtomicUsize::new(0) }
    }

    /// Sets the number of machines. Returns whether it is another one.
    pub fn set_machines(&self, machines: usize) -> bool {
        self.machines.swap(machines, Ordering::AcqRel) != machines
    }

    /// Returns it as it is now.
    #[inline(never)]
    pub fn message(&self) -> Message {
        let mut hello = json!({ "interval_ms": self.interval.as_millis() as u64 });
        if self.lab {
            hello["lab"] = json!(true);
        }
        match self.machines.load(Ordering::Acquire) {
            0 => {}
            machines => hello["machines"] = json!(machines),
        }
        json!({ "hello": hello }).into()
    }
}
