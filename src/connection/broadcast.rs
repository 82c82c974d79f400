//! [`broadcast`]: one message to many clients, on the thread that calls it.

use crate::connection::connection::Connection;
use crate::error::Result;
use crate::metrics::PushTally;
use crate::ws::frame::Prepared;
use crate::ws::message::Message;

/// Sends one message to many clients: encoded once, pushed to each without blocking. Returns the number of clients that
/// accepted it; the others are closed, closing, or slow consumers that it disconnected.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a message of over 1 GiB, which it sends to no client.
pub fn broadcast<'a>(
    connections: impl IntoIterator<Item = &'a Connection>,
    message: impl Into<Message>,
) -> Result<usize> {
    Ok(broadcast_prepared(connections, &message.into().prepare()?))
}

/// Pushes an encoded message.
pub(crate) fn broadcast_prepared<'a>(
    connections: impl IntoIterator<Item = &'a Connection>,
    message: &Prepared<'_>,
) -> usize {
    let mut counts = PushTally::default();
    connections
        .into_iter()
        .filter(|connection| connection.push_prepared(message, &mut counts).is_ok())
        .count()
}
