//! The outbox under loom, which tries every order in which two or three threads can go through it
//! (`make loom`).

mod sealing;
mod waiting;

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use loom::thread::{self, JoinHandle};

use super::*;
use crate::net::sync::AtomicU64;

/// A socket with room for a number of writes; then it is full to non-blocking writers. Its memory is as weak as
/// possible: relaxed loads and stores, which lose a frame unless the previous drainer is known to have finished. So the
/// outbox itself has to provide the order.
struct ModelSocket {
    room: AtomicU64,
    /// One byte for each frame, the last one lowest.
    written: AtomicU64,
    dead: AtomicU64,
    pumps: Mutex<Vec<JoinHandle<()>>>,
    no_pumps: bool,
    panics: bool,
    delivery: Delivery,
}

impl ModelSocket {
    fn with_room(room: u64) -> ModelSocket {
        ModelSocket {
            room: AtomicU64::new(room),
            written: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            pumps: Mutex::new(Vec::new()),
            no_pumps: false,
            panics: false,
            delivery: Delivery::Inline,
        }
    }
}

impl Transport for ModelSocket {
    fn recv(&self, _: &mut [u8]) -> io::Result<usize> {
        unreachable!("an outbox does not read")
    }
    fn seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        Ok(std::mem::take(plain))
    }
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!(self.panics && bytes == b"a"), "as planned");
        let room = self.room.load(Relaxed).checked_sub(1).ok_or(ErrorKind::WouldBlock)?;
        self.room.store(room, Relaxed);
        self.send(bytes)
    }
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.dead.load(Acquire) != 0 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.written.store(self.written.load(Relaxed) << 8 | u64::from(bytes[0]), Relaxed);
        Ok(bytes.len())
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

impl Link for ModelSocket {
    type Transport = ModelSocket;

    fn transport(&self) -> &ModelSocket {
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
        let pump = thread::spawn(pump);
        self.pumps.lock().unwrap().push(pump);
        Ok(())
    }
    fn disconnect(&self, _: DisconnectReason) {
        self.dead.store(1, Release);
    }
    fn close_written(&self, _: Weak<dyn Kill>) {}
}

fn model(run: impl Fn() + Send + Sync + 'static) {
    model_with(3, run);
}

/// With three threads that take locks, three preemptions would take an hour.
fn model_with(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(run);
}

fn handed_off() -> ModelSocket {
    ModelSocket { delivery: Delivery::Handoff, ..ModelSocket::with_room(0) }
}

fn begun(fake: ModelSocket) -> Arc<Outbox<ModelSocket>> {
    let outbox = Arc::new(Outbox::new(fake, 1000));
    outbox.begin(Bytes::from_static(b"|")).unwrap();
    outbox
}

fn push(outbox: &Arc<Outbox<ModelSocket>>, text: &'static str) -> bool {
    outbox.push(Frame { bytes: Bytes::from_static(text.as_bytes()), is_close: text == "C" }).is_ok()
}

fn pushing(
    outbox: &Arc<Outbox<ModelSocket>>,
    texts: &'static [&'static str],
) -> JoinHandle<Vec<&'static str>> {
    let outbox = outbox.clone();
    thread::spawn(move || texts.iter().copied().filter(|text| push(&outbox, text)).collect())
}

fn written(outbox: &Outbox<ModelSocket>) -> String {
    let pumps: Vec<_> = outbox.link.pumps.lock().unwrap().drain(..).collect();
    for pump in pumps {
        pump.join().unwrap();
    }
    let bytes = outbox.link.written.load(Relaxed).to_be_bytes();
    bytes.iter().filter(|&&byte| byte != 0).map(|&byte| char::from(byte)).collect()
}

#[test]
fn every_frame_is_written_once_and_each_threads_in_order() {
    model(|| {
        let outbox = begun(ModelSocket::with_room(9));
        let other = pushing(&outbox, &["a", "b"]);
        assert!(push(&outbox, "x") && push(&outbox, "y"));
        other.join().unwrap();
        let written = written(&outbox);
        let only = |set: &str| written.chars().filter(|c| set.contains(*c)).collect::<String>();
        assert_eq!((only("ab").as_str(), only("xy").as_str(), written.len()), ("ab", "xy", 5), "{written}");
        assert_eq!(outbox.state().frames(), 0);
    });
}

