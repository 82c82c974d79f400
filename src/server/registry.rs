//! [`Registry`]: the map of a server's clients, from each one's accept to the end of its thread. It admits newcomers.
//!
//! Written by the listener and by every `client-N`. A thread holds the lock for a look-up or a change, never while it
//! sends, starts or joins something.

mod ending;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::error::Result;
use crate::log_limit::LogLimiter;
use crate::net::waker::Waker;
use crate::server::addresses::{Addresses, Neighbour};
use crate::server::client::Client;
use crate::server::half_open::{Wait, Way};
use crate::server::rejection::Rejection;
use crate::server::state::{SPARE_PLACES, ServerState};

/// The part of the capacity that connections without a WebSocket may use, in addition to the spare places. A flood of
/// half-open connections leaves the rest to real clients.
const PENDING_SHARE: usize = 4;
/// Most newcomers that wait for a place or a thread. Each keeps a descriptor, so a small server allows only this part
/// of its capacity, but at least a few.
const MOST_WAITING: usize = 64;
const WAITING_SHARE: usize = 8;
const LEAST_WAITING: usize = 8;

/// See the [module](self).
pub(crate) struct Registry {
    state: Arc<ServerState>,
    waker: Arc<Waker>,
    /// Locked by the listener, by each `client-N` as it comes and goes, and by a broadcast, which takes a copy and
    /// pushes without the lock. A mutex lets one thread in at a time. Each leaves after one look or change.
    clients: Mutex<Entries>,
    /// Signalled when the last client has left, and, while the server ends, when a client has its answer. Only if a
    /// thread waits. A thread that waits gives the lock back while it sleeps, and has it again when it wakes.
    changed: Condvar,
    /// Logs rejections.
    trouble: Mutex<LogLimiter>,
}

struct Entries {
    alive: HashMap<u64, ClientEntry>,
    /// How many of those are WebSockets.
    websockets: usize,
    addresses: Addresses,
    /// Whether a shutdown waits: a signal costs a system call, even if no thread waits.
    is_awaited: bool,
}

struct ClientEntry {
    client: Arc<Client>,
    is_websocket: bool,
    counted: Option<Neighbour>,
}

/// An admitted newcomer.
pub(crate) struct Admitted {
    /// Whether a place is free; otherwise one will be.
    pub(crate) at_once: bool,
    /// The address that it counts for, until it is [discharged](Registry::discharge) or has left.
    pub(crate) counted: Option<Neighbour>,
}

impl Registry {
    /// Starts without a client.
    pub(crate) fn new(state: Arc<ServerState>, waker: Arc<Waker>) -> Registry {
        let addresses = Addresses::new(&state.settings);
        let clients =
            Mutex::new(Entries { alive: HashMap::new(), websockets: 0, addresses, is_awaited: false });
        Registry { state, waker, clients, changed: Condvar::new(), trouble: Mutex::default() }
    }

