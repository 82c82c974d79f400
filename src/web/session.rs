//! A WebSocket from `open` to `on_close`, on `client-N`.
//!
//! Never here: a push that blocks, a handler's panic that gets out.

use std::any::Any;
use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use tungstenite::error::CapacityError;
use tungstenite::error::Error as WsError;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::Message as WsMessage;
use tungstenite::protocol::Role;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::WebSocketContext;

use crate::web::application::Make;
use crate::web::application::Settings;
use crate::web::connection::Connection;
use crate::web::error::Error;
use crate::web::error::Result;
use crate::web::exchange::Exchange;
use crate::web::frames::FrameStream;
use crate::web::frames::Keepalive;
use crate::web::frames::LARGE;
use crate::web::handler::WebSocketHandler;
use crate::web::handshake;
use crate::web::message::MAX_CONTROL;
use crate::web::message::Message;
use crate::web::observer::Event;
use crate::web::request::Request;

/// Bytes that tungstenite reads at a time, from our buffer; it allocates as many for each client.
const TUNGSTENITE_READ: usize = 256;

/// A handler from `open` to `on_close`, which runs when this is dropped, so it always does.
pub(crate) struct Session<'a> {
    handler: Box<dyn WebSocketHandler>,
    connection: &'a Connection,
    settings: &'a Settings,
    opened: bool,
}

/// Why the read loop ended.
enum End {
    /// The closing handshake is complete, or the peer is gone.
    Over,
    /// We have to end it, with this code and reason.
    Fail(u16, &'static str),
}

impl<'a> Session<'a> {
    /// A handler that agrees to the request, or the refusal.
    #[inline(never)]
    pub(crate) fn new(
        make: &Make<dyn WebSocketHandler>,
        connection: &'a Connection,
        request: &Request,
        settings: &'a Settings,
    ) -> Result<Session<'a>> {
        let handler = guarded(connection, "the handshake", || {
            let handler = make();
            handshake::check(request, handler.as_ref()).map(|()| handler)
        })??;
        Ok(Session { handler, connection, settings, opened: false })
    }

    /// Runs `select_subprotocol` and `open`, and adds to the 101 what they say; or the refusal.
    #[inline(never)]
    pub(crate) fn open(&mut self, request: &Request, head: &mut Vec<u8>) -> Result<()> {
        let Session { handler, connection, settings, .. } = self;
        guarded(connection, "the handshake", || {
            handshake::add_subprotocol(head, request, handler.as_mut())
        })??;
        let mut exchange = Exchange::new(request, settings.cookie_secret.as_ref());
        let opened = guarded(connection, "open", || handler.open(connection, &mut exchange));
        // A handler that panicked may have shared the connection before, so it gets its on_close; one
        // that refused has decided, and does not.
        self.opened = !matches!(opened, Ok(Err(_)));
        opened??;
        handshake::finish(head, exchange)
    }

    /// The read loop, and the Close frame that its end calls for. `early` came in with the head.
    #[inline(never)]
    pub(crate) fn run(mut self, early: Vec<u8>) {
        let timeout = self.settings.ping_timeout.or(self.settings.ping_interval);
        let keepalive = Keepalive { interval: self.settings.ping_interval, timeout };
        let max = self.settings.max_message;
        let mut stream = FrameStream::new(self.connection, early, max, keepalive);
        if let End::Fail(code, reason) = self.read_loop(&mut stream) {
            log::debug!("{}: closing with {code} {reason}", self.connection);
            // Refused if a Close is out already: then there is nothing to add.
            let _ = self.connection.close(Some(code), Some(reason));
        }
    }

    fn read_loop(&mut self, stream: &mut FrameStream<'_>) -> End {
        let max = Some(self.settings.max_message);
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
                Err(error) => return end_of(error),
            };
            let length = message.len();
            let delivered = match message {
                WsMessage::Text(text) => self.deliver(Message::Text(text)),
                WsMessage::Binary(bytes) => self.deliver(Message::Binary(bytes)),
                WsMessage::Ping(payload) => self.guarded("on_ping", |h, c| h.on_ping(c, &payload)),
                WsMessage::Pong(payload) => self.guarded("on_pong", |h, c| h.on_pong(c, &payload)),
                WsMessage::Close(frame) => {
                    // tungstenite has put 1002 in the place of a code that is not allowed.
                    let sent = stream.close_code();
                    let allowed = frame.filter(|frame| Some(u16::from(frame.code)) == sent);
                    let reason = allowed.as_ref().map(|frame| frame.reason.to_string());
                    self.connection.set_close(allowed.map(|frame| frame.code.into()), reason);
                    Ok(()) // The next read writes the answer, and ends.
                }
                WsMessage::Frame(_) => unreachable!("tungstenite reads no raw frames"),
            };
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
                log::error!("{}: on_message failed: {error}", self.connection);
                Err(End::Fail(1011, "internal error"))
            }
        }
    }

    fn guarded<T>(
        &mut self,
        what: &'static str,
        call: impl FnOnce(&mut dyn WebSocketHandler, &Connection) -> T,
    ) -> Result<T, End> {
        let Session { handler, connection, .. } = self;
        guarded(connection, what, || call(handler.as_mut(), connection))
            .map_err(|_| End::Fail(1011, "internal error"))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let Session { handler, connection, opened, .. } = self;
        if *opened {
            connection.report(Event::Closed { code: connection.close_code() });
            // A panic here has been logged, and there is nothing left that it could end.
            let _ = guarded(connection, "on_close", || handler.on_close(connection));
        }
    }
}

/// Calls a handler. If it panics, that is logged, and the error is the refusal for it.
pub(crate) fn guarded<T>(connection: &Connection, what: &'static str, call: impl FnOnce() -> T) -> Result<T> {
    connection.report(Event::HandlerBegins(what));
    let result = catch_unwind(AssertUnwindSafe(call));
    connection.report(Event::HandlerEnds { method: what, panicked: result.is_err() });
    result.map_err(|panic| {
        log::error!("{connection}: the handler panicked in {what}: {}", panic_text(panic.as_ref()));
        Error::refused(500, "Internal Server Error")
    })
}

/// What was given to `panic!`.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)").escape_debug().to_string()
}

/// RFC 6455, section 7.4.1: which code a failure closes with.
fn end_of(error: WsError) -> End {
    match error {
        WsError::ConnectionClosed | WsError::AlreadyClosed => End::Over,
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Over,
        WsError::Utf8(_) => End::Fail(1007, "invalid UTF-8"),
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => End::Fail(1009, "message too big"),
        WsError::Io(error) if error.kind() == ErrorKind::FileTooLarge => End::Fail(1009, "message too big"),
        WsError::Io(error) if error.kind() == ErrorKind::TimedOut => End::Fail(1011, "ping timed out"),
        WsError::Io(error) if error.kind() == ErrorKind::InvalidData => End::Fail(1002, "protocol error"),
        WsError::Io(_) => End::Over,
        _ => End::Fail(1002, "protocol error"),
    }
}
