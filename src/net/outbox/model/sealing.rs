//! The outbox over a transport with a lock, which the reading thread takes too: whichever thread seals, the bytes are
//! written in the order of sealing.

use super::*;

/// The state under the lock of the [`Sealing`] transport.
#[derive(Default)]
struct Sealer {
    /// Sealed bytes that the drainer has not taken.
    queue: Vec<u8>,
    /// All bytes ever sealed.
    history: Vec<u8>,
}

/// A socket that always has room, and seals under a lock. Its memory is as weak as [`ModelSocket`]'s.
struct Sealing {
    sealer: Mutex<Sealer>,
    socket: ModelSocket,
}

fn take(sealer: &mut Sealer, plain: &mut Bytes) -> Bytes {
    let plain = std::mem::take(plain);
    sealer.queue.extend_from_slice(&plain);
    sealer.history.extend_from_slice(&plain);
    std::mem::take(&mut sealer.queue).into()
}

impl Transport for Sealing {
    fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(into)
    }
    fn seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        Ok(take(&mut self.sealer.lock().unwrap(), plain))
    }
    fn try_seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        let mut sealer = self.sealer.try_lock().map_err(|_| ErrorKind::WouldBlock)?;
        Ok(take(&mut sealer, plain))
    }
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)
    }
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        bytes.iter().try_for_each(|byte| self.socket.send(&[*byte]).map(|_| ()))?;
        Ok(bytes.len())
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
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

impl Link for Sealing {
    type Transport = Sealing;

    fn transport(&self) -> &Sealing {
        self
    }
    fn delivery(&self) -> Delivery {
        Delivery::Inline
    }
    fn write_deadline(&self) -> Duration {
        Duration::ZERO
    }
    fn start_pump(&self, pump: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.socket.start_pump(pump)
    }
    fn disconnect(&self, reason: DisconnectReason) {
        self.socket.disconnect(reason);
    }
    fn close_written(&self, _: Weak<dyn Kill>) {}
}

fn begun() -> Arc<Outbox<Sealing>> {
    let link = Sealing { sealer: Mutex::new(Sealer::default()), socket: ModelSocket::with_room(0) };
    let outbox = Arc::new(Outbox::new(link, 1000));
    outbox.begin(Bytes::from_static(b"|")).unwrap();
    outbox
}

fn push(outbox: &Arc<Outbox<Sealing>>, text: &'static str) -> bool {
    outbox.push(Frame { bytes: Bytes::from_static(text.as_bytes()), is_close: text == "C" }).is_ok()
}

/// The reading thread: it seals an alert, and pushes an empty frame so that some thread writes it.
fn alerting(outbox: &Arc<Outbox<Sealing>>) -> JoinHandle<()> {
    let outbox = outbox.clone();
    thread::spawn(move || {
        let mut sealer = outbox.link.sealer.lock().unwrap();
        sealer.queue.push(b'!');
        sealer.history.push(b'!');
        drop(sealer);
        assert!(push(&outbox, ""));
    })
}

fn written(outbox: &Outbox<Sealing>) -> String {
    outbox.wait_until_written();
    let pumps: Vec<_> = outbox.link.socket.pumps.lock().unwrap().drain(..).collect();
    for pump in pumps {
        pump.join().unwrap();
    }
    let bytes = outbox.link.socket.written.load(Relaxed).to_be_bytes();
    bytes.iter().filter(|&&byte| byte != 0).map(|&byte| char::from(byte)).collect()
}

#[test]
fn whichever_thread_seals_the_order_of_writing_is_the_order_of_sealing() {
    model(|| {
        let outbox = begun();
        let reader = alerting(&outbox);
        assert!(push(&outbox, "a") && push(&outbox, "b"));
        reader.join().unwrap();
        let written = written(&outbox);
        let history = String::from_utf8(outbox.link.sealer.lock().unwrap().history.clone()).unwrap();
        assert_eq!((written.len(), outbox.state().frames()), (4, 0), "{written}");
        assert_eq!(written, history);
    });
}

#[test]
fn a_seal_that_would_block_passes_the_role_to_a_pump() {
    model(|| {
        let outbox = begun();
        let holder = outbox.clone();
        let holder = thread::spawn(move || drop(holder.link.sealer.lock().unwrap()));
        assert!(push(&outbox, "a") && push(&outbox, "b"));
        holder.join().unwrap();
        assert_eq!((written(&outbox).as_str(), outbox.state().frames()), ("|ab", 0));
    });
}

#[test]
fn a_thread_that_waited_for_the_close_writes_after_it() {
    model(|| {
        let outbox = begun();
        let other = outbox.clone();
        let other = thread::spawn(move || push(&other, "a"));
        assert!(push(&outbox, "C"));
        outbox.wait_until_written();
        // The outbox accepts no more pushes, so no other drainer exists: a close_notify is safe here.
        outbox.link.send(b"N").unwrap();
        let accepted = if other.join().unwrap() { "a" } else { "" };
        assert_eq!(written(&outbox), format!("|{accepted}CN"));
    });
}
