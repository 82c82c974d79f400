//! The form of a message for a connection, and the newest message of a topic, which replaces the waiting one.

use std::sync::Arc;

use super::Connection;
use crate::connection::membership::GroupTopic;
use crate::error::Result;
use crate::metrics::PushTally;
use crate::ws::frame::{Frame, Prepared};
use crate::ws::mask;

impl Connection {
    /// Pushes a message of a topic in place of the topic's last one, if that still waits.
    pub(crate) fn push_latest<'a>(
        &'a self,
        message: &Prepared<'_>,
        topic: &Arc<GroupTopic>,
        tally: &mut PushTally<'a>,
    ) -> Result<()> {
        let (mut frame, saved) = self.form_of(message);
        if self.link().is_client() {
            frame = mask::masked(&frame);
        }
        let bytes = frame.bytes.len();
        self.outbox.push_latest(frame, || self.link().memberships.slot(topic))?;
        tally.add(&self.state().counters, bytes, saved);
        Ok(())
    }

    /// Returns the form of a message for this connection, and the bytes that compression saved.
    #[inline]
    pub(super) fn form_of(&self, message: &Prepared<'_>) -> (Frame, usize) {
        #[cfg(feature = "deflate")]
        if self.is_compressed()
            && let Some(deflated) = self.link().deflated(message)
        {
            let saved = message.frame().bytes.len() - deflated.bytes.len();
            return (deflated, saved);
        }
        (message.frame(), 0)
    }
}