#[test]
fn three_pushers_leave_nothing_behind() {
    model(|| {
        let outbox = begun(ModelSocket::with_room(9));
        let others = [pushing(&outbox, &["a"]), pushing(&outbox, &["b"])];
        assert!(push(&outbox, "x"));
        let _ = others.map(|other| other.join().unwrap());
        assert_eq!((written(&outbox).len(), outbox.state().frames()), (4, 0));
    });
}

#[test]
fn the_role_passes_to_the_pump_and_back() {
    model(|| {
        let outbox = begun(ModelSocket::with_room(2));
        let other = pushing(&outbox, &["a", "b"]);
        assert!(push(&outbox, "x"));
        other.join().unwrap();
        let written = written(&outbox);
        assert!(written.len() == 4 && written.find('a') < written.find('b'), "{written}");
        assert_eq!(outbox.state().frames(), 0);
    });
}

#[test]
fn a_close_is_last_and_loses_nothing() {
    model(|| {
        let outbox = begun(ModelSocket::with_room(9));
        let others = [pushing(&outbox, &["a", "b"]), pushing(&outbox, &["C"])];
        let [accepted, close] = others.map(|other| other.join().unwrap());
        assert_eq!(close, ["C"]);
        assert_eq!(written(&outbox), format!("|{}C", accepted.concat()));
    });
}

#[test]
fn a_close_is_last_with_a_pump_too() {
    model(|| {
        let outbox = begun(ModelSocket::with_room(1));
        let other = pushing(&outbox, &["a", "b"]);
        assert!(push(&outbox, "C"));
        let accepted = other.join().unwrap();
        assert_eq!(written(&outbox), format!("|{}C", accepted.concat()));
    });
}

#[test]
fn without_a_pump_the_connection_dies_and_nobody_hangs() {
    model(|| {
        let outbox = begun(ModelSocket { no_pumps: true, ..ModelSocket::with_room(1) });
        let other = pushing(&outbox, &["a", "b"]);
        push(&outbox, "x");
        other.join().unwrap();
        assert!(outbox.state().is_dead());
        assert!(!push(&outbox, "y"));
        assert_eq!(written(&outbox), "|");
    });
}

#[test]
fn a_panic_of_the_drainer_kills_and_nobody_hangs() {
    model(|| {
        let outbox = begun(ModelSocket { panics: true, ..ModelSocket::with_room(9) });
        let other = outbox.clone();
        let other = thread::spawn(move || catch_unwind(AssertUnwindSafe(|| push(&other, "a"))).is_err());
        let mine = catch_unwind(AssertUnwindSafe(|| push(&outbox, "x"))).is_err();
        let others = other.join().unwrap();
        assert!((mine || others) && outbox.state().is_dead());
        assert!(!push(&outbox, "y"));
    });
}

#[test]
fn handed_off_a_close_is_last_and_the_writer_ends() {
    model(|| {
        let outbox = Arc::new(Outbox::new(handed_off(), 1000));
        outbox.begin(Bytes::from_static(b"|")).unwrap();
        let other = pushing(&outbox, &["a"]);
        assert!(push(&outbox, "C"));
        let accepted = other.join().unwrap();
        assert_eq!(written(&outbox), format!("|{}C", accepted.concat()));
    });
}

#[test]
fn handed_off_a_death_ends_the_writer() {
    model(|| {
        let outbox = Arc::new(Outbox::new(handed_off(), 1000));
        outbox.begin(Bytes::from_static(b"|")).unwrap();
        let other = pushing(&outbox, &["a"]);
        outbox.kill(DisconnectReason::Done);
        other.join().unwrap();
        written(&outbox);
        assert!(!push(&outbox, "b"));
    });
}
