//! [`Application`]: routes and settings. Built before the server starts, never changed after.

mod limits;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::connection::settings::Settings;
use crate::error::Result;
use crate::http::cookies::CookieSecret;
use crate::http::exchange::Exchange;
use crate::http::router::Router;
use crate::http::static_files::StaticFiles;
use crate::metrics::Meter;
#[cfg(feature = "tls")]
use crate::net::tls::config::TlsConfig;
use crate::net::transport::Delivery;
use crate::observer::Observer;
use crate::panics::Contained;
use crate::server::handler::{RequestHandler, WebSocketHandler};
use crate::server::settings::ServerSettings;

mod hosts;
mod memory;

/// Makes a handler. Its last owner may be any thread of the server.
pub(crate) type Make<H> = Contained<Box<dyn Fn() -> Box<H> + Send + Sync>>;

/// Makes a WebSocket's handler of a request, or refuses it.
pub(crate) type MakeFor =
    Contained<Box<dyn Fn(&mut Exchange<'_>) -> Result<Box<dyn WebSocketHandler>> + Send + Sync>>;

/// What answers the requests for a path. One path may have a page and a WebSocket.
#[derive(Default)]
pub(crate) struct Route {
    pub(crate) page: Option<Make<dyn RequestHandler>>,
    pub(crate) websocket: Option<MakeFor>,
    /// Everything below this path.
    pub(crate) files: Option<StaticFiles>,
    /// Whether the page answers whatever `Host` is asked for.
    pub(crate) any_host: bool,
}

/// Routes and settings. A route is a path, or a directory of files.
///
/// A whole segment of a path may be a parameter, `/room/{name}`, which
/// [`path_argument`](crate::Request::path_argument) reads. Where two routes match, a path without parameters is
/// before one with them, and files are last. One path may have a page and a WebSocket: a GET with
/// `Upgrade: websocket` is for the WebSocket.
pub struct Application {
    pub(crate) routes: Router<Route>,
    pub(crate) connections: Settings,
    pub(crate) settings: ServerSettings,
    pub(crate) observer: Observer,
    meter: Meter,
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").finish_non_exhaustive()
    }
}

impl Default for Application {
    fn default() -> Application {
        Application::new()
    }
}

impl Application {
    /// Bytes of stack without which a client's thread is not safe.
    pub const MIN_STACK: usize = 64 << 10;

    /// Starts without routes, with the settings' defaults.
    pub fn new() -> Application {
        let (observer, meter) = (Observer::default(), Meter::default());
        let (connections, settings) = (Settings::default(), ServerSettings::default());
        Application { routes: Router::new(), connections, settings, observer, meter }
    }