    fn clients(&self) -> MutexGuard<'_, Entries> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn places(&self) -> usize {
        self.state.max_clients.saturating_add(SPARE_PLACES)
    }

    pub(crate) fn most_waiting(&self) -> usize {
        (self.state.max_clients / WAITING_SHARE).clamp(LEAST_WAITING, MOST_WAITING)
    }

    /// Decides about a newcomer, while `waiting` others wait, `of_its_own` of them from its address. The registry
    /// admits it at once, or evicts another one for it. The cost does not grow with the number of clients.
    pub(crate) fn admit(
        &self,
        newcomer: IpAddr,
        waiting: usize,
        of_its_own: usize,
    ) -> Result<Admitted, Rejection> {
        let neighbour = Neighbour::of(newcomer);
        let is_proxy = self.state.settings.trusts(newcomer);
        if self.state.settings.proxy_protocol && !is_proxy {
            return Err(Rejection::NotAProxy);
        }
        let now = Instant::now();
        let mut clients = self.clients();
        let is_limited = self.state.settings.limits_at_accept(newcomer);
        if is_limited {
            clients.addresses.connect(neighbour, self.state.shared.began.elapsed())?;
        }
        let is_full = clients.alive.len() + waiting >= self.places();
        let mut half_open = self.state.half_open();
        half_open.forget_reset(now);
        let share = (self.state.max_clients / PENDING_SHARE).max(1).saturating_add(SPARE_PLACES);
        let full = Rejection::Full { most: self.state.max_clients };
        let way = if waiting >= self.most_waiting() {
            return Err(full);
        } else if is_full || half_open.len() >= share {
            loop {
                match half_open.make_room(neighbour, of_its_own, is_proxy, now) {
                    // It has been reset, so its end frees no place.
                    Way::Evicted(id, _) if is_full && !clients.alive.contains_key(&id) => {}
                    way => break way,
                }
            }
        } else {
            Way::Nobody
        };
        drop(half_open);
        let evicted = match way {
            Way::Newcomer => return Err(Rejection::HalfOpen),
            Way::Nobody if is_full => return Err(full),
            Way::Nobody => None,
            Way::Evicted(id, wait) => clients.alive.get(&id).map(|entry| (entry.client.clone(), wait)),
        };
        if let Some((client, _)) = &evicted {
            client.set_evicted();
        }
        let is_counted = is_limited && clients.addresses.enter(neighbour);
        drop(clients);
        if let Some((client, wait)) = evicted {
            client.evict(wait);
        }
        Ok(Admitted { at_once: !is_full, counted: is_counted.then_some(neighbour) })
    }

    /// Stops counting a newcomer that was admitted but not inserted.
    pub(crate) fn discharge(&self, counted: Option<Neighbour>) {
        counted.inspect(|neighbour| self.clients().addresses.leave(*neighbour));
    }

    /// Returns whether a place is free.
    pub(crate) fn has_place(&self) -> bool {
        self.clients().alive.len() < self.places()
    }

    /// Returns whether there are more clients than allowed, so that some must leave.
    pub(crate) fn is_crowded(&self) -> bool {
        self.clients().alive.len() > self.state.max_clients
    }

    /// Adds a client whose thread is about to start.
    pub(crate) fn insert(&self, client: &Arc<Client>, counted: Option<Neighbour>) {
        let entry = ClientEntry { client: client.clone(), is_websocket: false, counted };
        self.clients().alive.insert(client.connection.id(), entry);
        client.begin_wait(Wait::ForInput);
    }

    /// Makes a client a WebSocket, if there is room for one more. `client` is its address, which a proxy may have
    /// named.
    ///
    /// # Errors
    /// The refusal, which is counted.
    #[inline(never)]
    pub(crate) fn upgrade(&self, client: &Client, address: SocketAddr) -> Result<()> {
        self.take_place(client, address).map_err(|rejection| {
            self.note(address.ip(), &rejection);
            rejection.to_error()
        })
    }

    fn take_place(&self, client: &Client, address: SocketAddr) -> Result<(), Rejection> {
        let mut clients = self.clients();
        let Entries { alive, websockets, addresses, is_awaited } = &mut *clients;
        if self.state.rejects_websockets() {
            return Err(Rejection::Draining);
        }
        let most = self.state.max_clients;
        let entry =
            alive.get_mut(&client.connection.id()).filter(|_| *websockets < most && !client.is_evicted());
        let Some(entry) = entry else { return Err(Rejection::Full { most }) };
        if self.state.settings.limits_at_upgrade(client.connection.link().peer.ip(), address.ip()) {
            let neighbour = Neighbour::of(address.ip());
            addresses.connect(neighbour, self.state.shared.began.elapsed())?;
            entry.counted = Some(neighbour).filter(|neighbour| addresses.enter(*neighbour));
        }
        entry.is_websocket = true;
        *websockets += 1;
        self.state.shared.counters.websockets.add(1);
        if *is_awaited {
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Counts a rejection, and logs rejections from time to time.
    pub(crate) fn note(&self, client: IpAddr, rejection: &Rejection) {
        rejection.count(&self.state.shared.counters);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.warn_of("rejecting clients", &rejection.log_text(), &Neighbour::of(client));
    }

    /// Removes a client whose thread is about to end, and counts that.
    pub(crate) fn remove(&self, client: &Client) {
        let removed = self.take(client);
        self.state.shared.counters.ended.add(1);
        drop(removed);
        let clients = self.clients();
        if clients.is_awaited && clients.alive.is_empty() {
            self.changed.notify_all();
        }
        drop(clients);
        self.waker.gave_back();
    }

    /// Removes a client whose thread did not start. It still counts for its address.
    pub(crate) fn withdraw(&self, client: &Client) {
        client.end_wait();
        self.clients().alive.remove(&client.connection.id());
    }

    fn take(&self, client: &Client) -> Option<Arc<Client>> {
        if client.connection.link().is_websocket() {
            client.end_wait()
        } else {
            client.end_half_open()
        }
        let mut clients = self.clients();
        let ClientEntry { client, is_websocket, counted } = clients.alive.remove(&client.connection.id())?;
        clients.websockets -= usize::from(is_websocket);
        self.state.shared.counters.websockets_ended.add(is_websocket.into());
        counted.inspect(|neighbour| clients.addresses.leave(*neighbour));
        Some(client)
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connection::connection::tests::{accepted, poison};
    use crate::server::state::tests::state;

    pub(crate) fn registry(max_clients: usize) -> Registry {
        Registry::new(state(max_clients), Arc::new(Waker::new().unwrap()))
    }

    fn client(registry: &Registry) -> Arc<Client> {
        let ((stream, peer), _) = accepted();
        Client::new(stream, peer, registry.state.clone())
    }

    #[test]
    fn behind_a_poisoned_lock_clients_come_and_are_evicted_and_waited_for() {
        let registry = registry(1);
        poison(&registry.clients);
        poison(&registry.trouble);
        let clients: Vec<_> = (0..registry.places()).map(|_| client(&registry)).collect();
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        for client in &clients {
            assert!(registry.admit(one, 0, 0).unwrap().at_once && registry.has_place());
            registry.insert(client, None);
            client.end_wait();
        }
        assert!(!registry.has_place() && registry.is_crowded());
        let full = Rejection::Full { most: 1 };
        assert_eq!(registry.admit(one, 0, 0).err(), Some(full), "all are being answered");
        clients[2].begin_wait(Wait::ForInput);
        clients[1].begin_wait(Wait::ForInput);
        let loopback = clients[0].connection.peer_addr().ip();
        assert_eq!(registry.admit(loopback, 0, 0).err(), Some(Rejection::HalfOpen));
        assert_eq!(registry.admit(one, LEAST_WAITING, 0).err(), Some(full), "others wait already");
        assert!(!registry.admit(other, 0, 0).unwrap().at_once);
        assert!(clients[1].is_evicted() && !clients[2].is_evicted(), "the older one");
        let peer = clients[1].connection.peer_addr();
        assert!(registry.upgrade(&clients[1], peer).is_err(), "it is to leave");
        registry.upgrade(&clients[0], peer).unwrap();
        assert!(registry.upgrade(&clients[2], peer).is_err(), "there is one already");
        assert_eq!(registry.wait_until_empty(Instant::now() + Duration::from_millis(1)), clients.len());
        clients.iter().for_each(|client| registry.remove(client));
        assert_eq!(registry.wait_until_empty(Instant::now()), 0);
        assert_eq!((registry.state.half_open().len(), registry.clients().websockets), (0, 0));
        assert!(registry.clients.is_poisoned(), "to the end");
    }
}
