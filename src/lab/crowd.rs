//! The thread `lab-crowd`: the lab's own clients, at this server and at the servers beside.
//!
//! They are as cheap as clients can be, since the lesson is not about this thread: each is a socket, and nothing is
//! parsed. Once a second the thread discards the received bytes, and a tenth of the clients send a Pong, so that no
//! server has to ping them. Blocks in a channel. Without clients, it blocks until somebody orders some.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde_json::{Value, json};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use crate::lab::beside::HERE;
use crate::lab::events::Change;
use crate::lab::nuisance::Nuisance;
use crate::lab::orders::Order;
use crate::lab::visitor::{Host, Visitor, client_bytes};

/// Time from one reading of the sockets to the next.
const SWEEP: Duration = Duration::from_secs(1);
/// Sweeps from one Pong of a client to its next: well within any server's ping interval, this one's being 20 s.
const BEATS: usize = 10;
/// Most clients at one place, and most that do not read, or do not stop talking.
const MOST: usize = 2000;
const MOST_STALLED: usize = 4;
const MOST_FLOODS: usize = 2;
/// Clients that come to an empty lab, so that there is something to see.
const FIRST: usize = 6;
/// Most names that are sent to a watcher.
const MOST_NAMES: usize = 300;
/// Names of the first ones, easy to talk about.
const NAMES: [&str; 8] = ["ann", "bob", "cleo", "dan", "eve", "fay", "gus", "hal"];

/// All clients of the lab.
pub struct Crowd {
    places: Vec<Place>,
    stalled: Vec<Nuisance>,
    floods: Vec<Nuisance>,
    /// Clients of these two kinds that ever came.
    nuisances: usize,
    orders: Receiver<Order>,
    changes: Sender<Change>,
    sweeps: usize,
}

struct Place {
    name: String,
    host: Host,
    clients: Vec<CrowdMember>,
    /// Clients that have sent their Close.
    leaving: Vec<CrowdMember>,
    /// Clients that came since the start.
    came: usize,
}

struct CrowdMember {
    name: String,
    visitor: Visitor,
    /// Before its server has answered, a frame may be junk behind a request.
    answered: bool,
}

impl Crowd {
    /// Starts without clients, at this server and at those of these names.
    pub fn new(
        here: Host,
        beside: impl IntoIterator<Item = (String, SocketAddr)>,
        orders: Receiver<Order>,
        changes: Sender<Change>,
    ) -> Crowd {
        let here = std::iter::once((HERE.to_owned(), here));
        let beside = beside.into_iter().map(|(name, address)| (name, Host { address, tls: None }));
        let places = here.chain(beside).map(|(name, host)| Place::new(name, host)).collect();
        Crowd { places, stalled: Vec::new(), floods: Vec::new(), nuisances: 0, orders, changes, sweeps: 0 }
    }

    /// Carries out orders until [`Order::Stop`]; then all clients are gone.
    pub fn run(mut self) {
        let mut next = Instant::now();
        loop {
            let order = if self.is_empty() {
                self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.orders.recv_deadline(next)
            };
            match order {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(order) => {
                    let obeyed = self.obey(order);
                    self.tell(Change::Crowd(self.to_json()));
                    obeyed.unwrap_or_else(|what| self.tell(Change::Note(what)));
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.sweep();
                    next = Instant::now() + SWEEP;
                }
            }
        }
        self.stalled.drain(..).chain(self.floods.drain(..)).for_each(Nuisance::end);
    }

    /// Does not fail when the lab ends, and nobody listens any more.
    fn tell(&self, change: Change) {
        let _ = self.changes.send(change);
    }

    fn is_empty(&self) -> bool {
        self.stalled.is_empty()
            && self.floods.is_empty()
            && self.places.iter().all(|place| place.clients.is_empty() && place.leaving.is_empty())
    }

