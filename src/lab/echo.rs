//! [`EchoHandler`]: sends every message back, for the conformance suite and the measurements.

use threadcast::{Connection, Message, Result, WebSocketHandler};

/// Echoes.
#[derive(Debug, Default)]
pub struct EchoHandler;

impl WebSocketHandler for EchoHandler {
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        connection.write_message(message)
    }
}
