//! The client's socket, and the threads of its pumps: what the outbox of a real connection writes to.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::Weak;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Sender;
use rustix::net::SendFlags;

use crate::web::observer::Event;
use crate::web::observer::Observer;
use crate::web::outbox::Outbox;
use crate::web::stats::Counters;
use crate::web::threads::Threads;
use crate::web::wire::Death;
use crate::web::wire::Delivery;
use crate::web::wire::Wire;

/// How long the peer has to answer our Close frame (RFC 6455, section 7.1.1, wants "a reasonable time"), and
/// one that was refused to read why.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a pump blocks in one write before it looks at the clock: this, or the write deadline if that is
/// shorter, which it must not overshoot by much.
const PUMP_WRITE: Duration = Duration::from_millis(500);
/// No timeout at all is spelled zero.
const SHORTEST: Duration = Duration::from_millis(1);

/// What all connections of a server share.
pub(crate) struct Common {
    pub(crate) counters: Arc<Counters>,
    /// Settings, see [`Application`](crate::Application).
    pub(crate) stack_size: usize,
    pub(crate) max_backlog: usize,
    pub(crate) write_deadline: Duration,
    pub(crate) delivery: Delivery,
    /// Budget of the clients' threads.
    pub(crate) threads: Arc<Threads>,
    /// To the `closer` thread.
    pub(crate) leaving: Sender<Leaving>,
    pub(crate) observer: Observer,
}

/// Whom the `closer` thread looks after, for [`CLOSE_TIMEOUT`].
pub(crate) struct Leaving {
    pub(crate) deadline: Instant,
    pub(crate) peer: Peer,
}

pub(crate) enum Peer {
    /// It has to answer our Close frame. Weak: that keeps no descriptor open.
    Closing(Weak<Outbox<Socket>>),
    /// It was refused before its request was here. Closed at once, its socket would answer the request with
    /// a reset, which may overtake the refusal.
    Refused(TcpStream),
}

/// The client's socket: one descriptor, read by `client-N`, written by whoever drains the outbox.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) common: Arc<Common>,
    /// What the client asked for. Written once by `client-N`, read for log lines.
    pub(crate) target: OnceLock<String>,
    /// The peer's close code and reason. Written once by `client-N`, before `on_close`.
    pub(crate) close: OnceLock<(Option<u16>, Option<String>)>,
    /// The pump that runs, or the last one that did. Written by the drainer, joined by `client-N`.
    pub(crate) pump: Mutex<Option<Arc<Pump>>>,
}

/// The thread of a pump, until it is joined, or about to end.
type Pump = Mutex<Option<JoinHandle<()>>>;

impl Socket {
    pub(crate) fn new(stream: TcpStream, id: u64, peer: SocketAddr, common: Arc<Common>) -> Socket {
        let (target, close, pump) = (OnceLock::new(), OnceLock::new(), Mutex::default());
        Socket { stream, id, peer, common, target, close, pump }
    }

    /// Waits for the thread of the pump to end; it has nothing left to write.
    pub(crate) fn join_pump(&self) {
        let pump = lock(&self.pump).take().and_then(|pump| lock(&pump).take());
        // A pump that panicked has killed the connection already.
        pump.map(JoinHandle::join);
    }

    fn spawn_pump(&self, pump: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        // The pump before has given up its role, so it is about to end.
        self.join_pump();
        let common = self.common.clone();
        self.stream.set_write_timeout(Some(PUMP_WRITE.min(common.write_deadline).max(SHORTEST)))?;
        let place = common.threads.take().ok_or_else(|| io::Error::other("as many as there may be run"))?;
        let role = if common.delivery == Delivery::Inline { "pump" } else { "writer" };
        let thread = thread::Builder::new().name(format!("{role}-{}", self.id)).stack_size(common.stack_size);
        let started: Arc<Pump> = Arc::default();
        let own = started.clone();
        let id = self.id;
        // Held until the handle is in it; at its end the pump waits for that.
        let mut handle = lock(&started);
        *handle = Some(thread.spawn(move || {
            common.observer.report(id, Event::PumpBegins);
            pump();
            common.observer.report(id, Event::PumpEnds);
            let _place = place;
            let mut own = lock(&own);
            let before = own.take().and_then(|own| common.threads.ended(Some(own)));
            drop(own);
            before.map(JoinHandle::join);
        })?);
        drop(handle);
        *lock(&self.pump) = Some(started);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire for Socket {
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.stream, bytes, SendFlags::NOSIGNAL)?)
    }

    fn kill(&self, why: Death) {
        let lost = match why {
            Death::Overflow { backlog } => Some(("its backlog is full", backlog)),
            Death::Stalled { backlog } => Some(("it has read nothing within the write deadline", backlog)),
            Death::Failed | Death::Ended => None,
        };
        // Counted before anybody can notice.
        lost.iter().for_each(|_| self.common.counters.slow_consumers.add(1));
        // Not connected any more is what it shall be.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some((what, backlog)) = lost {
            self.report(Event::SlowConsumer { backlog });
            log::warn!("{self} is a slow consumer: disconnected, {what}, {backlog} bytes are lost");
        }
    }

    fn start_pump(&self, pump: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.spawn_pump(pump).inspect_err(|error| {
            self.common.counters.slow_consumers.add(1);
            log::warn!(
                "{self} is a slow consumer: disconnected, no thread can be had to write to it: {error}"
            );
        })
    }

    #[inline]
    fn report(&self, event: Event) {
        self.common.observer.report(self.id, event);
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.get().map_or("", String::as_str);
        write!(f, "client-{} ({} {})", self.id, self.peer, target.escape_debug())
    }
}