    /// Adds a page at `path`; `make` makes a handler for each request.
    ///
    /// # Panics
    /// If no request can have this path (it begins with a slash, and a parameter is a whole segment), or if it
    /// conflicts with another one.
    #[track_caller]
    pub fn page<H: RequestHandler>(
        mut self,
        path: &str,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Application {
        let page = &mut self.routes.entry(path).page;
        assert!(page.is_none(), "there are two pages at {path}");
        *page = Some(Contained::new(Box::new(move || Box::new(make()))));
        self
    }

    /// Adds a page for every path below `prefix` that no other route matches (Tornado: `default_handler_class`, for
    /// the prefix `/`).
    ///
    /// # Panics
    /// If `prefix` does not begin and end with a slash, has parameters, or is there already.
    #[track_caller]
    pub fn pages<H: RequestHandler>(
        mut self,
        prefix: &str,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Application {
        let page: Make<dyn RequestHandler> = Contained::new(Box::new(move || Box::new(make())));
        self.routes.add_below(prefix, Route { page: Some(page), ..Route::default() });
        self
    }

    /// Adds a WebSocket at exactly `path`; `make` makes a handler for each connection.
    pub fn websocket<H: WebSocketHandler>(
        self,
        path: &str,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Application {
        self.websocket_with(path, move |_| Ok(make()))
    }

    /// Adds a WebSocket at exactly `path`; `make` makes a handler of a request, so its fields need no
    /// placeholders. It is called when the head has been checked, and what it makes is asked about the origin
    /// ([`check_origin`](WebSocketHandler::check_origin)) before its `open` runs. Here nothing is registered, which
    /// `open` does: the request may still be refused. An `Err` refuses it, as in `open`.
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
    pub fn websocket_with<H: WebSocketHandler>(
        mut self,
        path: &str,
        make: impl Fn(&mut Exchange<'_>) -> Result<H> + Send + Sync + 'static,
    ) -> Application {
        let make: MakeFor = Contained::new(Box::new(move |exchange| Ok(Box::new(make(exchange)?))));
        let websocket = &mut self.routes.entry(path).websocket;
        assert!(websocket.is_none(), "there are two WebSockets at {path}");
        *websocket = Some(make);
        self
    }

    /// Adds files below `prefix`, which ends with a slash: `/static/`. They have `Cache-Control: no-cache`: a browser that
    /// keeps one asks before each use whether it has changed, and gets a 304 if not.
    ///
    /// # Panics
    /// If `prefix` does not begin and end with a slash, has parameters, or is there already.
    #[track_caller]
    pub fn static_files(mut self, prefix: &str, files: StaticFiles) -> Application {
        self.routes.add_below(prefix, Route { files: Some(files), ..Route::default() });
        self
    }

    /// Signs secure cookies. Without it they are an error.
    pub fn cookie_secret(mut self, secret: CookieSecret) -> Application {
        self.settings.cookies.secret = Some(secret);
        self
    }

    /// Makes every cookie `Secure`: browsers take and send it over HTTPS only. Off by default; for a server that
    /// everybody reaches by HTTPS.
    pub fn cookies_over_https_only(mut self) -> Application {
        self.settings.cookies.https_only = true;
        self
    }

    /// Trusts the proxies at these addresses: of a request that comes from one of them, the client's address is taken
    /// from `X-Forwarded-For`, and whether it came by HTTPS from `X-Forwarded-Proto`
    /// ([`peer_addr`](crate::Request::peer_addr), [`is_secure`](crate::Request::is_secure); Tornado: `xheaders=True`).
    /// Off by default, since anybody can send these headers. In a list the last address counts that is not one of
    /// these; what is no address or scheme is ignored. The proxy has to set both: for nginx
    /// `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for` and
    /// `proxy_set_header X-Forwarded-Proto $scheme`.
    ///
    /// ```
    /// use std::net::{IpAddr, Ipv4Addr};
    ///
    /// threadcast::Application::new().xheaders([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    /// ```
    pub fn xheaders(mut self, trusted: impl IntoIterator<Item = IpAddr>) -> Application {
        self.settings.proxies = trusted.into_iter().collect();
        self
    }

    /// Sets the most bytes in a message from a client, 10 MiB by default; above 1 GiB no more than the memory that is
    /// left when the server starts. A larger one closes with 1009 when its header arrives (Tornado:
    /// `websocket_max_message_size`).
    pub fn max_message(mut self, bytes: usize) -> Application {
        self.connections.max_message = bytes;
        self
    }

    /// Sets the most bytes in the body of a request, 1 MiB by default. A larger one is refused with 413, before it
    /// is read where its length is known (Tornado: `max_body_size`).
    pub fn max_body(mut self, bytes: usize) -> Application {
        self.settings.max_body = bytes;
        self
    }

    /// Sets the bytes of backlog at which a client is a slow consumer, 1 MiB by default, 1 GiB at most. The
    /// push that finds that much waiting behind the message that is being written disconnects the client, so a message
    /// may be larger than this. A client's own messages are not read while more than half of it is waiting. What
    /// `open` writes is not counted.
    ///
    /// # Panics
    /// If there are none, or more than 1 GiB.
    pub fn max_backlog(mut self, bytes: usize) -> Application {
        self.connections.set_max_backlog(bytes);
        self
    }

    /// Sets the bytes that may wait for and from all clients together, in backlogs, bodies, and messages that are
    /// not whole; by default a quarter of the memory that is left when the server starts. At this bound the client has to
    /// give way, with 1009 or 413, that holds most with a message or a body that is not whole. If nobody holds as much
    /// as the one that needs room, that one has to: a push disconnects its client as a slow consumer, a message closes
    /// with 1013, a body gets 503. See [`guide::attacks`](crate::guide::attacks).
    pub fn max_buffered(mut self, bytes: u64) -> Application {
        self.settings.max_buffered = Some(bytes);
        self
    }

    /// Sets the size from which messages are compressed for clients that offer permessage-deflate: 1 KiB is a good
    /// one, `None`, the default, never agrees to it. A message that would not become smaller stays as it is, and
    /// so does one that finds all 8 compressors of the process busy. See [`guide::compression`](crate::guide::compression).
    #[cfg(feature = "deflate")]
    pub fn compression(mut self, from: Option<usize>) -> Application {
        self.connections.compression = from;
        self
    }

    /// Sets how long a client's backlog may stand still before it is disconnected, 10 s by default.
    ///
    /// # Panics
    /// If it is zero: no client is that fast.
    pub fn write_deadline(mut self, deadline: Duration) -> Application {
        self.connections.set_write_deadline(deadline);
        self
    }

    /// Sets who writes what is pushed: the pushing thread, or a writer thread for each client.
    pub fn delivery(mut self, delivery: Delivery) -> Application {
        self.connections.delivery = delivery;
        self
    }

    /// Sets the silence after which a connection gets a Ping, 20 s by default; `None` or zero for never
    /// (Tornado: `websocket_ping_interval`).
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Application {
        self.connections.ping_interval = interval.filter(|interval| !interval.is_zero());
        self
    }

    /// Sets how long after that Ping the peer has to show a sign of life, or it is closed with 1011; as long
    /// as the interval by default, or if it is zero (Tornado: `websocket_ping_timeout`).
    pub fn ping_timeout(mut self, timeout: Duration) -> Application {
        self.connections.ping_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        self
    }

    /// Sets the bytes of stack of a client's thread: 512 KiB by default, in which `serde_json` may recurse as deep as
    /// it ever does, and no less than 64 KiB, in which a panic may print its backtrace. A stack that overflows
    /// ends the process. Only pages that were used once take memory; what a larger stack costs is its page
    /// tables, 1 KiB instead of 0.2 for each client.
    ///
    /// # Panics
    /// If it is less than [`MIN_STACK`](Application::MIN_STACK).
    pub fn stack_size(mut self, bytes: usize) -> Application {
        let least = Application::MIN_STACK;
        assert!(bytes >= least, "a client's stack has {least} bytes at least, not {bytes}");
        self.settings.stack_size = bytes;
        self
    }

    /// Serves `https` and `wss`, and nothing else on its port (Tornado: `ssl_options`).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsConfig) -> Application {
        self.settings.tls = Some(tls);
        self
    }

    /// Tells `observer` what the server's threads do.
    pub fn observer(mut self, observer: Observer) -> Application {
        self.observer = observer;
        self
    }

    /// Returns what reads the server's counters, once there is one.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }
}
