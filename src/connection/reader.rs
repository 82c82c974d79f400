//! [`Reader`]: the read loop of either end: its events, and how it ended. On the one reading thread.
//!
//! tungstenite validates the input, and answers Pings and the peer's Close. Never here: a handler.

use std::io::{self, ErrorKind};
use std::time::Instant;

use tungstenite::Bytes;
use tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tungstenite::protocol::{Message as WsMessage, WebSocketConfig, WebSocketContext};

use crate::connection::connection::Connection;
use crate::connection::frame_stream::{FrameState, FrameStream, LARGE, ReadFailure};
use crate::connection::rate_limiter::TooFast;
use crate::connection::received::Received;
use crate::metrics::DisconnectReason;
use crate::printable::printable;
use crate::ws::close::CloseCode;
use crate::ws::frame::MAX_CONTROL;
#[cfg(feature = "deflate")]
use crate::ws::inflate::InflateError;
use crate::ws::message::Message;
use crate::ws::scanner::HeaderError;

/// Bytes per read of tungstenite from our buffer; it allocates this number for each connection.
const TUNGSTENITE_READ: usize = 256;

/// See the [module](self).
pub(crate) struct Reader {
    received: Received,
    frames: FrameState,
    context: WebSocketContext,
    /// The length of the message that was returned last, if its handler may still run.
    before: Option<usize>,
    /// An event that is not returned yet: the client is slowed, and the caller's deadline was shorter.
    slowed: Option<Box<Incoming>>,
}

/// An event.
pub(crate) enum Incoming {
    Message(Message),
    /// Answered already.
    Ping(Bytes),
    /// Not the answer to a keepalive's Ping.
    Pong(Bytes),
    /// The peer's Close, whose code and reason the connection has. The next read answers it.
    Close,
    /// No event before the caller's deadline.
    Nothing,
}

/// How it ended.
pub(crate) enum End {
    /// The peer's Close has arrived, and is answered.
    Over,
    /// The connection ended without a Close.
    Lost(io::Error),
    /// We have to end it, with this Close.
    Fail(CloseCode, DisconnectReason),
}

impl Reader {
    /// `early` arrived with the other end's head, and is read first.
    #[inline]
    pub(crate) fn new(connection: &Connection, early: Vec<u8>) -> Reader {
        Reader {
            received: Received::new(connection, early),
            frames: FrameState::new(connection),
            context: context(connection),
            before: None,
            slowed: None,
        }
    }

    /// Sets until when [`next`](Reader::next) waits.
    pub(crate) fn wait_until(&mut self, until: Option<Instant>) {
        self.received.wait_until(until);
    }

    /// Frees the room of a message that will never be complete.
    pub(crate) fn give_up(&mut self) {
        self.frames.message_handled();
    }

