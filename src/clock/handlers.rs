//! The tutorial's two handlers: [`IndexHandler`] and [`TimeHandler`]. They run on `client-N`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::clock::clients::Clients;
use crate::clock::logging::printable;
use threadcast::{
    Application, Connection, Exchange, Message, Origin, Request, RequestHandler, Result, StaticFiles,
    WebSocketHandler,
};

/// Close code of a session whose Id a newer one has taken. In the range for private use (RFC 6455,
/// section 7.4.2); the page knows it, and does not reconnect.
const REPLACED: u16 = 4001;

/// The subprotocol (RFC 6455, section 1.9) of a client that is told the interval before the first push, so
/// that it can tell a silent connection from a slow clock. The page offers it.
const GREETED: &str = "threadcast.1";

/// The page and what it needs, compiled in.
pub const PAGES: StaticFiles = StaticFiles::Embedded(&[
    ("index.html", include_bytes!("../../www/index.html")),
    ("base.css", include_bytes!("../../www/base.css")),
    ("clock.css", include_bytes!("../../www/clock.css")),
    ("clock.js", include_bytes!("../../www/clock.js")),
    ("clock-view.js", include_bytes!("../../www/clock-view.js")),
    ("favicon.svg", include_bytes!("../../www/favicon.svg")),
]);

/// Returns what a client of the subprotocol `threadcast.1` is sent first. `lab`: whether there is one, so
/// that the page can show its link.
pub fn hello(interval: Duration, lab: bool) -> Message {
    let mut hello = json!({ "interval_ms": interval.as_millis() as u64 });
    if lab {
        hello["lab"] = json!(true);
    }
    json!({ "hello": hello }).to_string().into()
}

/// Adds the two routes of the tutorial, and the files that its page needs. `origins`: who may connect besides
/// the page itself; anybody if it is `None`, as in the tutorial. `also` is called with each text message,
/// when it has been logged. `hello`: see [`hello`].
pub fn routes(
    clients: &Arc<Clients>,
    pages: &StaticFiles,
    origins: Option<Vec<Origin>>,
    also: fn(&str),
    hello: Message,
) -> Application {
    let hello = Arc::new(hello);
    let (index, clients, origins) = (pages.clone(), clients.clone(), origins.map(Arc::new));
    Application::new()
        .page("/", move || IndexHandler { pages: index.clone() })
        .websocket("/websocket", move || TimeHandler {
            clients: clients.clone(),
            origins: origins.clone(),
            also,
            hello: hello.clone(),
            is_greeted: false,
            id: String::new(),
        })
        .static_files("/static/", pages.clone())
}

/// Renders the page with the WebSocket client in it.
pub struct IndexHandler {
    pages: StaticFiles,
}

impl RequestHandler for IndexHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.set_header("Cache-Control", "no-cache")?;
        // Whatever somebody sends to the page stays text, even if the page had a mistake.
        exchange.set_header("Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:")?;
        exchange.render(&self.pages, "index.html")
    }
}

/// A session of the clock, and the tutorial's `MyWebSocketHandler`.
pub struct TimeHandler {
    clients: Arc<Clients>,
    origins: Option<Arc<Vec<Origin>>>,
    also: fn(&str),
    hello: Arc<Message>,
    /// Set by `select_subprotocol`, which runs before `open`.
    is_greeted: bool,
    /// Set once, by `open`.
    id: String,
}

impl WebSocketHandler for TimeHandler {
    fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        self.id = exchange.get_argument("Id")?;
        connection.set_nodelay(true)?;
        if self.is_greeted {
            // Before it is registered, and so before any push.
            connection.write_message(self.hello.as_ref().clone())?;
        }
        if let Some(older) = self.clients.register(&self.id, connection) {
            // If it is closing already, it has nothing to learn from this.
            let _ = older.close(Some(REPLACED), Some("replaced"));
        }
        Ok(())
    }

    fn select_subprotocol(&mut self, offered: &[&str]) -> Option<String> {
        self.is_greeted = offered.contains(&GREETED);
        self.is_greeted.then(|| GREETED.to_owned())
    }

    fn on_message(&mut self, _: &Connection, message: Message) -> Result<()> {
        log::info!("Client {} received a message:{}", printable(&self.id), printable(&message.to_string()));
        message.as_text().into_iter().for_each(self.also);
        Ok(())
    }

    fn on_close(&mut self, connection: &Connection) {
        self.clients.remove(&self.id, connection);
        let code = connection.close_code().map(|code| format!(" {code}")).unwrap_or_default();
        let reason = connection.close_reason().map(|reason| format!(" {reason}")).unwrap_or_default();
        log::info!("Client {} is closed{code}{}", printable(&self.id), printable(&reason));
    }

    fn check_origin(&self, request: &Request, origin: &str) -> bool {
        let Some(origins) = &self.origins else { return true };
        request.is_same_origin(origin) || Origin::parse(origin).is_ok_and(|origin| origins.contains(&origin))
    }
}
