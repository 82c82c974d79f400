//! [`Connection`]: what handlers hold of a client. Clones are the same connection; any thread may call
//! anything on it at any time, while `client-N` is blocked in `read`.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::Weak;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Sender;
use rustix::net::SendFlags;

use crate::web::error::Error;
use crate::web::error::Result;
use crate::web::message;
use crate::web::message::Message;
use crate::web::outbox::Outbox;
use crate::web::outbox::Refused;
use crate::web::stats::Counters;
use crate::web::wire::Death;
use crate::web::wire::Delivery;
use crate::web::wire::Frame;
use crate::web::wire::Wire;

/// How long the peer has to answer our Close frame (RFC 6455, section 7.1.1, wants "a reasonable time").
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a pump blocks in one write before it looks at the clock. Several fit into the shortest
/// write deadline, which it must not overshoot by much.
const PUMP_WRITE: Duration = Duration::from_millis(500);

/// One client's WebSocket.
#[derive(Clone)]
pub struct Connection {
    outbox: Arc<Outbox<Socket>>,
}

/// What all connections of a server share.
pub(crate) struct Common {
    pub(crate) counters: Arc<Counters>,
    /// Settings, see [`Application`](crate::Application).
    pub(crate) stack_size: usize,
    pub(crate) max_backlog: usize,
    pub(crate) write_deadline: Duration,
    pub(crate) delivery: Delivery,
    /// To the `closer` thread.
    pub(crate) unanswered: Sender<Unanswered>,
}

/// A Close frame of ours that the peer has to answer in time. Weak: it keeps no descriptor open.
pub(crate) struct Unanswered {
    pub(crate) deadline: Instant,
    pub(crate) outbox: Weak<Outbox<Socket>>,
}

/// The client's socket: one descriptor, read by `client-N`, written by whoever drains the outbox.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    id: u64,
    peer: SocketAddr,
    common: Arc<Common>,
    /// What the client asked for. Written once by `client-N`, read for log lines.
    target: OnceLock<String>,
    /// The peer's close code and reason. Written once by `client-N`, before `on_close`.
    close: OnceLock<(Option<u16>, Option<String>)>,
    /// The pump that runs, or the last one that did. Written by the drainer, joined by `client-N`.
    pump: Mutex<Option<JoinHandle<()>>>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, id: u64, peer: SocketAddr, common: Arc<Common>) -> Connection {
        let Common { max_backlog, write_deadline, delivery, .. } = *common;
        let (target, close, pump) = (OnceLock::new(), OnceLock::new(), Mutex::new(None));
        let socket = Socket { stream, id, peer, common, target, close, pump };
        Connection { outbox: Arc::new(Outbox::new(socket, max_backlog as u64, write_deadline, delivery)) }
    }

    /// Sends a message: text, binary, or [`Message::json`]. Never blocks: what the socket does not take
    /// waits in the backlog. Messages of one thread arrive in their order.
    ///
    /// # Errors
    /// [`Error::Closed`] if the connection is closed or closing; [`Error::SlowConsumer`] if its backlog
    /// is full, which disconnects it; [`Error::Invalid`] for a message of over 1 GiB.
    pub fn write_message(&self, message: impl Into<Message>) -> Result<()> {
        self.push(message.into().encode()?)
    }

    /// Sends a Ping with up to 125 bytes; the answer arrives at the handler's `on_pong`.
    ///
    /// # Errors
    /// As [`write_message`](Connection::write_message).
    pub fn ping(&self, payload: &[u8]) -> Result<()> {
        self.push(message::ping(payload)?)
    }

    /// Begins the closing handshake: a Close frame behind all that was sent so far. A reason alone
    /// means code 1000; neither sends an empty Close frame. Messages that arrive before the peer's
    /// answer are still delivered; a peer that does not answer in 5 seconds is disconnected.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a code that may not be sent, or a reason of over 123 bytes; the connection
    /// stays open then. [`Error::Closed`] if it is closed or closing already.
    pub fn close(&self, code: Option<u16>, reason: Option<&str>) -> Result<()> {
        self.push(message::close(code, reason)?)?;
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        let unanswered = Unanswered { deadline, outbox: Arc::downgrade(&self.outbox) };
        // Without a closer the server is shutting down, which has a deadline of its own.
        let _ = self.common().unanswered.send(unanswered);
        Ok(())
    }

    /// The code of the peer's Close frame: `None` before it, if it had none, or if the connection ended
    /// without one.
    pub fn close_code(&self) -> Option<u16> {
        self.socket().close.get()?.0
    }

    /// The reason in the peer's Close frame; `None` as for [`close_code`](Connection::close_code), and
    /// if it is empty.
    pub fn close_reason(&self) -> Option<&str> {
        self.socket().close.get()?.1.as_deref()
    }

    /// The connection's number, unique within its server; its thread is `client-N`.
    pub fn id(&self) -> u64 {
        self.socket().id
    }

    /// The client's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.socket().peer
    }

    /// Bytes that wait for the client, plus 64 for each frame.
    pub fn backlog(&self) -> u64 {
        self.outbox.state().bytes()
    }

    /// True once nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        let state = self.outbox.state();
        state.is_dead() || state.is_closing()
    }

    /// Turns Nagle's algorithm off (`true`, which is how a WebSocket starts here) or on.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses, as it may for a connection that is closed.
    pub fn set_nodelay(&self, nodelay: bool) -> Result<()> {
        self.socket()
            .stream
            .set_nodelay(nodelay)
            .map_err(Error::io(format!("cannot set TCP_NODELAY of {self}")))
    }

    pub(crate) fn push(&self, frame: Frame) -> Result<()> {
        let bytes = frame.bytes.len() as u64;
        self.outbox.push(frame).map_err(|refused| match refused {
            Refused::Closed => Error::Closed,
            Refused::Full(backlog) => Error::SlowConsumer { backlog },
        })?;
        self.common().counters.pushes.add(1);
        self.common().counters.bytes.add(bytes);
        Ok(())
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox<Socket>> {
        &self.outbox
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.outbox.wire
    }

    pub(crate) fn common(&self) -> &Common {
        &self.socket().common
    }

    /// Called once, by `client-N`, when it knows what the client wants.
    pub(crate) fn set_target(&self, target: &str) {
        self.socket().target.get_or_init(|| target.to_owned());
    }

    /// Called once, by `client-N`, when the peer's Close frame is here.
    pub(crate) fn set_close(&self, code: Option<u16>, reason: Option<String>) {
        self.socket().close.get_or_init(|| (code, reason.filter(|reason| !reason.is_empty())));
    }

    /// True from the moment that `client-N` has seen a request for a WebSocket.
    pub(crate) fn is_websocket(&self) -> bool {
        self.socket().target.get().is_some()
    }
}

