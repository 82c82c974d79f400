//! All clients of the load generator, on one thread and one poll.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use crate::failure::{Failure, While};
use crate::load::client::{Client, Manner};
use crate::load::event::{Action, Ended, Event, Listener};
use crate::report::numbers::thousands;

/// The most bytes of one read.
const READ_BUFFER: usize = 256 * 1024;
/// The most events of one poll.
const EVENTS: usize = 1024;
/// The time limit for a server's answer to a handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Clients that share a source address. A system usually hands out 28,232 ports, and first every second of them; once
/// that half is used up, it searches the other half for milliseconds, client after client.
const CLIENTS_PER_SOURCE: u64 = 7_000;
/// Source addresses, used in turn, from 127.0.0.1 on.
const SOURCES: u64 = 16;

/// How fast clients are opened.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Concurrent handshakes. Fewer than any server's backlog, so that the kernel drops none.
    pub in_flight: usize,
    /// Clients a second, if limited.
    pub rate: Option<f64>,
}

/// The clients.
pub struct Crowd {
    poll: Poll,
    events: Events,
    server: SocketAddr,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    /// Deadlines of handshakes, in order, each with the client's place and serial.
    handshakes: VecDeque<(Instant, usize, u64)>,
    next_serial: u64,
    opened: usize,
    opening: usize,
    buffer: Vec<u8>,
    /// The frame that [`Action::Send`] sends.
    message: Vec<u8>,
    /// How to connect clients from now on.
    manner: Manner,
}

impl Crowd {
    /// A crowd without clients, in front of `server`.
    pub fn new(server: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Result<Self, Failure> {
        Ok(Self {
            poll: Poll::new().doing("create a poll")?,
            events: Events::with_capacity(EVENTS),
            server,
            clients: Vec::new(),
            free: Vec::new(),
            handshakes: VecDeque::new(),
            next_serial: 0,
            opened: 0,
            opening: 0,
            buffer: vec![0; READ_BUFFER],
            message: Vec::new(),
            manner: Manner { tls, ..Manner::default() },
        })
    }

    /// Sets the frame that [`Action::Send`] sends.
    pub fn prepare(&mut self, frame: Vec<u8>) {
        self.message = frame;
    }

    /// Limits the kernel's receive buffer of clients that connect from now on.
    pub fn limit_receive_buffer(&mut self, bytes: usize) {
        self.manner.receive_buffer = Some(bytes);
    }

    /// Sets whether clients that connect from now on offer compression.
    pub fn offer_compression(&mut self, offer: bool) {
        self.manner.compression = offer;
    }

    /// Stamps events with the time at which they are read, instead of that of their arrival.
    pub fn take_own_times(&mut self) {
        self.manner.own_times = true;
    }

    /// Clients that are open.
    pub fn opened(&self) -> usize {
        self.opened
    }

    /// Bytes of frames that came to open clients.
    pub fn received(&self) -> u64 {
        self.clients.iter().flatten().map(|client| client.received).sum()
    }

    /// Clients in a handshake.
    pub fn opening(&self) -> usize {
        self.opening
    }

    /// Starts to connect a client to `path`, with a new name, and returns its place.
    pub fn connect(&mut self, path: &str) -> io::Result<usize> {
        let serial = self.next_serial;
        let place = self.free.last().copied().unwrap_or(self.clients.len());
        let source = (serial / CLIENTS_PER_SOURCE % SOURCES) as u8;
        let source = (Ipv4Addr::new(127, 0, 0, 1 + source), 0).into();
        // In a fleet an Id is one client's, whichever machine it is on.
        let target = format!("{path}?Id=c{serial}-{}", self.server.port());
        let route = (source, self.server);
        let mut client = Client::connect((place, serial), route, target, &self.manner)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut client.stream, Token(place), interest)?;
        self.next_serial += 1;
        self.opening += 1;
        let deadline = Instant::now() + HANDSHAKE_DEADLINE;
        self.handshakes.push_back((deadline, place, serial));
        match self.free.pop() {
            Some(_) => self.clients[place] = Some(client),
            None => self.clients.push(Some(client)),
        }
        Ok(place)
    }

