//! The tutorial's two handlers: [`IndexHandler`] and [`TimeHandler`]. They run on `client-N`.

use std::sync::Arc;
use std::time::Instant;

use crate::clock::clients::{Clients, MAX_ID};
use crate::clock::greeting::Greeting;
use crate::clock::received_lines::ReceivedLines;
use crate::clock::topics::Topics;
use threadcast::{
    Application, CloseCode, Connection, Error, Exchange, Fleet, Message, Origin, Request, RequestHandler,
    Result, StaticFiles, WebSocketHandler, printable,
};

/// The subprotocol (RFC 6455, section 1.9) of a client that gets the interval before the first push, and the topic of
/// each published message. With the interval it can tell a silent connection from a slow clock. The page offers it.
const GREETED: &str = "threadcast.1";

/// The page's permissions. It may open any WebSocket, since a proxy may serve it under another name.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; \
                      form-action 'self'";

/// The page and what it needs, compiled in.
pub const PAGES: StaticFiles = StaticFiles::Embedded(&[
    ("index.html", include_bytes!("../../www/index.html")),
    ("base.css", include_bytes!("../../www/base.css")),
    ("clock.css", include_bytes!("../../www/clock.css")),
    ("base.js", include_bytes!("../../www/base.js")),
    ("trouble.js", include_bytes!("../../www/trouble.js")),
    ("clock.js", include_bytes!("../../www/clock.js")),
    ("clock-view.js", include_bytes!("../../www/clock-view.js")),
    ("favicon.svg", include_bytes!("../../www/favicon.svg")),
]);

/// The state that the handlers share.
pub struct Site {
    /// The clients that get the time.
    pub clients: Arc<Clients>,
    /// Where the page is.
    pub pages: StaticFiles,
    /// Origins that may connect in addition to the page itself; all of them if `None`, as in the tutorial.
    pub origins: Option<Vec<Origin>>,
    /// Called with each text message, when it has been logged.
    pub also: fn(&str),
    /// The first message to a client of the subprotocol `threadcast.1`.
    pub greeting: Arc<Greeting>,
    /// The subscribers of each topic; `None` where nobody can publish.
    pub topics: Option<Arc<Topics>>,
    /// The fleet in which an Id is one client's.
    pub fleet: Option<Arc<Fleet>>,
}

/// Adds the two routes of the tutorial, and the files that its page needs.
pub fn routes(application: Application, site: Site) -> Application {
    let files = site.pages.clone();
    let (index, site) = (files.clone(), Arc::new(site));
    application
        .page("/", move || IndexHandler { pages: index.clone() })
        .websocket("/websocket", move || TimeHandler {
            site: site.clone(),
            is_greeted: false,
            id: String::new(),
            lines: ReceivedLines::default(),
        })
        .static_files("/static/", files)
}

/// Renders the page with the WebSocket client in it.
pub struct IndexHandler {
    pages: StaticFiles,
}

impl RequestHandler for IndexHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.set_header("Cache-Control", "no-cache")?;
        // Messages stay text on the page, even if the page has a mistake. The permissions of a custom page are its
        // author's choice.
        if matches!(self.pages, StaticFiles::Embedded(_)) {
            exchange.set_header("Content-Security-Policy", POLICY)?;
        }
        exchange.render(&self.pages, "index.html")
    }
}

/// A session of the clock, and the tutorial's `MyWebSocketHandler`.
pub struct TimeHandler {
    site: Arc<Site>,
    /// Set by `select_subprotocol`, which runs before `open`.
    is_greeted: bool,
    /// Set once, by `open`.
    id: String,
    lines: ReceivedLines,
}

impl TimeHandler {
    fn log_more(&self, more: Option<u64>) {
        if let Some(more) = more {
            log::info!("Client {} received {more} more messages than the log shows", printable(&self.id));
        }
    }

    /// Subscribes the client, and greets it again if its `hello` is outdated by then.
    #[inline(never)]
    fn subscribe(
        &self,
        connection: &Connection,
        exchange: &Exchange<'_>,
        hello: Option<Message>,
    ) -> Result<()> {
        let Some(topics) = &self.site.topics else { return Ok(()) };
        topics.subscribe(connection, &self.id, exchange, self.is_greeted)?;
        let now = self.site.greeting.message();
        if hello.is_some_and(|hello| hello != now) { connection.write_message(now) } else { Ok(()) }
    }
}

impl WebSocketHandler for TimeHandler {
    fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        self.id = exchange.get_argument("Id")?;
        if self.id.len() > MAX_ID {
            return Err(Error::refused(400, format!("An Id has at most {MAX_ID} bytes")));
        }
        connection.set_nodelay(true)?;
        let hello = self.is_greeted.then(|| self.site.greeting.message());
        if let Some(hello) = hello.clone() {
            // Before it is registered, and so before any push.
            connection.write_message(hello)?;
        }
        if self.site.topics.is_some() {
            self.subscribe(connection, exchange, hello)?;
        }
        if let Some(older) = self.site.clients.register(&self.id, connection) {
            // If it is closing already, it has nothing to learn from this.
            let CloseCode { code, reason, .. } = CloseCode::REPLACED;
            let _ = older.close(Some(code), Some(reason));
        }
        if let Some(fleet) = &self.site.fleet {
            // If it is closed already, a newer client has its Id.
            let _ = fleet.claim(&self.id, connection);
        }
        Ok(())
    }

    fn select_subprotocol(&mut self, offered: &[&str]) -> Option<String> {
        self.is_greeted = offered.contains(&GREETED);
        self.is_greeted.then(|| GREETED.to_owned())
    }

    fn on_message(&mut self, _: &Connection, message: Message) -> Result<()> {
        let (has_line, more) = self.lines.count(Instant::now());
        self.log_more(more);
        if has_line {
            let shown = printable(&message).of_bytes(message.as_bytes().len());
            log::info!("Client {} received a message:{shown}", printable(&self.id));
        }
        message.as_text().into_iter().for_each(self.site.also);
        Ok(())
    }

    fn on_close(&mut self, connection: &Connection) {
        self.site.clients.remove(&self.id, connection);
        let more = self.lines.rest();
        self.log_more(more);
        let code = connection.close_code().map(|code| format!(" {code}")).unwrap_or_default();
        let reason = connection.close_reason().map(|reason| format!(" {reason}")).unwrap_or_default();
        log::info!("Client {} is closed{code}{}", printable(&self.id), printable(reason));
    }

    fn check_origin(&self, request: &Request, origin: &str) -> bool {
        let Some(origins) = &self.site.origins else { return true };
        request.is_same_origin(origin) || Origin::parse(origin).is_ok_and(|origin| origins.contains(&origin))
    }
}
