//! A WebSocket from `open` to `on_close`, on `client-N`. Handlers of WebSockets are called here alone.
//!
//! Never here: a push that blocks, a handler's panic that gets out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tungstenite::protocol::{Message as WsMessage, Role, WebSocketConfig, WebSocketContext};

use crate::error::{Error, Result};
use crate::http::exchange::Exchange;
use crate::http::request::Request;
use crate::metrics::DisconnectReason;
use crate::observer::Event;
use crate::server::application::MakeFor;
use crate::server::connection::Connection;
use crate::server::frame_stream::{FrameStream, LARGE, ReadFailure};
use crate::server::handler::WebSocketHandler;
use crate::ws::frame::MAX_CONTROL;
use crate::ws::handshake::{self, Upgrade};
#[cfg(feature = "deflate")]
use crate::ws::inflate::InflateError;
use crate::ws::message::Message;
use crate::ws::scanner::HeaderError;

/// Bytes that tungstenite reads at a time, from our buffer; it allocates as many for each client.
const TUNGSTENITE_READ: usize = 256;

/// A handler that has agreed to the request, until its `on_close` has run.
pub(crate) struct Session<'a> {
    handler: Box<dyn WebSocketHandler>,
    connection: &'a Connection,
}

/// A handler panicked. It has been logged.
pub(crate) struct Panicked;

/// Why the read loop ended.
enum End {
    /// The closing handshake is complete, or the peer is gone.
    Over,
    /// We have to end it, with this code and reason.
    Fail(u16, &'static str, DisconnectReason),
}

impl<'a> Session<'a> {
    /// Makes a handler and asks it. Returns the session and its 101, or the refusal.
    ///
    /// A handler's `open` may go deep. So what lies below it is small: the exchange is on the heap, and each step has
    /// its own stack.
    #[inline(never)]
    pub(crate) fn open(
        make: &MakeFor,
        connection: &'a Connection,
        request: &Request,
        mut upgrade: Upgrade,
    ) -> Result<(Session<'a>, Vec<u8>)> {
        #[cfg(feature = "deflate")]
        if let Some(bits) = upgrade.compress(request, connection.state().settings.compression)? {
            connection.set_compressed(bits);
        }
        let mut exchange = Box::new(Exchange::new(request, &connection.state().settings.cookies));
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
        guarded(connection, "open", open).unwrap_or_else(|panicked| {
            // It may have shared the connection before; a handler that refused has decided not to.
            self.on_close();
            Err(panicked.into())
        })
    }

