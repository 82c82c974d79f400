//! [`TlsStream`]: TLS over a socket. One thread reads, another writes: full-duplex blocking TLS.
//!
//! One lock guards the `rustls` session. The reader receives without the lock, and holds it while it decrypts; the
//! drainer holds it while it encrypts and takes all queued bytes, and sends without it. So bytes are written in the
//! order of encryption, including those that the peer causes: `rustls` queues them, and only the drainer takes them.
//!
//! Never here: a system call under the lock, or a pushing thread that waits for it.

use std::hint;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rustls::ProtocolVersion;
use tungstenite::Bytes;

use crate::net::seal::Seal;
use crate::net::tcp::Tcp;

/// Plaintext that is sealed together: a record (RFC 8446, section 5.1). A slow client owns no more than this of a frame
/// that it shares with others.
const PART: usize = 16 << 10;
/// The bytes of a record around its plaintext, in TLS 1.3, and in 1.2 with AES-GCM: a full buffer has no spare room to
/// split off.
const OVERHEAD: usize = 22;
const OVERHEAD_1_2: usize = 29;
/// The type of a data record, and in TLS 1.3 of any encrypted record.
const DATA: u8 = 23;
/// Bytes to feed to `rustls` in one call; it keeps at most 16 KiB of plaintext.
const FEED: usize = 4096;
/// The most bytes of an incomplete record: its plaintext comes with the rest.
const PARTIAL: usize = 20 << 10;
/// How often a pushing thread tries the lock. The reader holds it for a few microseconds, unless it is preempted: with
/// a plain lock, one push in a million waited 24 ms for that.
const SPINS: usize = 100;

/// See the [module](self).
pub(crate) struct TlsStream {
    pub(crate) tcp: Tcp,
    /// `None` before the handshake is done.
    session: Mutex<Option<TlsSession>>,
}

struct TlsSession {
    /// Inline, and next to the overhead of a record: a push fetches one place less from memory.
    tls: rustls::Connection,
    overhead: usize,
    /// Received bytes that `rustls` cannot take while it has so much plaintext.
    unfed: Vec<u8>,
    /// The peer has sent its `close_notify`.
    is_ended: bool,
    /// Why the peer's bytes cannot be read, with an alert queued; or why nothing can be sent.
    failure: Option<Box<str>>,
}

impl TlsStream {
    /// Returns a transport that must [begin](TlsStream::begin); until then it receives raw bytes.
    pub(crate) fn new(tcp: Tcp) -> TlsStream {
        TlsStream { tcp, session: Mutex::new(None) }
    }

    /// Called once the handshake is done, and all its bytes are sent. Not inlined, because the moved session passes
    /// over the stack.
    #[inline(never)]
    pub(crate) fn begin(&self, tls: Box<rustls::Connection>) {
        let is_1_2 = tls.protocol_version() == Some(ProtocolVersion::TLSv1_2);
        let overhead = if is_1_2 { OVERHEAD_1_2 } else { OVERHEAD };
        let session = TlsSession { tls: *tls, overhead, unfed: Vec::new(), is_ended: false, failure: None };
        *self.session() = Some(session);
    }

    /// Receives from the socket at most once. Returns `Interrupted` if that brought no plaintext, so that the caller
    /// checks its deadline after each piece of a record; `InvalidData` if the bytes cannot be read, with an alert
    /// queued. A connection that ends without the peer's `close_notify` ends like any other.
    #[inline(always)]
    fn receive(&self, into: &mut [u8], recv: fn(&Tcp, &mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let ready = self.session().as_mut().map(|session| session.ready(into)).transpose()?;
        let Some(ready) = ready else { return recv(&self.tcp, into) };
        if let Some(taken) = ready {
            return Ok(taken);
        }
        // Into the place of the plaintext; with a gap in front if that pays.
        let at = if into.len() > 2 * PARTIAL { PARTIAL } else { 0 };
        let most = if at > 0 { into.len() - at } else { into.len().min(FEED) };
        let received = recv(&self.tcp, &mut into[at..at + most])?;
        let mut session = self.session();
        let session = session.as_mut().expect("it has begun");
        match session.decrypt(into, at, at + received) {
            0 if received == 0 => Ok(session.ready(into)?.unwrap_or(0)),
            0 => Ok(session.ready(into)?.ok_or(ErrorKind::Interrupted)?),
            taken => Ok(taken),
        }
    }

    fn session(&self) -> MutexGuard<'_, Option<TlsSession>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until bytes arrive, see [`receive`](TlsStream::receive). Called by the reading thread alone.
    #[inline(never)]
    pub(crate) fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        self.receive(into, Tcp::recv)
    }

    /// Receives without waiting: `WouldBlock` if nothing has come.
    pub(crate) fn try_recv(&self, into: &mut [u8]) -> io::Result<usize> {
        self.receive(into, Tcp::try_recv)
    }

    /// Seals all of it, for a caller that is the only writer.
    #[inline(never)]
    pub(crate) fn seal_all(&self, plain: &[u8]) -> io::Result<Vec<u8>> {
        let (mut plain, mut sealed) = (Bytes::copy_from_slice(plain), Vec::new());
        while !plain.is_empty() {
            sealed.extend_from_slice(&self.seal(&mut plain)?);
        }
        Ok(sealed)
    }

