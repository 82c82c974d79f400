//! [`Reader`]: the read loop of either end: what has come, and how it ended. On the one thread that reads.
//!
//! tungstenite judges what comes, and answers Pings and the peer's Close. Never here: a handler.

use std::io::{self, ErrorKind};
use std::time::Instant;

use tungstenite::Bytes;
use tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tungstenite::protocol::{Message as WsMessage, WebSocketConfig, WebSocketContext};

use crate::connection::connection::Connection;
use crate::connection::frame_stream::{FrameStream, LARGE, ReadFailure};
use crate::connection::rate_limiter::TooFast;
use crate::metrics::DisconnectReason;
use crate::printable::printable;
use crate::ws::frame::MAX_CONTROL;
#[cfg(feature = "deflate")]
use crate::ws::inflate::InflateError;
use crate::ws::message::Message;
use crate::ws::scanner::HeaderError;

/// Bytes that tungstenite reads at a time, from our buffer; it allocates as many for each connection.
const TUNGSTENITE_READ: usize = 256;

/// See the [module](self).
pub(crate) struct Reader {
    stream: FrameStream,
    context: WebSocketContext,
    /// The length of the message that was returned last, if it may still be being handled.
    before: Option<usize>,
}

/// What has come.
pub(crate) enum Incoming {
    Message(Message),
    /// Answered already.
    Ping(Bytes),
    /// Not the answer to a keepalive's Ping.
    Pong(Bytes),
    /// The peer's Close, whose code and reason the connection has. It is answered by what follows.
    Close,
    /// Nothing, until the client's deadline.
    Nothing,
}

/// How it ended.
pub(crate) enum End {
    /// The peer's Close is here, and answered.
    Over,
    /// There was no Close.
    Lost(io::Error),
    /// We have to end it, with this code and reason.
    Fail(u16, &'static str, DisconnectReason),
}

impl Reader {
    /// `early` came with the other end's head, and is read first.
    ///
    /// Not inlined, as what else is not in each turn of the loop: an idle client's stack has no room for it.
    #[inline(never)]
    pub(crate) fn new(connection: &Connection, early: Vec<u8>) -> Reader {
        Reader { stream: FrameStream::new(connection, early), context: context(connection), before: None }
    }

    /// Sets until when a client's [`next`](Reader::next) waits.
    pub(crate) fn wait_until(&mut self, until: Option<Instant>) {
        self.stream.wait_until(until);
    }

    /// Blocks until something has come. The message before it has been handled.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Incoming, End> {
        if let Some(length) = self.before.take() {
            self.stream.message_handled();
            if length as u64 > LARGE {
                self.shrink();
            }
        }
        loop {
            let message = match self.context.read(&mut self.stream) {
                Ok(message) => message,
                Err(error) => return self.end_of(error),
            };
            // A control frame may come in the middle of a message, which goes on.
            if message.is_text() || message.is_binary() {
                self.before = Some(message.len());
                if !self.stream.message_is_whole() {
                    return Err(must_give_way());
                }
            }
            let incoming = match message {
                WsMessage::Text(text) => Incoming::Message(Message::received_text(text)),
                WsMessage::Binary(bytes) => Incoming::Message(Message::received_binary(bytes)),
                WsMessage::Ping(payload) => Incoming::Ping(payload),
                WsMessage::Pong(payload) if self.stream.take_pong(&payload) => continue,
                WsMessage::Pong(payload) => Incoming::Pong(payload),
                WsMessage::Close(frame) => {
                    let close = self.stream.close();
                    if frame.is_some() && close.is_none() && self.stream.connection().is_client() {
                        // Its code may not be sent: a client's program is told, a server's handler sees no code.
                        return Err(End::Fail(1002, "protocol error", DisconnectReason::Failed));
                    }
                    let reason = close.map(|(_, reason)| reason.to_owned());
                    self.stream.connection().set_close(close.map(|(code, _)| code), reason);
                    Incoming::Close // The next read writes the answer, and ends.
                }
                WsMessage::Frame(_) => unreachable!("tungstenite reads no raw frames"),
            };
            return match self.stream.count_message() {
                Ok(()) => Ok(incoming),
                Err(TooFast) => Err(too_fast()),
            };
        }
    }

    /// tungstenite keeps a buffer of the largest message for the connection's life. It is empty between frames, so a
    /// new context loses nothing and frees it.
    #[cold]
    #[inline(never)]
    fn shrink(&mut self) {
        self.context = context(self.stream.connection());
    }

    /// Returns how it ended, and for a failure the code that it closes with (RFC 6455, section 7.4.1).
    #[cold]
    #[inline(never)]
    fn end_of(&self, error: WsError) -> Result<Incoming, End> {
        if self.stream.connection().has_peers_close() {
            // Nothing that comes behind it counts.
            return Err(End::Over);
        }
        let failure = self.stream.failure();
        let (code, reason) = match (failure, error) {
            (Some(ReadFailure::PingTimeout), _) => {
                return Err(End::Fail(1011, "ping timed out", DisconnectReason::PingTimeout));
            }
            (Some(ReadFailure::TooFast), _) => return Err(too_fast()),
            (Some(ReadFailure::GaveWay), _) => return Err(must_give_way()),
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
            (None, WsError::ConnectionClosed | WsError::AlreadyClosed) => return Err(End::Over),
            (None, WsError::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                return Ok(Incoming::Nothing);
            }
            (None, WsError::Io(error)) => {
                log::debug!(target: crate::LOG, "{}: lost: {}", self.stream.connection(), printable(&error));
                return Err(End::Lost(error));
            }
            (None, WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return Err(End::Lost(ErrorKind::UnexpectedEof.into()));
            }
            (None, WsError::Utf8(_)) => (1007, "invalid UTF-8"),
            (None, _) => (1002, "protocol error"),
        };
        Err(End::Fail(code, reason, DisconnectReason::Failed))
    }
}

#[cold]
fn too_fast() -> End {
    End::Fail(1008, "rate limit exceeded", DisconnectReason::TooFast)
}

#[cold]
fn must_give_way() -> End {
    End::Fail(1009, "no room for all of this message, try again later", DisconnectReason::GaveWay)
}

fn context(connection: &Connection) -> WebSocketContext {
    let max = Some(connection.state().settings.max_message);
    let config = WebSocketConfig::default()
        .read_buffer_size(TUNGSTENITE_READ)
        .write_buffer_size(0)
        .max_message_size(max)
        // A control frame is within its own limit already, whatever the one for messages.
        .max_frame_size(max.map(|max| max.max(MAX_CONTROL)));
    WebSocketContext::new(connection.link().role, Some(config))
}
