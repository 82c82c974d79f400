//! [`Application`]: routes and settings. Built before the server starts, never changed after.

mod limits;

use std::fmt;
use std::time::Duration;

use crate::connection::settings::Settings;
use crate::error::Result;
use crate::http::cookies::CookieSecret;
use crate::http::exchange::Exchange;
use crate::http::router::Router;
use crate::http::static_files::StaticFiles;
use crate::metrics::Meter;
use crate::net::seal::Delivery;
#[cfg(feature = "tls")]
use crate::net::tls::config::TlsConfig;
use crate::observer::Observer;
use crate::panics::Contained;
use crate::server::handler::{RequestHandler, WebSocketHandler};
use crate::server::settings::ServerSettings;

mod access_log;
mod hosts;
mod memory;
mod sockets;
mod websockets;
mod proxies;

/// Makes a handler. Its last owner may be any thread of the server.
pub(crate) type Make<H> = Contained<Box<dyn Fn() -> Box<H> + Send + Sync>>;

/// Makes a WebSocket's handler from a request, or refuses it.
pub(crate) type MakeFor =
    Contained<Box<dyn Fn(&mut Exchange<'_>) -> Result<Box<dyn WebSocketHandler>> + Send + Sync>>;

/// The handlers for a path. One path may have a page and a WebSocket.
#[derive(Default)]
pub(crate) struct Route {
    pub(crate) page: Option<Make<dyn RequestHandler>>,
    pub(crate) websocket: Option<MakeFor>,
    /// Everything below this path.
    pub(crate) files: Option<StaticFiles>,
    /// Whether the page answers requests for any `Host`.
    pub(crate) any_host: bool,
}

/// Routes and settings. A route is a path, or a directory of files.
///
/// A whole segment of a path may be a parameter, `/room/{name}`, which [`path_argument`](crate::Request::path_argument)
/// reads. Where two routes match, a path without parameters wins over one with parameters, and files come last. One
/// path may have a page and a WebSocket: a GET with `Upgrade: websocket` is for the WebSocket.
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

    /// Starts without routes, with default settings.
    pub fn new() -> Application {
        let (observer, meter) = (Observer::default(), Meter::default());
        let (connections, settings) = (Settings::default(), ServerSettings::default());
        Application { routes: Router::new(), connections, settings, observer, meter }
    }

    /// Adds a page at `path`; `make` makes a handler for each request.
    ///
    /// # Panics
    /// If no request can have this path (it must begin with a slash, and a parameter must be a whole segment), or if it
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
        self.below(prefix).page = Some(page);
        self
    }

    /// Adds files below `prefix`, which ends with a slash: `/static/`. They have `Cache-Control: no-cache`: a browser
    /// that has cached one asks before each use whether it has changed, and gets a 304 if not.
    ///
    /// # Panics
    /// If `prefix` does not begin and end with a slash, has parameters, or is there already.
    #[track_caller]
    pub fn static_files(mut self, prefix: &str, files: StaticFiles) -> Application {
        self.below(prefix).files = Some(files);
        self
    }

    /// Returns the route below a prefix, which must not have a page or files yet.
    #[track_caller]
    fn below(&mut self, prefix: &str) -> &mut Route {
        let route = self.routes.entry_below(prefix, false);
        assert!(route.page.is_none() && route.files.is_none(), "there are two routes below {prefix}");
        route
    }

    /// Signs secure cookies. Without it they are an error.
    pub fn cookie_secret(mut self, secret: CookieSecret) -> Application {
        self.settings.cookies.secret = Some(secret);
        self
    }

    /// Makes every cookie `Secure`: browsers take and send it over HTTPS only. Off by default; for a server that all
    /// clients reach by HTTPS.
    pub fn cookies_over_https_only(mut self) -> Application {
        self.settings.cookies.https_only = true;
        self
    }

    /// Sets the most bytes in a message from a client, 10 MiB by default. Above 1 GiB, the memory that is free when the
    /// server starts bounds it. A larger one closes with 1009 when its header arrives (Tornado:
    /// `websocket_max_message_size`).
    pub fn max_message(mut self, bytes: usize) -> Application {
        self.connections.max_message = bytes;
        self
    }

    /// Sets the most bytes in the body of a request, 1 MiB by default. The server refuses a larger one with 413, before
    /// reading it if the length is known (Tornado: `max_body_size`).
    pub fn max_body(mut self, bytes: usize) -> Application {
        self.settings.max_body = bytes;
        self
    }

    /// Sets the bytes of backlog at which a client is a slow consumer, 1 MiB by default, 1 GiB at most. A push that
    /// finds this many bytes behind the message in progress disconnects the client, so a single message may be larger.
    /// While more than half of the limit waits, the server does not read the client's messages. Messages written in
    /// `open` do not count.
    ///
    /// # Panics
    /// If `bytes` is 0, or more than 1 GiB.
    pub fn max_backlog(mut self, bytes: usize) -> Application {
        self.connections.set_max_backlog(bytes);
        self
    }

    /// Sets the most bytes that may wait for and from all clients together, in backlogs, bodies, and incomplete
    /// messages; by default a quarter of the memory that is free when the server starts. At this limit, the client with
    /// the largest incomplete message or body has to give way, with 1009 or 413. If no other client holds as much as
    /// the one that needs room, that one gives way: a push disconnects its client as a slow consumer, a message closes
    /// with 1013, a body gets 503. See [`guide::attacks`](crate::guide::attacks).
    pub fn max_buffered(mut self, bytes: u64) -> Application {
        self.settings.max_buffered = Some(bytes);
        self
    }

    /// Compresses messages of at least this size, e.g. 1 KiB, for clients that offer permessage-deflate; `None`, the
    /// default, declines the offer. A message that would not become smaller stays uncompressed, and so does one that
    /// finds all 8 compressors of the process busy. See [`guide::compression`](crate::guide::compression).
    #[cfg(feature = "deflate")]
    pub fn compression(mut self, from: Option<usize>) -> Application {
        self.connections.compression = from;
        self
    }

    /// Sets how long a client's backlog may go without progress before the server disconnects it, 10 s by default.
    ///
    /// # Panics
    /// If it is zero.
    pub fn write_deadline(mut self, deadline: Duration) -> Application {
        self.connections.set_write_deadline(deadline);
        self
    }

    /// Sets which thread writes pushed messages: the pushing thread, or a writer thread for each client.
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

    /// Sets how long after that Ping the peer has to show a sign of life, or the server closes it with 1011. The
    /// default, and zero, mean the interval (Tornado: `websocket_ping_timeout`).
    pub fn ping_timeout(mut self, timeout: Duration) -> Application {
        self.connections.ping_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        self
    }

    /// Sets the bytes of stack of a client's thread: 512 KiB by default, enough for the deepest recursion of
    /// `serde_json`. The minimum is 64 KiB, enough for a panic to print its backtrace. A stack that overflows ends the
    /// process. Only pages that were used once take memory; a larger stack costs page tables, 1 KiB instead of 0.2 for
    /// each client.
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

    /// Reports to `observer` what the server's threads do.
    pub fn observer(mut self, observer: Observer) -> Application {
        self.observer = observer;
        self
    }

    /// Returns the reader of the server's counters, for use once the server runs.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }
}