    /// Tells the peer that nothing follows. Called by the reading thread, when no other thread writes any more.
    #[inline(never)]
    pub(crate) fn finish(&self) {
        let mut last = Vec::new();
        if let Some(session) = self.session().as_mut() {
            if session.failure.is_none() {
                session.tls.send_close_notify();
            }
            // Into memory: it does not fail.
            let _ = session.take_queued(&mut last);
        }
        // A peer whose socket is full reads on without.
        let _ = self.tcp.try_send(&last);
    }
}

impl TlsSession {
    /// Takes plaintext that is ready; `None` if none is.
    fn ready(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let mut taken = self.plaintext(into);
        if taken == 0 && !self.unfed.is_empty() {
            let unfed = std::mem::take(&mut self.unfed);
            self.feed(&unfed);
            taken = self.plaintext(into);
        }
        match (taken, &self.failure) {
            (0, Some(why)) => Err(invalid(why)),
            (0, None) if self.is_ended => Ok(Some(0)),
            (0, None) => Ok(None),
            (taken, _) => Ok(Some(taken)),
        }
    }

    fn plaintext(&mut self, into: &mut [u8]) -> usize {
        // An error means no plaintext.
        self.tls.reader().read(into).unwrap_or(0)
    }

    /// Decrypts `into[at..end]` to the front of `into`, and returns the length of the plaintext. It never reaches bytes
    /// that are still encrypted: it is shorter than they are, except for bytes that came in before.
    fn decrypt(&mut self, into: &mut [u8], mut at: usize, end: usize) -> usize {
        let mut taken = 0;
        while at < end {
            let (front, received) = into.split_at_mut(at);
            let fed = self.feed(&received[..(end - at).min(FEED)]);
            taken += self.plaintext(&mut front[taken..]);
            at += fed;
            if self.is_ended || self.failure.is_some() || !self.unfed.is_empty() {
                self.unfed.extend_from_slice(&into[at..end]);
                break;
            }
        }
        if taken == 0 { self.plaintext(into) } else { taken }
    }

    /// Processes received bytes. Returns their number: all of them, some of which it may keep for later.
    fn feed(&mut self, received: &[u8]) -> usize {
        let mut left = received;
        while !left.is_empty() && !self.is_ended && self.failure.is_none() {
            // Refused while `rustls` has too much plaintext.
            let Ok(taken) = self.tls.read_tls(&mut left) else { break };
            match self.tls.process_new_packets() {
                // `rustls` answers nothing else on its own. A client that waits for the answer keeps waiting.
                Ok(_) if self.tls.wants_write() => self.fail("it asks for a renegotiation"),
                Ok(state) => self.is_ended = taken == 0 || state.peer_has_closed(),
                Err(error) => self.cannot_read(&error),
            }
        }
        self.unfed.extend_from_slice(left);
        received.len()
    }

    /// Not inlined, and neither are its callees: below `rustls` an idle client's stack has no room for it.
    #[cold]
    #[inline(never)]
    fn cannot_read(&mut self, error: &rustls::Error) {
        self.fail(&format!("its TLS cannot be read: {error}"));
        if !self.tls.wants_write() {
            // `rustls` has no alert for some errors, such as too many key updates.
            self.tls.send_close_notify();
        }
    }

    #[cold]
    #[inline(never)]
    fn fail(&mut self, why: &str) {
        self.failure = Some(why.into());
    }

    fn seal(&mut self, plain: &mut Bytes) -> io::Result<Bytes> {
        let mut sealed = Vec::new();
        let has_part = self.failure.is_none() && !plain.is_empty();
        if has_part {
            let part = plain.split_to(plain.len().min(PART));
            sealed.reserve_exact(part.len() + self.overhead);
            self.tls.writer().write_all(&part)?;
        }
        self.take_queued(&mut sealed)?;
        if has_part && sealed.first() != Some(&DATA) {
            // `rustls` has dropped it, and queued `close_notify`, which would claim that nothing is missing.
            self.fail("its keys are used up, and TLS 1.2 has no others");
            sealed.clear();
        }
        if sealed.is_empty() && self.failure.is_some() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(sealed.into())
    }

    fn take_queued(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(into)?;
        }
        Ok(())
    }
}

#[cold]
#[inline(never)]
fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

impl Seal for TlsStream {
    #[inline(never)]
    fn seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        match self.session().as_mut() {
            Some(session) => session.seal(plain),
            // Killed before its handshake was done.
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    #[inline(never)]
    fn try_seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        for _ in 0..SPINS {
            let mut session = match self.session.try_lock() {
                Ok(session) => session,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    hint::spin_loop();
                    continue;
                }
            };
            return session.as_mut().ok_or(ErrorKind::NotConnected)?.seal(plain);
        }
        Err(ErrorKind::WouldBlock.into())
    }

    fn try_send(&self, sealed: &[u8]) -> io::Result<usize> {
        self.tcp.try_send(sealed)
    }

    fn send(&self, sealed: &[u8]) -> io::Result<usize> {
        self.tcp.send(sealed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