    /// Connects `count` clients to `path`, and returns how long that took. Any failure ends it.
    pub fn connect_all(
        &mut self,
        (path, count): (&str, usize),
        pace: Pace,
        deadline: Duration,
        listener: &mut Listener<'_>,
    ) -> Result<Duration, Failure> {
        let start = Instant::now();
        let (before, mut started, mut ended) = (self.opened, 0, None);
        while self.opened < before + count {
            let elapsed = start.elapsed();
            let allowed = pace.allowed(elapsed).min(count);
            while started < allowed && self.opening < pace.in_flight {
                let what = format!("connect client {} of {count}", started + 1);
                self.connect(path).doing(what)?;
                started += 1;
            }
            let until = (start + deadline).min(Instant::now() + pace.pause());
            self.turn(until, &mut |id, event, now| {
                if let Event::Ended(how) = &event {
                    ended.get_or_insert_with(|| (*how).clone());
                }
                listener(id, event, now)
            })?;
            let open = thousands((self.opened - before.min(self.opened)) as i64);
            let all = thousands(count as i64);
            if let Some(how) = ended {
                let line = format!("{open} of {all} clients were connected, then one was {how}");
                return Err(Failure::new(line));
            }
            if elapsed > deadline {
                let seconds = deadline.as_secs();
                let line = format!("only {open} of {all} clients were connected in {seconds} s");
                return Err(Failure::new(line));
            }
        }
        Ok(start.elapsed())
    }

    /// Waits for events, until `until` at the latest, and handles them.
    pub fn turn(&mut self, until: Instant, listener: &mut Listener<'_>) -> Result<(), Failure> {
        let until = match self.handshakes.front() {
            Some((deadline, ..)) => until.min(*deadline),
            None => until,
        };
        let timeout = until.saturating_duration_since(Instant::now());
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            outcome => outcome.doing("wait for events")?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            self.handle(event, listener);
        }
        self.events = events;
        self.end_late_handshakes(listener);
        Ok(())
    }

    /// Sends bytes to one client; ignores one that is gone.
    pub fn send(&mut self, place: usize, bytes: &[u8]) -> Result<(), Failure> {
        match self.clients.get_mut(place) {
            Some(Some(client)) => client.send(bytes).doing("send to the server"),
            _ => Ok(()),
        }
    }

    fn handle(&mut self, event: &mio::event::Event, listener: &mut Listener<'_>) {
        let place = event.token().0;
        let Some(client) = self.clients[place].as_mut() else {
            return;
        };
        let was_open = client.is_open();
        let outcome = client.advance(event, &mut self.buffer, &self.message, listener);
        if client.is_open() && !was_open {
            self.opening -= 1;
            self.opened += 1;
        }
        if client.stalled {
            // It stays connected, but unobserved.
            let _ = self.poll.registry().deregister(&mut client.stream);
        }
        if let Err(how) = outcome {
            self.end(place, &how, listener);
        }
    }

    fn end(&mut self, place: usize, how: &Ended, listener: &mut Listener<'_>) {
        let Some(client) = self.clients[place].take() else {
            return;
        };
        if client.is_open() {
            self.opened -= 1;
        } else {
            self.opening -= 1;
        }
        self.free.push(place);
        let action = listener(place, Event::Ended(how), Instant::now());
        debug_assert_eq!(action, Action::None, "nobody is left to act");
    }

    fn end_late_handshakes(&mut self, listener: &mut Listener<'_>) {
        let now = Instant::now();
        while let Some(&(deadline, place, serial)) = self.handshakes.front() {
            let waiting = self.clients[place]
                .as_ref()
                .is_some_and(|client| client.serial == serial && !client.is_open());
            if waiting && deadline > now {
                return;
            }
            self.handshakes.pop_front();
            if waiting {
                self.end(place, &Ended::TimedOut, listener);
            }
        }
    }
}

impl Pace {
    /// Clients that may have started after `elapsed`.
    fn allowed(self, elapsed: Duration) -> usize {
        match self.rate {
            Some(rate) => (rate * elapsed.as_secs_f64()) as usize + 1,
            None => usize::MAX,
        }
    }

    /// The longest time until the next client may start.
    fn pause(self) -> Duration {
        match self.rate {
            Some(rate) => Duration::from_secs_f64((1.0 / rate).clamp(0.001, 1.0)),
            None => Duration::from_secs(1),
        }
    }
}
