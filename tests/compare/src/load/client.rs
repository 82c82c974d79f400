//! One client of the load generator: connects, shakes hands, reads frames. Never blocks.

use std::io::{self, ErrorKind, IoSliceMut, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::net::TcpStream;
use nix::cmsg_space;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use rustls::ClientConfig;
use socket2::{Domain, Protocol, Socket, Type};

use crate::load::event::{Action, Ended, Event, Listener};
use crate::load::frame::{self, Kind};
use crate::load::handshake;
use crate::load::inflate::Inflater;
use crate::load::tls::Session;

/// How far a client has come.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// The request is sent; the server must answer with this Sec-WebSocket-Accept.
    AwaitingHead(String),
    Open,
}

/// How to connect a client.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// The kernel's receive buffer for it, if limited.
    pub receive_buffer: Option<usize>,
    /// Whether it offers compression.
    pub compression: bool,
    /// Whether the time of an event is the time at which it is read. Otherwise it is the kernel's time of arrival,
    /// which does not depend on the load of the load generator.
    pub own_times: bool,
    /// Its TLS, if any.
    pub tls: Option<Arc<ClientConfig>>,
}

/// One client.
pub struct Client {
    /// The socket, for the crowd's poll.
    pub stream: TcpStream,
    /// Distinguishes this client from earlier ones at its place.
    pub serial: u64,
    /// No longer in the crowd's poll: it is never read again.
    pub stalled: bool,
    /// Bytes of received frames.
    pub received: u64,
    /// Inflates messages, if it offers compression.
    inflater: Option<Inflater>,
    id: usize,
    target: String,
    stage: Stage,
    /// Bytes of an incomplete head or frame.
    partial: Vec<u8>,
    /// Bytes that the socket has not taken yet.
    unsent: Vec<u8>,
    tls: Option<Box<Session>>,
}

