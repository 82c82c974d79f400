//! The traits that an application implements: [`WebSocketHandler`] and [`RequestHandler`].
//!
//! Every method runs on the client's own thread. It may block as long as it likes: that delays only this client's next
//! message. If it panics, or returns an error, this connection ends with code 1011. Its drop may panic too, and the log
//! says so.

use crate::connection::connection::Connection;
use crate::connection::messages::Messages;
use crate::error::{Error, Result};
use crate::http::exchange::Exchange;
use crate::http::request::Request;
use crate::ws::message::Message;

mod callbacks;

/// One value per WebSocket, made by the function given to
/// [`Application::websocket`](crate::Application::websocket). Tornado's class of the same name.
///
/// It has two forms. Code that reads from top to bottom is a function, or a struct with a method
/// [`run`](WebSocketHandler::run): it runs on the client's thread, takes one message after the other, and may block at
/// any point.
///
/// ```
/// use std::time::Duration;
///
/// use threadcast::{Application, Connection, Messages};
///
/// Application::new().websocket("/hello", || {
///     |connection: &Connection, messages: &mut Messages| {
///         connection.write_message("who are you?")?;
///         let Some(name) = messages.recv_timeout(Duration::from_secs(3))? else { return Ok(()) };
///         connection.write_message(format!("hello, {name}"))
///     }
/// });
/// ```
///
/// Tornado's form is a struct with a method for each event: `open`, `on_message`, `on_close`. The default `run` calls
/// them. A struct may have both forms: `open`, `run` and `on_close`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a WebSocket handler",
    label = "neither a struct that implements `WebSocketHandler`, nor a function `(&Connection, &mut Messages) -> Result<()>`",
    note = "a closure's parameters need their types: `|connection: &Connection, messages: &mut Messages| {{ .. Ok(()) }}`",
    note = "`websocket` takes a function that makes a handler for each connection, so a closure is within a closure: `|| |connection: &Connection, messages: &mut Messages| {{ .. }}`"
)]
pub trait WebSocketHandler: Send + 'static {
    /// A client asks to connect. Runs before the 101 is written, so it can read arguments and cookies, set headers and
    /// cookies, and refuse. `open` may already write to `connection` and share it: messages wait until the 101 is out.
    ///
    /// # Errors
    /// [`Error::refused`](crate::Error::refused) refuses with that status, and with the headers and cookies that were
    /// set before. Any other error refuses with 500, and is logged. In both cases `on_close` does not run. A panic, or
    /// a setting that a 101 cannot have (a status, a body, a header with a line end), is a 500 too. In these cases
    /// `on_close` runs, because other threads may have the connection already.
    fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        let _ = (connection, exchange);
        Ok(())
    }

    /// Runs on the client's thread, from behind the 101 to the end. The default reads until the end, and calls
    /// [`on_message`](WebSocketHandler::on_message), [`on_ping`](WebSocketHandler::on_ping) and
    /// [`on_pong`](WebSocketHandler::on_pong).
    ///
    /// When it returns, the WebSocket ends: `Ok` closes with 1000, unless the connection is closed already. All
    /// messages that it has written are sent first; unread messages from the client are dropped.
    ///
    /// # Errors
    /// [`Error::closing`](crate::Error::closing) closes with that code. [`Error::TimedOut`](crate::Error::TimedOut), as
    /// from [`recv_timeout`](Messages::recv_timeout), closes with 1008 `timed out`. Neither is a failure. Any other
    /// error is logged, and closes with 1011. If the connection has closed already, an error only reports that, usually
    /// [`Error::Closed`](crate::Error::Closed) from `write_message`. This is an ordinary end.
    fn run(&mut self, connection: &Connection, messages: &mut Messages) -> Result<()> {
        callbacks::run(self, connection, messages)
    }

    /// A message has arrived, whole.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed) and [`Error::SlowConsumer`](crate::Error::SlowConsumer) come from
    /// `write_message` when the client has left. They are not failures. Any other error ends it as
    /// [`run`](WebSocketHandler::run)'s does.
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        let _ = (connection, message);
        Ok(())
    }

    /// The connection has ended. Runs once for each `open` that did not refuse, whatever the cause;
    /// [`close_code`](Connection::close_code) and [`close_reason`](Connection::close_reason) are the peer's.
    fn on_close(&mut self, connection: &Connection) {
        let _ = connection;
    }

    /// A Ping has arrived; it has been answered.
    fn on_ping(&mut self, connection: &Connection, payload: &[u8]) {
        let _ = (connection, payload);
    }

    /// A Pong has arrived, perhaps the answer to a [`ping`](Connection::ping). It does not see answers to the server's
    /// own keepalive; see [`Connection::latency`].
    fn on_pong(&mut self, connection: &Connection, payload: &[u8]) {
        let _ = (connection, payload);
    }

    /// Returns whether a page from `origin` may connect. The server calls it if the request has an `Origin` header,
    /// which every browser sends. By default the origin's host and port must be the `Host` of the request.
    fn check_origin(&self, request: &Request, origin: &str) -> bool {
        request.is_same_origin(origin)
    }

    /// Picks one of the subprotocols that the client offers (RFC 6455, section 1.9), or none. The server calls it
    /// unless the maker has already chosen one, by [`choose_subprotocol`](Exchange::choose_subprotocol).
    fn select_subprotocol(&mut self, offered: &[&str]) -> Option<String> {
        let _ = offered;
        None
    }
}