    /// Reads until the end, and sends the Close frame that it calls for. `early` came in with the head.
    #[inline(never)]
    pub(crate) fn run(&mut self, early: Vec<u8>) -> DisconnectReason {
        let mut stream = FrameStream::new(self.connection, early);
        match self.read_loop(&mut stream) {
            End::Over => DisconnectReason::Done,
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

    fn read_loop(&mut self, stream: &mut FrameStream<'_>) -> End {
        let max = Some(self.connection.state().settings.max_message);
        let config = WebSocketConfig::default()
            .read_buffer_size(TUNGSTENITE_READ)
            .write_buffer_size(0)
            .max_message_size(max)
            // A control frame is within its own limit already, whatever the one for messages.
            .max_frame_size(max.map(|max| max.max(MAX_CONTROL)));
        let new_context = || WebSocketContext::new(Role::Server, Some(config));
        let mut context = new_context();
        loop {
            let message = match context.read(stream) {
                Ok(message) => message,
                Err(error) => return end_of(&error, stream.failure()),
            };
            let length = message.len();
            // A control frame may come in the middle of a message, which goes on.
            let is_whole = message.is_text() || message.is_binary();
            let delivered = match message {
                WsMessage::Text(text) => self.deliver(Message::received_text(text)),
                WsMessage::Binary(bytes) => self.deliver(Message::received_binary(bytes)),
                WsMessage::Ping(payload) => self.guarded("on_ping", |h, c| h.on_ping(c, &payload)),
                WsMessage::Pong(payload) if stream.take_pong(&payload) => Ok(()),
                WsMessage::Pong(payload) => self.guarded("on_pong", |h, c| h.on_pong(c, &payload)),
                WsMessage::Close(_) => {
                    let close = stream.close();
                    let reason = close.map(|(_, reason)| reason.to_owned());
                    self.connection.set_close(close.map(|(code, _)| code), reason);
                    Ok(()) // The next read writes the answer, and ends.
                }
                WsMessage::Frame(_) => unreachable!("tungstenite reads no raw frames"),
            };
            if is_whole {
                stream.message_handled();
            }
            if let Err(end) = delivered {
                return end;
            }
            if length as u64 > LARGE {
                // tungstenite keeps a buffer of the largest message for the connection's life. It is
                // empty between frames, so a new context loses nothing and frees it.
                context = new_context();
            }
        }
    }

    fn deliver(&mut self, message: Message) -> Result<(), End> {
        match self.guarded("on_message", |handler, connection| handler.on_message(connection, message))? {
            Ok(()) | Err(Error::Closed | Error::SlowConsumer { .. }) => Ok(()),
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
        guarded(connection, what, || call(handler.as_mut(), connection))
            .map_err(|Panicked| End::Fail(1011, "internal error", DisconnectReason::Panicked))
    }
}

/// Makes a handler, which may not agree to the origin, and lets it choose a subprotocol.
#[inline(never)]
fn agree(
    make: &MakeFor,
    connection: &Connection,
    exchange: &mut Exchange<'_>,
    upgrade: &mut Upgrade,
) -> Result<Box<dyn WebSocketHandler>> {
    let mut handler = guarded(connection, "the handshake", || {
        let made = make(exchange);
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

/// Calls a handler. A panic is logged, and is the error.
pub(crate) fn guarded<T>(
    connection: &Connection,
    what: &'static str,
    call: impl FnOnce() -> T,
) -> Result<T, Panicked> {
    connection.report(Event::HandlerBegins(what));
    let result = catch_unwind(AssertUnwindSafe(call));
    connection.report(Event::HandlerEnds { method: what, panicked: result.is_err() });
    result.map_err(|panic| {
        log::error!(target: crate::LOG, "{connection}: the handler panicked in {what}: {}", panic_text(panic.as_ref()));
        Panicked
    })
}

/// Before there is a WebSocket, a panic is answered like any other failure.
impl From<Panicked> for Error {
    fn from(Panicked: Panicked) -> Error {
        Error::refused(500, "Internal Server Error")
    }
}

/// Returns what was passed to `panic!`.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)").escape_debug().to_string()
}

/// Returns the code that a failure closes with (RFC 6455, section 7.4.1).
fn end_of(error: &WsError, failure: Option<ReadFailure>) -> End {
    let (code, reason) = match (failure, error) {
        (Some(ReadFailure::PingTimeout), _) => {
            return End::Fail(1011, "ping timed out", DisconnectReason::PingTimeout);
        }
        (Some(ReadFailure::Header(HeaderError::MessageTooLarge)), _)
        | (None, WsError::Capacity(CapacityError::MessageTooLong { .. })) => (1009, "message too big"),
        #[cfg(feature = "deflate")]
        (Some(ReadFailure::Inflate(error)), _) => match error {
            InflateError::TooLarge => (1009, "message too big"),
            InflateError::Data => (1007, "invalid compressed data"),
            InflateError::Protocol => (1002, "protocol error"),
        },
        (Some(ReadFailure::NoRoom), _) => (1013, "no room for this message, try again later"),
        (Some(ReadFailure::Header(HeaderError::ControlTooLarge)), _) => (1002, "protocol error"),
        (None, WsError::ConnectionClosed | WsError::AlreadyClosed | WsError::Io(_))
        | (None, WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return End::Over,
        (None, WsError::Utf8(_)) => (1007, "invalid UTF-8"),
        (None, _) => (1002, "protocol error"),
    };
    End::Fail(code, reason, DisconnectReason::Failed)
}