impl Client {
    /// Starts to connect, from `source` to `server`, for `target` (path and query).
    pub fn connect(
        (id, serial): (usize, u64),
        (source, server): (SocketAddr, SocketAddr),
        target: String,
        manner: &Manner,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // Leaves without TIME_WAIT, so that tens of thousands of ports are free again at once.
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(bytes) = manner.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        setsockopt(&socket, ReceiveTimestampns, &!manner.own_times)?;
        socket.bind(&source.into())?;
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => {
                return Err(error);
            }
            _ => {}
        }
        let session = manner.tls.clone().map(Session::new).transpose();
        let tls = session.map_err(|how| io::Error::other(how.to_string()))?.map(Box::new);
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            serial,
            stalled: false,
            received: 0,
            inflater: manner.compression.then(Inflater::new),
            id,
            target,
            stage: Stage::Connecting,
            partial: Vec::new(),
            unsent: Vec::new(),
            tls,
        })
    }

    /// Whether the handshake is done.
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Handles an event of the poll.
    pub fn advance(
        &mut self,
        event: &mio::event::Event,
        buffer: &mut [u8],
        message: &[u8],
        listener: &mut Listener<'_>,
    ) -> Result<(), Ended> {
        if event.is_writable() {
            if self.stage == Stage::Connecting {
                self.request()?;
            } else if !self.unsent.is_empty() {
                self.flush()?;
            }
        }
        if !event.is_readable() || self.stage == Stage::Connecting {
            return Ok(());
        }
        loop {
            let (read, now) = match self.read(buffer) {
                Ok((0, _)) => return Err(Ended::Closed),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Ended::Failed(error.kind())),
            };
            self.take_in(&buffer[..read], now, message, listener)?;
            // A short read has emptied the socket: later bytes make another event.
            if self.stalled || (read < buffer.len() && !event.is_read_closed()) {
                return Ok(());
            }
        }
    }

    /// Reads what is ready, and returns the time of its last part.
    fn read(&self, buffer: &mut [u8]) -> io::Result<(usize, Instant)> {
        let mut space = cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = self.stream.as_raw_fd();
        let received = recvmsg::<()>(fd, &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
        let (now, clock) = (Instant::now(), SystemTime::now());
        let stamp = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        });
        let arrived = stamp.map(|stamp| SystemTime::UNIX_EPOCH + stamp);
        let age = arrived.and_then(|arrived| clock.duration_since(arrived).ok());
        let arrived = age.and_then(|age| now.checked_sub(age)).unwrap_or(now);
        Ok((received.bytes, arrived))
    }

    /// Sends bytes, or keeps those that the socket does not take now.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        match &mut self.tls {
            Some(tls) => tls.seal(bytes, &mut self.unsent)?,
            None => self.unsent.extend_from_slice(bytes),
        }
        self.flush()
    }

    /// Sends the request, once connected.
    fn request(&mut self) -> Result<(), Ended> {
        if let Ok(Some(error)) | Err(error) = self.stream.take_error() {
            return Err(Ended::Failed(error.kind()));
        }
        let (request, accept) = handshake::request(&self.target, self.inflater.is_some());
        self.target = String::new();
        self.stage = Stage::AwaitingHead(accept);
        self.send(request.as_bytes())
    }

    /// Takes bytes from the socket.
    fn take_in(
        &mut self,
        bytes: &[u8],
        now: Instant,
        message: &[u8],
        listener: &mut Listener<'_>,
    ) -> Result<(), Ended> {
        let Some(tls) = &mut self.tls else { return self.receive(bytes, now, message, listener) };
        let mut plain = Vec::new();
        tls.open(bytes, &mut plain, &mut self.unsent)?;
        self.flush()?;
        self.receive(&plain, now, message, listener)
    }

    /// Takes received bytes: complete heads and frames at once, the rest later.
    fn receive(
        &mut self,
        bytes: &[u8],
        now: Instant,
        message: &[u8],
        listener: &mut Listener<'_>,
    ) -> Result<(), Ended> {
        if self.partial.is_empty() {
            let taken = self.take(bytes, now, message, listener)?;
            self.partial.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        let taken = self.take(&whole, now, message, listener)?;
        if taken < whole.len() {
            whole.drain(..taken);
            self.partial = whole;
        }
        Ok(())
    }

    /// Handles the complete part, and returns its length.
    fn take(
        &mut self,
        bytes: &[u8],
        now: Instant,
        message: &[u8],
        listener: &mut Listener<'_>,
    ) -> Result<usize, Ended> {
        let mut taken = 0;
        if let Stage::AwaitingHead(accept) = &self.stage {
            match handshake::head_length(bytes, accept)? {
                Some(length) => taken = length,
                None => return Ok(0),
            }
            self.stage = Stage::Open;
            let action = listener(self.id, Event::Opened, now);
            self.act(action, message)?;
        }
        while !self.stalled {
            let rest = &bytes[taken..];
            let Some(found) = frame::first_frame(rest).map_err(Ended::Protocol)? else {
                break;
            };
            taken += found.payload.end;
            self.received += found.payload.end as u64;
            let payload = &rest[found.payload];
            match found.kind {
                Kind::Message { compressed } => {
                    let inflated;
                    let payload = if compressed {
                        inflated = self.inflate(payload)?;
                        &inflated
                    } else {
                        payload
                    };
                    let action = listener(self.id, Event::Message(payload), now);
                    self.act(action, message)?;
                }
                Kind::Ping => self.send(&frame::pong_frame(payload))?,
                Kind::Pong => {}
                Kind::Close => return Err(Ended::Closed),
            }
        }
        Ok(taken)
    }

    fn inflate(&mut self, payload: &[u8]) -> Result<Vec<u8>, Ended> {
        let inflater = self.inflater.as_mut().ok_or(Ended::Protocol("a compressed message, not offered"))?;
        inflater.inflate(payload).ok_or(Ended::Protocol("a message that does not inflate"))
    }

    fn act(&mut self, action: Action, message: &[u8]) -> Result<(), Ended> {
        match action {
            Action::None => Ok(()),
            Action::Send => self.send(message),
            Action::HangUp => Err(Ended::HungUp),
            Action::StopReading => {
                self.stalled = true;
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> Result<(), Ended> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Ended::Failed(error.kind())),
            }
        }
        Ok(())
    }
}