    fn obey(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Say(name, text) => self.places[0].say(&name, &text),
            Order::Come(place, clients) => self.place(&place)?.come(clients),
            Order::Leave(place) => {
                self.place(&place)?.leave();
                Ok(())
            }
            Order::Storm(place) => self.place(&place)?.storm(),
            Order::Stall => self.stall(),
            Order::Flood => self.flood(),
            Order::Start => self.start(),
            Order::StartAgain => self.start_again(),
            Order::Stop => Ok(()),
        }
    }

    fn place(&mut self, name: &str) -> Result<&mut Place, String> {
        let found = self.places.iter_mut().find(|place| place.name == name);
        found.ok_or_else(|| format!("unknown server {name:?}"))
    }

    fn stall(&mut self) -> Result<(), String> {
        self.stalled.retain(|client| !client.is_over());
        if self.stalled.len() >= MOST_STALLED {
            return Err(format!("{MOST_STALLED} clients that do not read are enough at a time"));
        }
        let here = &self.places[0];
        let client =
            Nuisance::stalled(&here.host, self.nuisances + 1).map_err(|error| here.failed(&error))?;
        self.nuisances += 1;
        self.stalled.push(client);
        Ok(())
    }

    fn flood(&mut self) -> Result<(), String> {
        self.floods.retain(|client| !client.is_over());
        if self.floods.len() >= MOST_FLOODS {
            return Err(format!("{MOST_FLOODS} floods at once are enough"));
        }
        let here = &self.places[0];
        let client = Nuisance::flood(&here.host, self.nuisances + 1).map_err(|error| here.failed(&error))?;
        self.nuisances += 1;
        self.floods.push(client);
        Ok(())
    }

    /// However many pages ask for it, the first clients come once.
    fn start(&mut self) -> Result<(), String> {
        let here = &mut self.places[0];
        if !here.clients.is_empty() {
            return Ok(());
        }
        here.came = 0;
        here.come(FIRST)
    }

    fn start_again(&mut self) -> Result<(), String> {
        self.stalled.drain(..).chain(self.floods.drain(..)).for_each(Nuisance::end);
        self.places[0].leave();
        self.start()
    }

    fn sweep(&mut self) {
        self.sweeps += 1;
        self.stalled.retain(|client| !client.is_over());
        self.floods.retain(|client| !client.is_over());
        let mut scrap = vec![0; 64 << 10];
        let pong = client_bytes(Frame::pong(Vec::new()));
        let before = self.to_json();
        for place in &mut self.places {
            place.leaving.retain_mut(|client| client.is_there(&mut scrap));
            let mut number = self.sweeps;
            place.clients.retain_mut(|client| {
                number += 1;
                let beats = number.is_multiple_of(BEATS);
                client.is_there(&mut scrap) && (!beats || !client.answered || client.send(&pong))
            });
        }
        let now = self.to_json();
        if now != before {
            self.tell(Change::Crowd(now));
        }
    }

    fn to_json(&self) -> Value {
        let places: serde_json::Map<_, _> =
            self.places.iter().map(|place| (place.name.clone(), json!(place.clients.len()))).collect();
        let names: Vec<_> =
            self.places[0].clients.iter().take(MOST_NAMES).map(|client| &client.name).collect();
        json!({ "places": places, "names": names, "stalled": self.stalled.len() })
    }
}

impl Place {
    fn new(name: String, host: Host) -> Place {
        Place { name, host, clients: Vec::new(), leaving: Vec::new(), came: 0 }
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("cannot connect to {} at {}: {error}", self.name, self.host.address)
    }

    /// They send their requests, and do not wait for the answers: the next sweep discards these.
    fn come(&mut self, clients: usize) -> Result<(), String> {
        for _ in 0..clients {
            if self.clients.len() >= MOST {
                return Err(format!("{MOST} of the lab's clients are enough for {}", self.name));
            }
            let name = match NAMES.get(self.came) {
                Some(name) => (*name).to_owned(),
                None => format!("crowd-{}", self.came + 1),
            };
            self.came += 1;
            let visitor = Visitor::connect(&self.host, "/websocket", &name);
            let visitor = visitor.map_err(|error| self.failed(&error))?;
            self.clients.push(CrowdMember { name, visitor, answered: false });
        }
        Ok(())
    }

    fn leave(&mut self) {
        let away = client_bytes(Frame::close(Some(CloseFrame { code: CloseCode::Away, reason: "".into() })));
        self.leaving
            .extend(self.clients.drain(..).filter_map(|mut client| client.send(&away).then_some(client)));
    }

    /// As after a restart of a proxy: nobody waits for the others to be gone.
    fn storm(&mut self) -> Result<(), String> {
        let clients = self.clients.len();
        self.leave();
        self.came = 0;
        self.come(clients)
    }

    fn say(&mut self, name: &str, text: &str) -> Result<(), String> {
        let client = self.clients.iter_mut().find(|client| client.name == name);
        let client = client.ok_or_else(|| format!("the lab has no client {name:?} any more"))?;
        let frame = Frame::message(text.to_owned(), OpCode::Data(Data::Text), true);
        if client.send(&client_bytes(frame)) { Ok(()) } else { Err(format!("cannot send to {name}")) }
    }
}

impl CrowdMember {
    /// Discards the received bytes. Returns false if the connection has ended.
    fn is_there(&mut self, scrap: &mut [u8]) -> bool {
        loop {
            match rustix::net::recv(&self.visitor.stream, &mut *scrap, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return false,
                Ok((received, _)) => {
                    self.answered = true;
                    if received < scrap.len() {
                        return true;
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return error == Errno::AGAIN,
            }
        }
    }

    /// The frames are so small that they go out whole or not at all.
    fn send(&mut self, frame: &[u8]) -> bool {
        let Ok(frame) = self.visitor.seal(frame) else { return false };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::send(&self.visitor.stream, &frame, flags) == Ok(frame.len())
    }
}
