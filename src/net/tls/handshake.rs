//! [`Handshakes`]: the arithmetic of handshakes, on the threads `tls-N`. `client-N` receives and sends, and waits here.
//!
//! On its own thread a client would keep the stack pages and the allocator's caches that a handshake takes: 41 KiB
//! instead of 28, and a debug build needs more than the smallest stack.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use rustls::{Connection, ServerConfig, ServerConnection};

use crate::net::tls::config::TlsConfig;

/// A fatal alert, `internal_error` (RFC 8446, section 6.2), in plain text: what a full server says.
pub(crate) const FULL: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// Where handshakes are sent to.
pub(crate) struct Handshakes {
    jobs: Sender<Job>,
}

/// What the threads take from.
#[derive(Clone)]
pub(crate) struct Jobs {
    config: Arc<ServerConfig>,
    to_do: Receiver<Job>,
}

/// A step of a handshake, on its way to a thread.
struct Job {
    handshake: Handshake,
    received: Vec<u8>,
    done: Sender<HandshakeStep>,
}

/// One client's, as far as it is.
pub(crate) struct Handshake(Option<Box<Connection>>);

/// What came of a step.
pub(crate) struct HandshakeStep {
    pub(crate) progress: HandshakeProgress,
    pub(crate) to_send: Vec<u8>,
}

/// How far a handshake is.
pub(crate) enum HandshakeProgress {
    /// More has to be received.
    Continues(Handshake),
    Done(Box<Connection>),
    /// It has failed, and why.
    Failed(String),
}

impl Handshakes {
    /// Returns both ends.
    pub(crate) fn new(config: &TlsConfig) -> (Handshakes, Jobs) {
        let (jobs, to_do) = crossbeam_channel::unbounded();
        (Handshakes { jobs }, Jobs { config: config.rustls.clone(), to_do })
    }

    /// Returns a client's handshake, before its first step.
    pub(crate) fn begin(&self) -> Handshake {
        Handshake(None)
    }

    /// Blocks until a thread has dealt with what was received. `None` if there are none any more: the server has shut
    /// down.
    pub(crate) fn step(&self, handshake: Handshake, received: Vec<u8>) -> Option<HandshakeStep> {
        let (done, step) = crossbeam_channel::bounded(1);
        self.jobs.send(Job { handshake, received, done }).ok()?;
        step.recv().ok()
    }
}

/// Runs until the server drops the other end of `stop`.
pub(crate) fn run(jobs: &Jobs, stop: &Receiver<()>) {
    loop {
        let job = crossbeam_channel::select! {
            recv(jobs.to_do) -> job => job,
            recv(stop) -> _ => return,
        };
        let Ok(Job { handshake, received, done }) = job else { return };
        // A panic has been reported, and is the end of that handshake alone.
        if let Ok(step) = catch_unwind(AssertUnwindSafe(|| step(&jobs.config, handshake, &received))) {
            // Who has left does not wait for it.
            let _ = done.send(step);
        }
    }
}

fn step(config: &Arc<ServerConfig>, handshake: Handshake, mut received: &[u8]) -> HandshakeStep {
    let mut to_send = Vec::new();
    let new = || ServerConnection::new(config.clone()).map(|tls| Box::new(Connection::Server(tls)));
    let tls = handshake.0.map_or_else(new, Ok);
    let tls = tls.and_then(|mut tls| {
        let mut outcome = Ok(());
        while !received.is_empty() && outcome.is_ok() {
            outcome = match tls.read_tls(&mut received) {
                Ok(1..) => tls.process_new_packets().map(|_| ()),
                Ok(0) | Err(_) => Err(rustls::Error::General("more than a handshake".to_owned())),
            };
        }
        // Also the alert of one that has failed.
        while tls.wants_write() && tls.write_tls(&mut to_send).is_ok() {}
        outcome.map(|()| tls)
    });
    let progress = match tls {
        Ok(tls) if tls.is_handshaking() => HandshakeProgress::Continues(Handshake(Some(tls))),
        Ok(tls) => HandshakeProgress::Done(tls),
        Err(error) => HandshakeProgress::Failed(error.to_string()),
    };
    HandshakeStep { progress, to_send }
}
