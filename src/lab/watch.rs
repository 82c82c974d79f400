//! [`WatchHandler`]: a watcher's end of `/lab/events`. Runs on `client-N`.
//!
//! Only a page of this server may connect: only its users may give orders.

use crossbeam_channel::Sender;
use serde_json::json;

use crate::lab::events::Change;
use crate::lab::orders::Order;
use threadcast::{Connection, Exchange, Message, Result, WebSocketHandler};

/// Passes on the watchers and their orders.
pub struct WatchHandler {
    /// To `lab-events`.
    pub changes: Sender<Change>,
    /// To `lab-crowd`.
    pub orders: Sender<Order>,
}

impl WebSocketHandler for WatchHandler {
    fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        // Without a receiver the server is shutting down.
        let _ = self.changes.send(Change::Comes(connection.clone()));
        Ok(())
    }

    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        match Order::parse(message.as_text().unwrap_or_default()) {
            Ok(order) => {
                let _ = self.orders.send(order);
                Ok(())
            }
            Err(what) => connection.write_message(Message::json(&json!({ "note": what }))?),
        }
    }

    fn on_close(&mut self, connection: &Connection) {
        let _ = self.changes.send(Change::Leaves(connection.clone()));
    }
}
