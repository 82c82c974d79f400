//! The thread `fleet-push`, which pushes the other machines' messages to this machine's subscribers, and reports the
//! number of machines.
//!
//! Never here: reading from Redis or writing to it.

use std::sync::atomic::Ordering::Relaxed;

use crate::hub::fleet::queue::BATCH;
use crate::hub::fleet::state::FleetState;

/// The thread `fleet-push`: pushes incoming messages to this machine's subscribers, until the queue is closed.
pub(super) fn push(state: &FleetState) {
    loop {
        let next = state.tell_machines();
        let taken = state.incoming.take(BATCH, next);
        state.counts.stale.fetch_add(taken.stale, Relaxed);
        for (topic, message) in taken.items {
            match state.hub.publish_here(&topic, message) {
                Ok(_) => state.counts.received.fetch_add(1, Relaxed),
                Err(error) => {
                    log::debug!("dropping a message from Redis: {}", error.one_line());
                    state.counts.refused.fetch_add(1, Relaxed)
                }
            };
        }
        if taken.is_last {
            return;
        }
    }
}
