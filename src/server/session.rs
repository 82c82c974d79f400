//! A WebSocket from `open` to `on_close`, on `client-N`. Only this file calls handlers of WebSockets.
//!
//! Never here: a push that blocks, a handler's call that is not `guarded`.

use std::thread;

use crate::connection::connection::Connection;
use crate::connection::guarded::{guarded, guarded_result, plain};
use crate::connection::messages::{Messages, RUN};
use crate::error::{Error, Result};
use crate::http::exchange::Exchange;
use crate::http::request::Request;
use crate::metrics::DisconnectReason;
use crate::observer::Event;
use crate::panics::{Contained, caught};
use crate::printable::printable;
use crate::server::application::MakeFor;
use crate::server::client::Client;
use crate::server::handler::WebSocketHandler;
use crate::ws::close::{self, CloseCode, NORMAL};
use crate::ws::handshake::{self, Upgrade};

/// A handler that has agreed to the request, until its `on_close` has run.
pub(crate) struct Session<'a> {
    handler: Contained<Box<dyn WebSocketHandler>>,
    connection: &'a Connection,
    /// The code of our own Close frame, if the WebSocket has failed.
    failed: Option<u16>,
}

impl<'a> Session<'a> {
    /// Makes a handler and asks it. Returns the session and its 101, or the refusal.
    ///
    /// A handler's `open` may need much stack. So its callers use little: the exchange is on the heap, and each step
    /// has its own stack frame.
    #[inline(never)]
    pub(crate) fn open(
        make: &MakeFor,
        client: &'a Client,
        request: &Request,
        upgrade: Upgrade,
    ) -> Result<(Session<'a>, Vec<u8>)> {
        let connection = &client.connection;
        #[cfg(feature = "deflate")]
        let mut upgrade = upgrade;
        #[cfg(feature = "deflate")]
        if let Some(bits) = upgrade.compress(request, connection.state().settings.compression)? {
            connection.link().set_compressed(bits);
        }
        let mut exchange = Box::new(Exchange::new(request, &client.server.settings.cookies));
        let handler = agree(make, connection, &mut exchange, &upgrade)?;
        let mut session = Session { handler, connection, failed: None };
        session.on_open(&mut exchange)?;
        match session.head(*exchange, upgrade) {
            Ok(head) => Ok((session, head)),
            Err(error) => {
                session.close();
                Err(error)
            }
        }
    }

    /// Makes the 101 with the settings of the maker and `open`.
    #[inline(never)]
    fn head(&self, mut exchange: Exchange<'_>, mut upgrade: Upgrade) -> Result<Vec<u8>> {
        let choices = exchange.take_choices(self.connection.state().settings.max_message);
        if let Some(subprotocol) = &choices.subprotocol {
            upgrade.choose(subprotocol)?;
        }
        let head = exchange.into_upgrade_headers().and_then(|headers| upgrade.into_head(&headers))?;
        self.connection.set_choices(choices);
        Ok(head)
    }

    #[inline(never)]
    fn on_open(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let Session { handler, connection, .. } = self;
        let open = || {
            let opened = handler.open(connection, exchange);
            exchange.keep_headers(opened)
        };
        guarded_result(connection, "open", open).unwrap_or_else(|panicked| {
            // It may have shared the connection before it panicked; a handler that refuses does so knowingly.
            self.on_close();
            Err(panicked.into())
        })
    }

    /// Runs the handler until the end, and sends the Close frame that it calls for. Returns which side ended it, and
    /// whether the peer will send nothing more.
    #[inline(never)]
    pub(crate) fn run(&mut self, early: Vec<u8>) -> (DisconnectReason, bool) {
        let mut messages = Messages::of_session(self.connection, early);
        messages.begin_method(RUN);
        let Session { handler, connection, .. } = self;
        let outcome = caught(|| handler.run(connection, &mut messages).map_err(plain));
        self.finish(&mut messages, outcome)
    }

