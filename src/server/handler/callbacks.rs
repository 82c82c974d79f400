//! The default of [`run`](WebSocketHandler::run): Tornado's model.

use super::WebSocketHandler;
use crate::connection::connection::Connection;
use crate::connection::messages::Messages;
use crate::connection::reader::Incoming;
use crate::error::{Error, Result};
use crate::ws::message::Message;

/// Reads until the end, and calls the handler's methods.
pub(super) fn run<H>(handler: &mut H, connection: &Connection, messages: &mut Messages) -> Result<()>
where
    H: WebSocketHandler + ?Sized,
{
    messages.end_method(false);
    while let Some(incoming) = messages.next_incoming()? {
        if !matches!(incoming, Incoming::Close | Incoming::Nothing) {
            deliver(handler, connection, messages, incoming)?;
        }
    }
    Ok(())
}

/// Calls the method for an event.
///
/// Not inlined: an idle client's stack has no room for it, and even less for a method.
#[inline(never)]
fn deliver<H>(
    handler: &mut H,
    connection: &Connection,
    messages: &mut Messages,
    incoming: Incoming,
) -> Result<()>
where
    H: WebSocketHandler + ?Sized,
{
    let handled = match incoming {
        Incoming::Message(message) => on_message(handler, connection, messages, message),
        Incoming::Ping(payload) => {
            messages.begin_method("on_ping");
            handler.on_ping(connection, &payload);
            Ok(())
        }
        Incoming::Pong(payload) => {
            messages.begin_method("on_pong");
            handler.on_pong(connection, &payload);
            Ok(())
        }
        Incoming::Close | Incoming::Nothing => return Ok(()),
    };
    messages.end_method(false);
    handled
}

fn on_message<H>(
    handler: &mut H,
    connection: &Connection,
    messages: &mut Messages,
    message: Message,
) -> Result<()>
where
    H: WebSocketHandler + ?Sized,
{
    messages.begin_method("on_message");
    match handler.on_message(connection, message) {
        Err(error @ (Error::Closed | Error::SlowConsumer { .. })) => {
            if !connection.is_closed() {
                log::debug!(
                    "{connection}: on_message failed with the error of another connection, and goes on with the next message: {error}"
                );
            }
            Ok(())
        }
        handled => handled,
    }
}
