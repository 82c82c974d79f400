//! What an application writes: [`WebSocketHandler`] and [`RequestHandler`].
//!
//! Every method runs on the client's own thread. It may block as long as it likes: that delays this
//! client's next message, and nobody else's anything. If it panics, or returns an error, this
//! connection ends with code 1011. Its drop may panic too, which the log says.

use crate::connection::connection::Connection;
use crate::error::{Error, Result};
use crate::http::exchange::Exchange;
use crate::http::request::Request;
use crate::ws::message::Message;

/// One value per WebSocket, made by the function given to
/// [`Application::websocket`](crate::Application::websocket). Tornado's class of the same name.
pub trait WebSocketHandler: Send + 'static {
    /// A client asks to connect. Runs before the 101 is written, so it can read arguments and cookies,
    /// set headers and cookies, and refuse. `connection` may be written to and shared already: it waits
    /// until the 101 is out.
    ///
    /// # Errors
    /// [`Error::refused`](crate::Error::refused) refuses with that status, and with the headers and cookies that were
    /// set before. Any other error refuses with 500, and is logged. In both cases `on_close` does not run. It does
    /// if this panics, or has set what a 101 cannot have (a status, a body, a header with a line end), which are a
    /// 500 too, since the connection may have been shared before.
    fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
        let _ = (connection, exchange);
        Ok(())
    }

    /// A message has arrived, whole.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed) and
    /// [`Error::SlowConsumer`](crate::Error::SlowConsumer) are what `write_message` returns when the
    /// client leaves meanwhile: no failure. Any other error is logged and closes with 1011.
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()>;

    /// The connection has ended. Runs once for each `open` that did not refuse, whatever ended it;
    /// [`close_code`](Connection::close_code) and [`close_reason`](Connection::close_reason) are the peer's.
    fn on_close(&mut self, connection: &Connection) {
        let _ = connection;
    }

    /// A Ping has arrived; it has been answered.
    fn on_ping(&mut self, connection: &Connection, payload: &[u8]) {
        let _ = (connection, payload);
    }

    /// A Pong has arrived, perhaps the answer to a [`ping`](Connection::ping). Those that answer the server's own
    /// keepalive do not come here, see [`Connection::latency`].
    fn on_pong(&mut self, connection: &Connection, payload: &[u8]) {
        let _ = (connection, payload);
    }

    /// Returns whether a page from `origin` may connect. Asked if the request has an `Origin` header, which
    /// every browser sends. By default the origin's host and port must be the `Host` of the request.
    fn check_origin(&self, request: &Request, origin: &str) -> bool {
        request.is_same_origin(origin)
    }

    /// Picks one of the subprotocols that the client offers (RFC 6455, section 1.9), or none.
    fn select_subprotocol(&mut self, offered: &[&str]) -> Option<String> {
        let _ = offered;
        None
    }
}

/// One value per request, made by the function given to
/// [`Application::page`](crate::Application::page). Tornado's class of the same name.
///
/// A method that is not written here is answered with 405. HEAD is answered by `get`, with all that it does, and
/// without the body. OPTIONS is answered by the server: 204, with what [`methods`](RequestHandler::methods) says.
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
    /// Runs before `get`, `post`, `put` or `delete`, and before the body is read: here is the place to ask who it is.
    /// What it sets in the exchange stays for the method.
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
    /// An error is the answer, and the method does not run. If the request has a body, the connection ends behind it.
    fn prepare(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let _ = exchange;
        Ok(())
    }

    /// Answers GET and HEAD. The response gets an `ETag`, and is a 304 where the client has it already.
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        not_allowed(exchange)
    }

    /// Answers POST. The body is whole by now, [`max_body`](crate::Application::max_body) at most: it has been read on
    /// this thread, which held up nobody else.
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

    /// Returns the methods that are written, for the header `Allow` of a 405 and of OPTIONS. Nothing else
    /// depends on it: who writes `post` names it here. GET and HEAD unless written; the server adds OPTIONS.
    fn methods(&self) -> &'static [&'static str] {
        &["GET", "HEAD"]
    }

    /// Returns whether a page from `origin` may POST, PUT or DELETE here. Asked before the body is read, if the
    /// request has an `Origin` header, which browsers send with these. By default the origin has to be the
    /// request's own; another one gets a 403. This protects the user of a browser from other sites' pages
    /// (Tornado has XSRF tokens for it), and it does not tell who sends a request that is no browser's.
    fn check_origin(&self, request: &Request, origin: &str) -> bool {
        request.is_same_origin(origin)
    }
}

fn not_allowed(_: &Exchange<'_>) -> Result<()> {
    Err(Error::refused(405, "405: Method Not Allowed"))
}