    /// Not inlined: an idle client's stack has no room for it.
    #[inline(never)]
    fn finish(
        &mut self,
        messages: &mut Messages,
        outcome: Result<Result<()>, String>,
    ) -> (DisconnectReason, bool) {
        let (connection, method) = (self.connection, messages.method());
        messages.end_method(outcome.is_err());
        self.failed = messages.failed();
        let (internal, late) = (CloseCode::INTERNAL_ERROR, CloseCode::TIMED_OUT);
        let (code, reason, counted) = match outcome {
            Err(text) => {
                log::error!("{connection}: the handler panicked in {method}: {text}");
                (internal.code, internal.reason.to_owned(), DisconnectReason::Panicked)
            }
            Ok(outcome) if messages.end_of_reading().is_some() || connection.is_closed() => {
                if let Err(error) = outcome {
                    log::debug!(
                        "{connection}: {method} failed after the connection ended: {}",
                        error.one_line()
                    );
                }
                let counted = messages.end_of_reading();
                return (counted.unwrap_or(DisconnectReason::Done), counted.is_some());
            }
            Ok(Ok(())) => (NORMAL, String::new(), DisconnectReason::Done),
            Ok(Err(Error::Closing { code, reason })) if close::is_on_the_wire(code) => {
                (code, reason, DisconnectReason::Done)
            }
            Ok(Err(Error::TimedOut)) => (late.code, late.reason.to_owned(), DisconnectReason::Done),
            Ok(Err(error)) => {
                log::error!("{connection}: {method} failed: {}", error.one_line());
                (internal.code, internal.reason.to_owned(), DisconnectReason::Failed)
            }
        };
        self.failed = Some(code);
        // No thread reads any more, so none awaits an answer.
        connection.link().set_close(None, None);
        log::debug!("{connection}: closing with {code} {}", printable(&reason));
        // The outbox refuses it if a Close is out already, which is enough.
        let _ = connection.close(Some(code), Some(&reason));
        (counted, false)
    }

    /// Returns the code with which the server has ended it, if it has failed.
    pub(crate) fn failed(&self) -> Option<u16> {
        self.failed
    }

    /// Runs `on_close`.
    pub(crate) fn close(mut self) {
        self.on_close();
    }

    #[inline(never)]
    fn on_close(&mut self) {
        let Session { handler, connection, .. } = self;
        connection.report(Event::Closed { code: connection.close_code() });
        // A panic has been logged, and the session is over anyway.
        let _ = guarded(connection, "on_close", || handler.on_close(connection));
    }
}

/// Makes a handler, which may refuse the origin, and lets it choose a subprotocol.
#[inline(never)]
fn agree(
    make: &MakeFor,
    connection: &Connection,
    exchange: &mut Exchange<'_>,
    upgrade: &Upgrade,
) -> Result<Contained<Box<dyn WebSocketHandler>>> {
    let mut handler = guarded_result(connection, "the handshake", || {
        let made = make(exchange).map(Contained::new);
        exchange.keep_headers(made)
    })??;
    if let Some(origin) = handshake::origin(exchange.request())
        && !exchange.choices.allow(&origin)
    {
        check_origin(&mut handler, connection, exchange.request(), &origin)?;
    }
    if exchange.choices.subprotocol.is_none() {
        exchange.choices.subprotocol = select_subprotocol(&mut handler, connection, upgrade)?;
    }
    Ok(handler)
}

#[inline(never)]
fn check_origin(
    handler: &mut Box<dyn WebSocketHandler>,
    connection: &Connection,
    request: &Request,
    origin: &str,
) -> Result<()> {
    if guarded(connection, "the handshake", || handler.check_origin(request, origin))? {
        return Ok(());
    }
    Err(Error::refused(403, "Cross origin websockets not allowed"))
}

#[inline(never)]
fn select_subprotocol(
    handler: &mut Box<dyn WebSocketHandler>,
    connection: &Connection,
    upgrade: &Upgrade,
) -> Result<Option<Box<str>>> {
    let offered = upgrade.offered();
    let chosen = guarded(connection, "the handshake", || handler.select_subprotocol(&offered))?;
    if let Some(chosen) = &chosen {
        upgrade.check_chosen(chosen)?;
    }
    Ok(chosen.map(String::into))
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // A handler's panic is caught, so this one is the server's.
        if thread::panicking() {
            self.on_close();
        }
    }
}