    /// Blocks until an event arrives. The previous message has been handled.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Incoming, End> {
        if let Some(slowed) = self.slowed.take() {
            return Ok(self.at_its_rate(*slowed));
        }
        if let Some(length) = self.before.take() {
            self.frames.message_handled();
            if length as u64 > LARGE {
                self.shrink();
            }
        }
        loop {
            let mut stream = FrameStream { received: &mut self.received, frames: &mut self.frames };
            let message = match self.context.read(&mut stream) {
                Ok(message) => message,
                Err(error) => return self.end_of(error),
            };
            // A control frame may arrive in the middle of a message, which then continues.
            if message.is_text() || message.is_binary() {
                self.before = Some(message.len());
                if !self.frames.message_is_whole() {
                    return Err(must_give_way());
                }
            }
            let incoming = match message {
                WsMessage::Text(text) => Incoming::Message(Message::received_text(text)),
                WsMessage::Binary(bytes) => Incoming::Message(Message::received_binary(bytes)),
                WsMessage::Ping(payload) => Incoming::Ping(payload),
                WsMessage::Pong(payload) if self.received.take_pong(&payload) => continue,
                WsMessage::Pong(payload) => Incoming::Pong(payload),
                WsMessage::Close(frame) => {
                    let close = self.frames.close();
                    if frame.is_some() && close.is_none() && self.received.connection().link().is_client() {
                        // Its code is invalid: a client's program gets an error, a server's handler sees no code.
                        return Err(End::Fail(CloseCode::PROTOCOL_ERROR, DisconnectReason::Failed));
                    }
                    let reason = close.map(|(_, reason)| reason.to_owned());
                    self.received.connection().link().set_close(close.map(|(code, _)| code), reason);
                    Incoming::Close // The next read writes the answer, and ends.
                }
                WsMessage::Frame(_) => unreachable!("tungstenite reads no raw frames"),
            };
            return match self.received.count_message() {
                Ok(()) => Ok(self.at_its_rate(incoming)),
                Err(TooFast) => Err(too_fast()),
            };
        }
    }

    /// Returns the event at the time at which the rate allows it. Keeps it if that is after the caller's deadline.
    #[inline]
    fn at_its_rate(&mut self, incoming: Incoming) -> Incoming {
        if self.received.keep_to_rate() {
            return incoming;
        }
        self.slowed = Some(Box::new(incoming));
        Incoming::Nothing
    }

    /// tungstenite keeps a buffer of the largest message for the connection's life. It is empty between frames, so a
    /// new context loses nothing and frees it.
    #[cold]
    #[inline(never)]
    fn shrink(&mut self) {
        self.context = context(self.received.connection());
    }

    /// Returns how it ended, and for a failure the code that it closes with (RFC 6455, section 7.4.1).
    #[cold]
    #[inline(never)]
    fn end_of(&self, error: WsError) -> Result<Incoming, End> {
        if self.received.connection().link().has_peers_close() {
            // Input behind it does not count.
            return Err(End::Over);
        }
        let failure = self.frames.failure(&self.received);
        let close = match (failure, error) {
            (Some(ReadFailure::PingTimeout), _) => {
                return Err(End::Fail(CloseCode::PING_TIMEOUT, DisconnectReason::PingTimeout));
            }
            (Some(ReadFailure::TooFast), _) => return Err(too_fast()),
            (Some(ReadFailure::GaveWay), _) => return Err(must_give_way()),
            (Some(ReadFailure::Header(HeaderError::MessageTooLarge)), _)
            | (None, WsError::Capacity(CapacityError::MessageTooLong { .. })) => CloseCode::TOO_BIG,
            #[cfg(feature = "deflate")]
            (Some(ReadFailure::Inflate(error)), _) => match error {
                InflateError::TooLarge => CloseCode::TOO_BIG,
                InflateError::Data => CloseCode::INVALID_DEFLATE,
                InflateError::Protocol => CloseCode::PROTOCOL_ERROR,
            },
            (Some(ReadFailure::NoRoom), _) => CloseCode::NO_ROOM,
            (Some(ReadFailure::Header(HeaderError::ControlTooLarge)), _) => CloseCode::PROTOCOL_ERROR,
            (None, WsError::ConnectionClosed | WsError::AlreadyClosed) => return Err(End::Over),
            (None, WsError::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                return Ok(Incoming::Nothing);
            }
            (None, WsError::Io(error)) => {
                log::debug!("{}: lost: {}", self.received.connection(), printable(&error));
                return Err(End::Lost(error));
            }
            (None, WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return Err(End::Lost(ErrorKind::UnexpectedEof.into()));
            }
            (None, WsError::Utf8(_)) => CloseCode::INVALID_TEXT,
            (None, _) => CloseCode::PROTOCOL_ERROR,
        };
        Err(End::Fail(close, DisconnectReason::Failed))
    }
}

#[cold]
fn too_fast() -> End {
    End::Fail(CloseCode::TOO_FAST, DisconnectReason::TooFast)
}

#[cold]
fn must_give_way() -> End {
    End::Fail(CloseCode::GAVE_WAY, DisconnectReason::GaveWay)
}

fn context(connection: &Connection) -> WebSocketContext {
    let max = Some(connection.link().max_message());
    let config = WebSocketConfig::default()
        .read_buffer_size(TUNGSTENITE_READ)
        .write_buffer_size(0)
        .max_message_size(max)
        // A control frame is within its own limit already, independent of the limit for messages.
        .max_frame_size(max.map(|max| max.max(MAX_CONTROL)));
    WebSocketContext::new(connection.link().role, Some(config))
}
