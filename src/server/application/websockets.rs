//! Routes of WebSockets.

use super::{Application, MakeFor};
use crate::error::Result;
use crate::http::exchange::Exchange;
use crate::panics::Contained;
use crate::server::handler::WebSocketHandler;

impl Application {
    /// Adds a WebSocket at exactly `path`; `make` makes a handler for each connection.
    #[track_caller]
    pub fn websocket<H: WebSocketHandler>(
        self,
        path: &str,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Application {
        self.websocket_with(path, move |_| Ok(make()))
    }

    /// Adds a WebSocket at exactly `path`; `make` makes a handler of a request, so its fields need no placeholders. The
    /// server calls it after it has checked the head, and then asks the handler about the origin
    /// ([`check_origin`](WebSocketHandler::check_origin)) before its `open` runs. Do not register the connection in
    /// `make`, but in `open`: the server may still refuse the request. An `Err` refuses it, as in `open`.
    ///
    /// ```
    /// use threadcast::{Application, Connection, Message, Result, WebSocketHandler};
    ///
    /// struct Room(String);
    ///
    /// impl WebSocketHandler for Room {
    ///     fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
    ///         connection.write_message(format!("in {}: {message}", self.0))
    ///     }
    /// }
    ///
    /// Application::new().websocket_with("/chat", |exchange| Ok(Room(exchange.get_argument("room")?)));
    /// ```
    #[track_caller]
    pub fn websocket_with<H: WebSocketHandler>(
        mut self,
        path: &str,
        make: impl Fn(&mut Exchange<'_>) -> Result<H> + Send + Sync + 'static,
    ) -> Application {
        let websocket = &mut self.routes.entry(path).websocket;
        assert!(websocket.is_none(), "there are two WebSockets at {path}");
        *websocket = Some(boxed(make));
        self
    }

    /// Adds a WebSocket at every path below `prefix` that no other route matches, and at `prefix` itself, which may end
    /// with a slash or not: `/doc` has `/doc/a/b`, and not `/docs`. The server calls `make` as for
    /// [`websocket_with`](Application::websocket_with); the path below the prefix is
    /// [`path_rest`](crate::Request::path_rest), such as the name of a room that may have slashes in it.
    ///
    /// ```
    /// use threadcast::{Application, Connection, Hub, Messages};
    ///
    /// let hub = Hub::new();
    /// Application::new().websockets("/doc", move |exchange| {
    ///     let (room, hub) = (exchange.path_rest()?, hub.clone());
    ///     Ok(move |connection: &Connection, messages: &mut Messages| {
    ///         hub.subscribe(&room, connection)?;
    ///         for message in messages {
    ///             hub.publish_except(&room, message?, connection)?;
    ///         }
    ///         Ok(())
    ///     })
    /// });
    /// ```
    ///
    /// # Panics
    /// If `prefix` does not begin with a slash, has parameters, or has a WebSocket already.
    #[track_caller]
    pub fn websockets<H: WebSocketHandler>(
        mut self,
        prefix: &str,
        make: impl Fn(&mut Exchange<'_>) -> Result<H> + Send + Sync + 'static,
    ) -> Application {
        let prefix = format!("{}/", prefix.strip_suffix('/').unwrap_or(prefix));
        let websocket = &mut self.routes.entry_below(&prefix, true).websocket;
        assert!(websocket.is_none(), "there are two WebSockets below {prefix}");
        *websocket = Some(boxed(make));
        self
    }
}

fn boxed<H: WebSocketHandler>(
    make: impl Fn(&mut Exchange<'_>) -> Result<H> + Send + Sync + 'static,
) -> MakeFor {
    Contained::new(Box::new(move |exchange| Ok(Box::new(make(exchange)?))))
}
