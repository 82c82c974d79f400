//! [`Link`] of a connection: it starts pumps, sets deadlines, and ends a slow consumer. Called by the drainer,
//! and [`disconnect`](Link::disconnect) by any thread.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{PoisonError, Weak};
use std::time::{Duration, Instant};

use tungstenite::protocol::Role;

use super::PeerLink;
use crate::metrics::DisconnectReason;
use crate::net::buffers::MayGiveWay;
use crate::net::closer::{CLOSE_GRACE, Errand, Kill, Overdue, OverduePeer};
use crate::net::maybe_tls::MaybeTls;
use crate::net::outbox::{Link, Outbox};
use crate::net::seal::Delivery;
use crate::net::thread_budget::Worker;
use crate::observer::Event;

/// How long a pump blocks in one write before it checks the clock; less if the write deadline is shorter, because it
/// must not overshoot that by much.
const PUMP_WRITE: Duration = Duration::from_millis(500);

impl Link for PeerLink {
    type Transport = MaybeTls;

    fn transport(&self) -> &MaybeTls {
        &self.transport
    }

    fn delivery(&self) -> Delivery {
        self.state.settings.delivery
    }

    fn write_deadline(&self) -> Duration {
        self.state.settings.write_deadline
    }

    fn start_pump(&self, pump: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.tcp().set_send_timeout(PUMP_WRITE.min(self.write_deadline()))?;
        let PeerLink { id, state, pump: last, .. } = self;
        let (id, observer, counters) = (*id, state.observer.clone(), state.counters.clone());
        // Held until the pump is in it: another thread may need the next pump before that.
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.take();
        let run = move || {
            // The pump has given up its role, so it is about to end.
            before.inspect(Worker::join);
            observer.report(id, Event::PumpBegins);
            let running = counters.pump_begins();
            pump();
            drop(running);
            observer.report(id, Event::PumpEnds);
        };
        let started = match self.delivery() {
            Delivery::Inline => state.budget.spawn_pump(format!("pump-{id}"), self.write_deadline(), run),
            Delivery::Handoff => state.budget.spawn(format!("writer-{id}"), Duration::ZERO, run),
        };
        let started = started.inspect_err(|error| log::warn!("{self}: cannot start its pump: {error}"))?;
        *last = Some(started);
        Ok(())
    }

    fn disconnect(&self, reason: DisconnectReason, backlog: u64) {
        *self.ended_by() = Some(reason);
        // Counted before another thread can notice.
        self.state.counters.disconnected(reason);
        self.tcp().shutdown(Shutdown::Both);
        self.has_closed();
        let why = match reason {
            DisconnectReason::Overflow => "its backlog is full",
            DisconnectReason::Stalled => "it has read nothing within the write deadline",
            DisconnectReason::NoPump => "no thread became free to write to it",
            _ => return log::debug!("{self}: disconnected ({reason:?})"),
        };
        self.report(Event::SlowConsumer { backlog });
        log::warn!("{self} is a slow consumer: disconnected, {why}, {backlog} bytes are lost");
    }

    fn hold(&self, bytes: u64, all: u64) -> bool {
        self.state.buffers.hold(bytes, all)
    }

    fn release(&self, bytes: u64) {
        self.state.buffers.release(bytes);
    }

    fn close_written(&self, connection: Weak<dyn Kill>) {
        // A peer that has sent a Close has answered ours, or needs no further answer; but then a server has to end the
        // TCP connection.
        if self.close.get().is_none() || self.role == Role::Client {
            let (deadline, peer) = (Instant::now() + CLOSE_GRACE, OverduePeer::Closing(connection));
            // Without a closer the server is shutting down, which has its own deadline.
            let _ = self.state.closer.send(Errand::Overdue(Overdue { deadline, peer }));
        }
    }

    #[inline]
    fn sent(&self, bytes: usize) {
        // There is only one drainer, so the addition need not be atomic.
        self.sent.store(self.sent.load(Relaxed) + bytes as u64, Relaxed);
    }

    #[inline]
    fn report(&self, event: Event) {
        self.state.observer.report(self.id, event);
    }
}

impl MayGiveWay for Outbox<PeerLink> {
    fn give_way(&self) {
        self.link.has_given_way.store(true, Release);
        if self.has_room() {
            self.link.tcp().shutdown(Shutdown::Read);
        } else {
            // Its thread does not read: it waits until the client has read the earlier answers.
            self.kill(DisconnectReason::GaveWay);
        }
    }
}
