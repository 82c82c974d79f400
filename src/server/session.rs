//! A WebSocket from `open` to `on_close`, on `client-N`. Handlers of WebSockets are called here alone.
//!
//! Never here: a push that blocks, a handler's call that is not `guarded`.

use std::io::ErrorKind;
use std::thread;

use crate::connection::connection::Connection;
use crate::connection::reader::{End, Incoming, Reader};
use crate::error::{Error, Result};
use crate::http::exchange::Exchange;
use crate::http::request::Request;
use crate::metrics::DisconnectReason;
use crate::observer::Event;
use crate::panics::Contained;
use crate::server::application::MakeFor;
use crate::server::client::Client;
use crate::server::guarded::{Panicked, guarded, guarded_result};
use crate::server::handler::WebSocketHandler;
use crate::ws::handshake::{self, Upgrade};
use crate::ws::message::Message;

/// A handler that has agreed to the request, until its `on_close` has run.
pub(crate) struct Session<'a> {
    handler: Contained<Box<dyn WebSocketHandler>>,
    connection: &'a Connection,
}

impl<'a> Session<'a> {
    /// Makes a handler and asks it. Returns the session and its 101, or the refusal.
    ///
    /// A handler's `open` may go deep. So what lies below it is small: the exchange is on the heap, and each step has
    /// its own stack.
    #[inline(never)]
    pub(crate) fn open(
        make: &MakeFor,
        client: &'a Client,
        request: &Request,
        mut upgrade: Upgrade,
    ) -> Result<(Session<'a>, Vec<u8>)> {
        let connection = &client.connection;
        #[cfg(feature = "deflate")]
        if let Some(bits) = upgrade.compress(request, connection.state().settings.compression)? {
            connection.set_compressed(bits);
        }
        let mut exchange = Box::new(Exchange::new(request, &client.server.settings.cookies));
        let handler = agree(make, connection, &mut exchange, &mut upgrade)?;
        let mut session = Session { handler, connection };
        session.on_open(&mut exchange)?;
        match head(*exchange, upgrade) {
            Ok(head) => Ok((session, head)),
            Err(error) => {
                session.close();
                Err(error)
            }
        }
    }

    #[inline(never)]
    fn on_open(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let Session { handler, connection } = self;
        let open = || {
            let opened = handler.open(connection, exchange);
            exchange.keep_headers(opened)
        };
        guarded_result(connection, "open", open).unwrap_or_else(|panicked| {
            // It may have shared the connection before; a handler that refused has decided not to.
            self.on_close();
            Err(panicked.into())
        })
    }

    /// Reads until the end, and sends the Close frame that it calls for. `early` came in with the head.
    #[inline(never)]
    pub(crate) fn run(&mut self, early: Vec<u8>) -> DisconnectReason {
        let mut reader = Reader::new(self.connection, early);
        match self.read_loop(&mut reader) {
            End::Over => DisconnectReason::Done,
            End::Lost(error) => {
                // After a reset nothing can be written, and perhaps no pump is there yet that would notice.
                if error.kind() == ErrorKind::ConnectionReset {
                    self.connection.outbox().kill(DisconnectReason::Done);
                }
                DisconnectReason::Done
            }
            End::Fail(code, reason, disconnect) => {
                // Nothing is read any more, so no answer is awaited.
                self.connection.set_close(None, None);
                log::debug!(target: crate::LOG, "{}: closing with {code} {reason}", self.connection);
                // Not accepted if a Close is out already: then there is nothing to add.
                let _ = self.connection.close(Some(code), Some(reason));
                disconnect
            }
        }
    }

    /// Runs `on_close`.
    pub(crate) fn close(mut self) {
        self.on_close();
    }

    #[inline(never)]
    fn on_close(&mut self) {
        let Session { handler, connection } = self;
        connection.report(Event::Closed { code: connection.close_code() });
        // A panic here has been logged, and there is nothing left that it could end.
        let _ = guarded(connection, "on_close", || handler.on_close(connection));
    }

    fn read_loop(&mut self, reader: &mut Reader) -> End {
        loop {
            let incoming = match reader.next() {
                Ok(incoming) => incoming,
                Err(end) => return end,
            };
            let handled = match incoming {
                Incoming::Message(message) => self.deliver(message),
                Incoming::Ping(payload) => self.guarded("on_ping", |h, c| h.on_ping(c, &payload)),
                Incoming::Pong(payload) => self.guarded("on_pong", |h, c| h.on_pong(c, &payload)),
                Incoming::Close | Incoming::Nothing => Ok(()),
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    /// Not inlined: an idle client's stack has no room for it.
    #[inline(never)]
    fn deliver(&mut self, message: Message) -> Result<(), End> {
        let Session { handler, connection } = self;
        let handled = guarded_result(connection, "on_message", || handler.on_message(connection, message));
        match handled.map_err(failed)? {
            Ok(()) => Ok(()),
            Err(error @ (Error::Closed | Error::SlowConsumer { .. })) => {
                if !connection.is_closed() {
                    log::debug!(target: crate::LOG, "{connection}: on_message ended early, and goes on with the next message; of another connection: {error}");
                }
                Ok(())
            }
            Err(error) => {
                log::error!(target: crate::LOG, "{}: on_message failed: {}", self.connection, error.one_line());
                Err(End::Fail(1011, "internal error", DisconnectReason::Failed))
            }
        }
    }

    fn guarded<T>(
        &mut self,
        what: &'static str,
        call: impl FnOnce(&mut dyn WebSocketHandler, &Connection) -> T,
    ) -> Result<T, End> {
        let Session { handler, connection } = self;
        guarded(connection, what, || call(&mut ***handler, connection)).map_err(failed)
    }
}

fn failed(Panicked: Panicked) -> End {
    End::Fail(1011, "internal error", DisconnectReason::Panicked)
}

/// Makes a handler, which may not agree to the origin, and lets it choose a subprotocol.
#[inline(never)]
fn agree(
    make: &MakeFor,
    connection: &Connection,
    exchange: &mut Exchange<'_>,
    upgrade: &mut Upgrade,
) -> Result<Contained<Box<dyn WebSocketHandler>>> {
    let mut handler = guarded_result(connection, "the handshake", || {
        let made = make(exchange).map(Contained::new);
        exchange.keep_headers(made)
    })??;
    let request = exchange.request();
    if let Some(origin) = handshake::origin(request)
        && !guarded(connection, "the handshake", || handler.check_origin(request, &origin))?
    {
        return Err(Error::refused(403, "Cross origin websockets not allowed"));
    }
    let offered = upgrade.offered();
    let chosen = guarded(connection, "the handshake", || handler.select_subprotocol(&offered))?;
    if let Some(chosen) = chosen {
        upgrade.choose(&chosen)?;
    }
    Ok(handler)
}

/// Makes the 101 with what `open` has set.
#[inline(never)]
fn head(exchange: Exchange<'_>, upgrade: Upgrade) -> Result<Vec<u8>> {
    exchange.into_upgrade_headers().and_then(|headers| upgrade.into_head(&headers))
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // A handler's panic is caught: this one is ours.
        if thread::panicking() {
            self.on_close();
        }
    }
}
