//! [`TlsHandshakes`]: the computation of handshakes, on the threads `tls-N`. `client-N` receives, sends, and waits for
//! them.
//!
//! If a client's thread computed its own handshake, it would keep the stack pages and allocator caches: 41 KiB instead
//! of 28, and a debug build needs more than the smallest stack.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rustls::{Connection, ServerConfig, ServerConnection};

use crate::net::tls::config::TlsConfig;
use crate::panics::caught;

/// A fatal alert, `internal_error` (RFC 8446, section 6.2), in plain text: the answer of a full server.
pub(crate) const FULL: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// The most steps that wait for a thread. More come only if all threads are held up.
const WAITING: usize = 1024;

/// The queue of handshake steps.
pub(crate) struct TlsHandshakes {
    jobs: Sender<Job>,
    stop: Receiver<()>,
}

/// The threads `tls-N`. An application's own resolver or verifier runs on them, and may block one forever.
pub(crate) struct TlsThreads {
    /// Dropped to end them.
    stop: Option<Sender<()>>,
    /// Has no sender once they have ended.
    ended: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

/// A step of a handshake, on its way to a thread.
struct Job {
    handshake: TlsHandshake,
    received: Vec<u8>,
    /// When its client gives up.
    deadline: Instant,
    done: Sender<TlsStep>,
}

/// One client's handshake in progress.
pub(crate) struct TlsHandshake(Option<Box<Connection>>);

/// The result of a step.
pub(crate) struct TlsStep {
    pub(crate) progress: TlsProgress,
    pub(crate) to_send: Vec<u8>,
}

/// The progress of a handshake.
pub(crate) enum TlsProgress {
    /// It needs more input.
    Continues(TlsHandshake),
    Done(Box<Connection>),
    /// It has failed, for this reason.
    Failed(String),
}

impl TlsThreads {
    /// Starts one thread for each core, and returns their queue.
    pub(crate) fn start(config: &TlsConfig) -> io::Result<(TlsHandshakes, TlsThreads)> {
        let (jobs, to_do) = crossbeam_channel::bounded(WAITING);
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let (alive, ended) = crossbeam_channel::bounded::<()>(0);
        let mut started = TlsThreads { stop: Some(stop), ended, threads: Vec::new() };
        for number in 1..=thread::available_parallelism().map_or(1, usize::from) {
            let (config, to_do, stop) = (config.rustls.clone(), to_do.clone(), stopped.clone());
            let alive = alive.clone();
            let run = move || {
                run(&config, &to_do, &stop);
                drop(alive);
            };
            started.threads.push(thread::Builder::new().name(format!("tls-{number}")).spawn(run)?);
        }
        Ok((TlsHandshakes { jobs, stop: stopped }, started))
    }

    /// Releases all clients that wait for a step, and begins no more steps.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }

    /// Joins the stopped threads. Abandons a thread that is still held up at the deadline, and logs that.
    pub(crate) fn join(&mut self, deadline: Instant) {
        if self.ended.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout) {
            log::warn!("shut down while the application's part of a TLS handshake was still running");
            self.threads.clear();
        }
        // A panic has already been reported.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl TlsHandshakes {
    /// Returns a client's handshake, before its first step.
    pub(crate) fn begin(&self) -> TlsHandshake {
        TlsHandshake(None)
    }

    /// Blocks until a thread has processed the received bytes. Returns `None` if none has by the deadline, or the
    /// server shuts down.
    pub(crate) fn step(
        &self,
        handshake: TlsHandshake,
        received: Vec<u8>,
        deadline: Instant,
    ) -> Option<TlsStep> {
        let (done, step) = crossbeam_channel::bounded(1);
        let job = Job { handshake, received, deadline, done };
        crossbeam_channel::select! {
            send(self.jobs, job) -> sent => sent.ok()?,
            recv(self.stop) -> _ => return None,
            default(deadline.saturating_duration_since(Instant::now())) => return None,
        }
        crossbeam_channel::select! {
            recv(step) -> step => step.ok(),
            recv(self.stop) -> _ => None,
            default(deadline.saturating_duration_since(Instant::now())) => None,
        }
    }
}

/// Runs until the other end of `stop` is dropped.
fn run(config: &Arc<ServerConfig>, jobs: &Receiver<Job>, stop: &Receiver<()>) {
    loop {
        let job = crossbeam_channel::select! {
            recv(jobs) -> job => job,
            recv(stop) -> _ => return,
        };
        let Ok(Job { handshake, received, deadline, done }) = job else { return };
        if Instant::now() >= deadline {
            continue;
        }
        // A panic has been reported, and ends only this handshake.
        if let Ok(step) = caught(|| step(config, handshake, &received)) {
            // A client that has left is not waiting.
            let _ = done.send(step);
        }
    }
}

fn step(config: &Arc<ServerConfig>, handshake: TlsHandshake, mut received: &[u8]) -> TlsStep {
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
        // Includes the alert of a failed handshake.
        while tls.wants_write() && tls.write_tls(&mut to_send).is_ok() {}
        outcome.map(|()| tls)
    });
    let progress = match tls {
        Ok(tls) if tls.is_handshaking() => TlsProgress::Continues(TlsHandshake(Some(tls))),
        Ok(tls) => TlsProgress::Done(tls),
        Err(error) => TlsProgress::Failed(error.to_string()),
    };
    TlsStep { progress, to_send }
}
