//! A socket that does what a test wants.

use std::collections::VecDeque;
use std::io;
use std::io::ErrorKind;
use std::sync::Mutex;
use std::thread;
use std::thread::JoinHandle;

use crate::web::wire::Death;
use crate::web::wire::Wire;

/// What a write to the [`Fake`] does.
pub(super) enum Step {
    /// Takes at most this many bytes.
    Take(usize),
    Full,
    Interrupt,
    Fail,
    Panic,
    /// Runs this first, on the writing thread, then takes everything.
    Call(Box<dyn FnOnce() + Send>),
}

/// A socket. Takes everything, unless it has steps to follow.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) now: Mutex<VecDeque<Step>>,
    pub(super) blocking: Mutex<VecDeque<Step>>,
    pub(super) written: Mutex<Vec<u8>>,
    pub(super) death: Mutex<Option<Death>>,
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

impl Wire for Fake {
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(&self.now, bytes)
    }
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(&self.blocking, bytes)
    }
    fn kill(&self, why: Death) {
        self.death.lock().unwrap().replace(why);
    }
    fn start_pump(&self, pump: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        if self.no_pumps {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.pumps.lock().unwrap().push(thread::spawn(pump));
        Ok(())
    }
}
