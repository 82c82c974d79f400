//! A scripted socket.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tungstenite::Bytes;

use crate::metrics::DisconnectReason;
use crate::net::buffers::Buffers;
use crate::net::closer::Kill;
use crate::net::outbox::Link;
use crate::net::transport::{Delivery, Transport};

/// The result of a write to the [`Fake`].
pub(super) enum Step {
    /// Takes at most this many bytes.
    Take(usize),
    Full,
    Interrupt,
    Fail,
    Panic,
    /// Calls this first, on the writing thread, then takes everything.
    Call(Box<dyn FnOnce() + Send>),
}

/// The result of sealing for the [`Fake`].
pub(super) enum Seal {
    /// Takes this many bytes.
    Part(usize),
    /// Would have to wait. A caller that may wait gets the next step.
    Wait,
    /// Takes nothing, and returns the transport's own data.
    Alert(&'static str),
    Fail,
}

/// A socket. Takes everything, unless it has steps to follow.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) now: Mutex<VecDeque<Step>>,
    pub(super) blocking: Mutex<VecDeque<Step>>,
    /// Without steps, sealing leaves a frame unchanged.
    pub(super) seals: Mutex<VecDeque<Seal>>,
    pub(super) written: Mutex<Vec<u8>>,
    pub(super) reason: Mutex<Option<DisconnectReason>>,
    pub(super) delivery: Delivery,
    pub(super) close_written: AtomicBool,
    /// The waiting bytes, and their limit.
    pub(super) buffers: Option<Arc<Buffers>>,
    pub(super) no_pumps: bool,
    pub(super) pumps: Mutex<Vec<JoinHandle<()>>>,
}

impl Fake {
    fn write(&self, steps: &Mutex<VecDeque<Step>>, bytes: &[u8]) -> io::Result<usize> {
        let step = steps.lock().unwrap().pop_front().unwrap_or(Step::Take(usize::MAX));
        let taken = match step {
            Step::Take(most) => bytes.len().min(most),
            Step::Full => return Err(ErrorKind::WouldBlock.into()),
            Step::Interrupt => return Err(ErrorKind::Interrupted.into()),
            Step::Fail => return Err(ErrorKind::BrokenPipe.into()),
            Step::Panic => panic!("as planned"),
            Step::Call(call) => {
                call();
                bytes.len()
            }
        };
        self.written.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
}

impl Transport for Fake {
    fn recv(&self, _: &mut [u8]) -> io::Result<usize> {
        unreachable!("an outbox does not read")
    }
    fn seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        loop {
            match self.try_seal(plain) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                sealed => return sealed,
            }
        }
    }
    fn try_seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        match self.seals.lock().unwrap().pop_front() {
            Some(Seal::Part(most)) => Ok(plain.split_to(most.min(plain.len()))),
            Some(Seal::Wait) => Err(ErrorKind::WouldBlock.into()),
            Some(Seal::Alert(text)) => Ok(Bytes::from_static(text.as_bytes())),
            Some(Seal::Fail) => Err(ErrorKind::InvalidData.into()),
            None => Ok(std::mem::take(plain)),
        }
    }
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(&self.now, bytes)
    }
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(&self.blocking, bytes)
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        unreachable!("an outbox does not ask")
    }
    fn shutdown(&self, _: Shutdown) {}
    fn set_recv_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
    fn set_send_timeout(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }
    fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }
}

impl Link for Fake {
    type Transport = Fake;

    fn transport(&self) -> &Fake {
        self
    }
    fn delivery(&self) -> Delivery {
        self.delivery
    }
    fn write_deadline(&self) -> Duration {
        Duration::ZERO
    }
    fn start_pump(&self, pump: impl FnOnce() + Send + 'static) -> io::Result<()> {
        if self.no_pumps {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.pumps.lock().unwrap().push(thread::spawn(pump));
        Ok(())
    }
    fn disconnect(&self, reason: DisconnectReason) {
        self.reason.lock().unwrap().replace(reason);
    }
    fn hold(&self, bytes: u64, all: u64) -> bool {
        self.buffers.as_ref().is_none_or(|buffers| buffers.hold(bytes, all))
    }
    fn release(&self, bytes: u64) {
        if let Some(buffers) = &self.buffers {
            buffers.release(bytes);
        }
    }
    fn close_written(&self, _: Weak<dyn Kill>) {
        self.close_written.store(true, Ordering::Relaxed);
    }
}
