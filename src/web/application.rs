//! [`Application`]: routes and settings. Built before the server starts, never changed after.

use std::time::Duration;

use crate::web::cookies::CookieSecret;
use crate::web::handler::RequestHandler;
use crate::web::handler::WebSocketHandler;
use crate::web::observer::Observer;
use crate::web::static_files::StaticFiles;
use crate::web::stats::Meter;
use crate::web::wire::Delivery;

/// Bytes of stack without which a thread is not safe.
const MIN_STACK: usize = 64 << 10;

/// Makes a handler.
pub(crate) type Make<H> = Box<dyn Fn() -> Box<H> + Send + Sync>;

pub(crate) enum Route {
    Page(Make<dyn RequestHandler>),
    WebSocket(Make<dyn WebSocketHandler>),
    /// Everything below this path.
    Static(StaticFiles),
}

/// Limits and times, with Tornado's names where it has one.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) cookie_secret: Option<CookieSecret>,
    pub(crate) max_message: usize,
    pub(crate) max_backlog: usize,
    pub(crate) write_deadline: Duration,
    pub(crate) delivery: Delivery,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Option<Duration>,
    pub(crate) stack_size: usize,
}

/// Routes and settings. A route is an exact path, or a directory of files.
pub struct Application {
    routes: Vec<(String, Route)>,
    pub(crate) settings: Settings,
    pub(crate) observer: Observer,
    meter: Meter,
}

impl Default for Application {
    fn default() -> Application {
        Application::new()
    }
}

impl Application {
    /// No routes, and the settings' defaults.
    pub fn new() -> Application {
        let settings = Settings {
            cookie_secret: None,
            max_message: 10 << 20,
            max_backlog: 1 << 20,
            write_deadline: Duration::from_secs(10),
            delivery: Delivery::Inline,
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: None,
            stack_size: 512 << 10,
        };
        Application { routes: Vec::new(), settings, observer: Observer::default(), meter: Meter::default() }
    }

    /// A page at exactly `path`; `make` makes a handler for each request.
    pub fn page<H: RequestHandler>(
        self,
        path: &str,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Application {
        self.route(path, Route::Page(Box::new(move || Box::new(make()))))
    }

    /// A WebSocket at exactly `path`; `make` makes a handler for each connection.
    pub fn websocket<H: WebSocketHandler>(
        self,
        path: &str,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Application {
        self.route(path, Route::WebSocket(Box::new(move || Box::new(make()))))
    }

    /// Files below `prefix`, which ends with a slash: `/static/`.
    pub fn static_files(self, prefix: &str, files: StaticFiles) -> Application {
        self.route(prefix, Route::Static(files))
    }

    /// Signs secure cookies. Without it they are an error.
    pub fn cookie_secret(mut self, secret: CookieSecret) -> Application {
        self.settings.cookie_secret = Some(secret);
        self
    }

    /// Most bytes in a message from a client, 10 MiB by default. A larger one closes with 1009 when its
    /// header arrives (Tornado: `websocket_max_message_size`).
    pub fn max_message(mut self, bytes: usize) -> Application {
        self.settings.max_message = bytes;
        self
    }

    /// Bytes of backlog at which a client is a slow consumer, 1 MiB by default, 1 GiB at most. The
    /// push that finds that much waiting disconnects the client. A client's own messages are not read
    /// while more than half of it is waiting.
    pub fn max_backlog(mut self, bytes: usize) -> Application {
        self.settings.max_backlog = bytes;
        self
    }

    /// How long a client's backlog may stand still before it is disconnected, 10 s by default.
    pub fn write_deadline(mut self, deadline: Duration) -> Application {
        self.settings.write_deadline = deadline;
        self
    }

    /// Who writes what is pushed: the pushing thread, or a writer thread for each client.
    pub fn delivery(mut self, delivery: Delivery) -> Application {
        self.settings.delivery = delivery;
        self
    }

    /// A connection that has been silent for this long gets a Ping, 20 s by default; `None` for never
    /// (Tornado: `websocket_ping_interval`).
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Application {
        self.settings.ping_interval = interval.filter(|interval| !interval.is_zero());
        self
    }

    /// How long after that Ping the peer has to show a sign of life, or it is closed with 1011; as long
    /// as the interval by default (Tornado: `websocket_ping_timeout`).
    pub fn ping_timeout(mut self, timeout: Duration) -> Application {
        self.settings.ping_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        self
    }

    /// Bytes of stack of a client's thread: 512 KiB by default, in which `serde_json` may recurse as deep as
    /// it ever does, and no less than 64 KiB, in which a panic may print its backtrace. A stack that overflows
    /// ends the process. Only pages that were used once take memory; what a larger stack costs is its page
    /// tables, 1 KiB instead of 0.2 for each client.
    pub fn stack_size(mut self, bytes: usize) -> Application {
        self.settings.stack_size = bytes.max(MIN_STACK);
        self
    }

    /// Tells `observer` what the server's threads do.
    pub fn observer(mut self, observer: Observer) -> Application {
        self.observer = observer;
        self
    }

    /// Reads what the server counts, when there is one.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    fn route(mut self, path: &str, route: Route) -> Application {
        self.routes.push((path.to_owned(), route));
        self
    }

    /// The route of `path`, and for files what follows the prefix. The first that matches, exact paths
    /// before prefixes.
    pub(crate) fn find<'a>(&self, path: &'a str) -> Option<(&Route, &'a str)> {
        let is_prefix = |route: &Route| matches!(route, Route::Static(_));
        let mut exact = self.routes.iter().filter(|(at, route)| !is_prefix(route) && at == path);
        let mut below = self.routes.iter().filter(|(_, route)| is_prefix(route));
        let below = || below.find_map(|(at, route)| Some((route, path.strip_prefix(at.as_str())?)));
        exact.next().map(|(_, route)| (route, "")).or_else(below)
    }
}