/// Two are equal if they are the same connection.
impl PartialEq for Connection {
    fn eq(&self, other: &Connection) -> bool {
        Arc::ptr_eq(&self.outbox, &other.outbox)
    }
}

impl Eq for Connection {}

/// `client-7 (127.0.0.1:50000 /websocket?Id=A)`
impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket().fmt(f)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({self})")
    }
}

/// Sends one message to many clients: encoded once, pushed to each without blocking. Gives the number
/// of those that accepted it; the others are closed, closing, or slow consumers that it disconnected.
///
/// # Errors
/// [`Error::Invalid`] for a message of over 1 GiB, which nobody gets.
pub fn broadcast<'a>(
    connections: impl IntoIterator<Item = &'a Connection>,
    message: impl Into<Message>,
) -> Result<usize> {
    let frame = message.into().encode()?;
    Ok(connections.into_iter().filter(|connection| connection.push(frame.clone()).is_ok()).count())
}

impl Socket {
    /// Waits for the thread of the pump to end; it has nothing left to write.
    pub(crate) fn join_pump(&self) {
        let pump = self.pump.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A pump that panicked has killed the connection already.
        pump.map(JoinHandle::join);
    }
}

impl Wire for Socket {
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.stream, bytes, SendFlags::NOSIGNAL)?)
    }

    fn kill(&self, why: Death) {
        // Not connected any more is what it shall be.
        let _ = self.stream.shutdown(Shutdown::Both);
        let (what, backlog) = match why {
            Death::Overflow { backlog } => ("its backlog is full", backlog),
            Death::Stalled { backlog } => ("it has read nothing within the write deadline", backlog),
            Death::Failed | Death::Ended => return,
        };
        self.common.counters.slow_consumers.add(1);
        log::warn!("{self} is a slow consumer: disconnected, {what}, {backlog} bytes are lost");
    }

    fn start_pump(&self, pump: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.stream.set_write_timeout(Some(PUMP_WRITE))?;
        let mut slot = self.pump.lock().unwrap_or_else(PoisonError::into_inner);
        // The pump before has given up its role, so it is about to end.
        slot.take().map(JoinHandle::join);
        let role = if self.common.delivery == Delivery::Inline { "pump" } else { "writer" };
        let name = format!("{role}-{}", self.id);
        *slot = Some(thread::Builder::new().name(name).stack_size(self.common.stack_size).spawn(pump)?);
        Ok(())
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.get().map_or("", String::as_str);
        write!(f, "client-{} ({} {})", self.id, self.peer, target.escape_debug())
    }
}