/// A function is a handler: it runs on the client's thread.
impl<F> WebSocketHandler for F
where
    F: FnMut(&Connection, &mut Messages) -> Result<()> + Send + 'static,
{
    fn run(&mut self, connection: &Connection, messages: &mut Messages) -> Result<()> {
        self(connection, messages)
    }
}

/// One value per request, made by the function given to
/// [`Application::page`](crate::Application::page). Tornado's class of the same name.
///
/// The server answers an unimplemented method with 405. `get` also answers HEAD; the server then omits the body. The
/// server answers OPTIONS itself: 204, with the methods that [`methods`](RequestHandler::methods) returns.
///
/// ```
/// use threadcast::{Application, Exchange, RequestHandler, Result};
///
/// struct Orders;
///
/// impl RequestHandler for Orders {
///     fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
///         let what = exchange.get_body_argument("what")?; // missing: the client gets a 400
///         exchange.set_status(201);
///         exchange.set_header("Content-Type", "text/plain; charset=utf-8")?;
///         exchange.write(format!("{} bytes, {what}", exchange.body().len()));
///         Ok(())
///     }
///     fn methods(&self) -> &'static [&'static str] {
///         &["POST"]
///     }
/// }
/// let application = Application::new().page("/orders", || Orders).max_body(64 << 10);
/// ```
///
/// # Errors
/// Of all methods: [`Error::refused`](crate::Error::refused) answers with that status, and with the headers and cookies
/// that were set before; any other error answers with a bare 500, and is logged.
pub trait RequestHandler: 'static {
    /// Runs before `get`, `post`, `put` or `delete`, and before the body is read. Check the user's identity in this
    /// method. Its settings in the exchange stay for the method.
    ///
    /// ```
    /// use threadcast::{Error, Exchange, RequestHandler, Result};
    ///
    /// struct Upload;
    ///
    /// impl RequestHandler for Upload {
    ///     fn prepare(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
    ///         match exchange.get_secure_cookie("user")? {
    ///             Some(_) => Ok(()),
    ///             None => Err(Error::refused(401, "Who are you?")), // and not a byte of the body is read
    ///         }
    ///     }
    ///     fn put(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
    ///         println!("{} bytes", exchange.body().len());
    ///         Ok(())
    ///     }
    ///     fn methods(&self) -> &'static [&'static str] {
    ///         &["PUT"]
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// An error becomes the answer, and the method does not run. If the request has a body, the connection ends behind
    /// it.
    fn prepare(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let _ = exchange;
        Ok(())
    }

    /// Answers GET and HEAD. The response gets an `ETag`, and becomes a 304 if the client has it already.
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        not_allowed(exchange)
    }

    /// Answers POST. The body is whole by now, [`max_body`](crate::Application::max_body) at most: it has been read on
    /// this thread, without delaying other clients.
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        not_allowed(exchange)
    }

    /// Answers PUT, with its body.
    fn put(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        not_allowed(exchange)
    }

    /// Answers DELETE, which may have a body.
    fn delete(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        not_allowed(exchange)
    }

    /// Returns the implemented methods, for the header `Allow` of a 405 and of OPTIONS. Nothing else depends on it: a
    /// handler with `post` lists it. The default is GET and HEAD; the server adds OPTIONS.
    fn methods(&self) -> &'static [&'static str] {
        &["GET", "HEAD"]
    }

    /// Returns whether a page from `origin` may POST, PUT or DELETE. The server calls it before it reads the body, if
    /// the request has an `Origin` header, which browsers send with these. By default the origin has to be the
    /// request's own; another one gets a 403. This protects the user of a browser from other sites' pages (Tornado uses
    /// XSRF tokens for this). It does not authenticate clients other than browsers.
    fn check_origin(&self, request: &Request, origin: &str) -> bool {
        request.is_same_origin(origin)
    }
}

fn not_allowed(_: &Exchange<'_>) -> Result<()> {
    Err(Error::refused(405, "405: Method Not Allowed"))
}
