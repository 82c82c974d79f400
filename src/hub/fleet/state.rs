//! [`FleetState`]: the shared state of the fleet's threads: both queues, the machines, and the counters.

use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::ConnectionInfo;

use crate::error::{Error, Result};
use crate::hub::fleet::FleetOptions;
use crate::hub::fleet::claims::Claims;
use crate::hub::fleet::closing::Closing;
use crate::hub::fleet::others::{BEAT, Others};
use crate::hub::fleet::queue::Queue;
use crate::hub::fleet::redis_link::RedisLink;
use crate::hub::topics::Hub;
use crate::hub::topics::relay::Relay;
use crate::net::names::Names;
use crate::panics::{Contained, caught};
use crate::printable::printable;
use crate::ws::frame;
use crate::ws::message::Message;

/// The shortest time between two reports of the number of machines.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// The most outage reasons to remember, so that each is logged once.
const MOST_REASONS: usize = 16;

/// A message and its topic.
pub(super) type Addressed = (String, Message);

/// See the [module](self).
pub(super) struct FleetState {
    pub(super) hub: Hub,
    pub(super) options: FleetOptions,
    pub(super) target: ConnectionInfo,
    pub(super) names: Names,
    /// Its name in the fleet, made up at random.
    pub(super) machine: String,
    /// Returns how many clients this machine has.
    clients: Contained<Box<dyn Fn() -> u64 + Send + Sync>>,
    /// Offered by publishers, taken by `fleet-out`.
    pub(super) outgoing: Queue<Addressed>,
    /// Offered by `fleet-in`, taken by `fleet-push`.
    pub(super) incoming: Queue<Addressed>,
    /// The Ids of this machine's connections.
    pub(super) claims: Arc<Claims>,
    /// The machines' orders to close each other's connections.
    pub(super) closing: Closing,
    pub(super) counts: Counts,
    /// How often `fleet-in` has subscribed again. `fleet-out` reads it and then makes a new link too: if the address
    /// has moved to another Redis, both must use that one.
    pub(super) subscriptions: AtomicU64,
    /// Called by `fleet-push`.
    watch: Mutex<MachinesWatch>,
    /// Written by `fleet-in`, read by `fleet-out`, whose beats name the machines that this one hears.
    others: Mutex<Others>,
    /// Written by `fleet-in` and `fleet-out`.
    link: Mutex<LinkState>,
    /// Signalled when the link is up.
    is_up: Condvar,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) full: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unsure: AtomicU64,
    pub(super) ignored: AtomicU64,
}

/// Reports a number of machines.
type Tell = Contained<Box<dyn FnMut(usize) + Send>>;

/// The callback for a changed number of machines, and the number that it last got.
#[derive(Default)]
struct MachinesWatch {
    told: usize,
    /// When it last got one. If machines come and go all the time, it does not get every change.
    told_at: Option<Instant>,
    tell: Option<Tell>,
}

/// Up from the moment that one of our own beats comes back.
struct LinkState {
    is_up: bool,
    since: Instant,
    /// Whether it has ever been up: before that, [`join`](crate::Fleet::join) reports errors.
    was_up: bool,
    /// Why it is down. Each reason is logged once per outage; the last one is the current one.
    reasons: Vec<String>,
}

impl FleetState {
    pub(super) fn new(
        hub: Hub,
        options: FleetOptions,
        target: ConnectionInfo,
        clients: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> FleetState {
        FleetState {
            hub,
            options,
            target,
            names: Names::new(),
            machine: format!("{:016x}", RandomState::new().hash_one(std::process::id())),
            clients: Contained::new(clients),
            outgoing: Queue::new(),
            incoming: Queue::new(),
            claims: Arc::default(),
            closing: Closing::default(),
            counts: Counts::default(),
            subscriptions: AtomicU64::new(0),
            watch: Mutex::default(),
            others: Mutex::new(Others::new(Instant::now())),
            link: Mutex::new(LinkState {
                is_up: false,
                since: Instant::now(),
                was_up: false,
                reasons: Vec::new(),
            }),
            is_up: Condvar::new(),
        }
    }

    pub(super) fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self) -> MutexGuard<'_, LinkState> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the callback for a changed number of machines.
    pub(super) fn watch(&self, tell: Box<dyn FnMut(usize) + Send>) {
        let watch = MachinesWatch { told: 0, told_at: None, tell: Some(Contained::new(tell)) };
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
        self.incoming.wake();
    }

    /// Calls it with the number of machines, if that has changed. Returns when to look again.
    pub(super) fn tell_machines(&self) -> Instant {
        let now = Instant::now();
        let machines = self.others().now(now).0 + 1;
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.told == machines {
            return now + BEAT;
        }
        if let Some(next) = watch.told_at.map(|told| told + TELL_EVERY).filter(|next| *next > now) {
            return next;
        }
        (watch.told, watch.told_at) = (machines, Some(now));
        if let Some(Err(text)) = watch.tell.as_mut().map(|tell| caught(|| tell(machines))) {
            log::error!("the function of Fleet::on_machines panicked, and is not called again: {text}");
            watch.tell = None;
        }
        now + BEAT
    }

    /// Returns how many clients this machine has.
    pub(super) fn own_clients(&self) -> u64 {
        caught(|| (self.clients)()).unwrap_or_else(|text| {
            log::error!("the function that counts a fleet's clients panicked: {text}");
            0
        })
    }

    /// Closes the connection of an Id, see [`Fleet::close`](crate::Fleet::close).
    pub(super) fn close(&self, id: &str, code: u16, reason: &str, within: Duration) -> Result<bool> {
        // Not only where the Id is: the others cannot say that it is wrong.
        frame::close(Some(code), Some(reason))?;
        if self.claims.close(id, code, reason)? {
            return Ok(true);
        }
        if !self.link_now().0 {
            return Err(Error::Closed);
        }
        let others = self.others().now(Instant::now()).0;
        if others == 0 {
            return Ok(false);
        }
        let ask = self.closing.ask(id, code, reason);
        self.outgoing.wake();
        self.closing.wait(ask, others, Instant::now() + within).ok_or(Error::TimedOut)
    }

    /// Returns whether the link is up, since when, and why if it is down.
    pub(super) fn link_now(&self) -> (bool, Duration, Option<String>) {
        let link = self.link();
        (link.is_up, link.since.elapsed(), link.reasons.last().cloned())
    }

    /// Notes that a beat has come back, and claims all Ids again, because this machine did not see the others' claims
    /// during the outage.
    pub(super) fn up(&self) {
        let mut link = self.link();
        if !link.is_up {
            // The end of an outage matters as much as its beginning.
            let level = if link.was_up { log::Level::Warn } else { log::Level::Info };
            log::log!(level, "the fleet's link to Redis is up");
            let reasons = Vec::new();
            *link = LinkState { is_up: true, since: Instant::now(), was_up: true, reasons };
            self.is_up.notify_all();
            drop(link);
            self.claims.claim_all_again();
            self.outgoing.wake();
        }
    }

    /// Blocks until the link is up. Returns false if that takes longer than `patience`.
    pub(super) fn wait_until_up(&self, patience: Duration) -> bool {
        let waited = self.is_up.wait_timeout_while(self.link(), patience, |link| !link.is_up);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_up
    }

    /// Notes that the link has broken, or cannot be restored. Logs each reason once.
    pub(super) fn down(&self, why: &str) {
        let mut link = self.link();
        let has_broken = mem::take(&mut link.is_up);
        if has_broken {
            link.since = Instant::now();
        }
        let known = link.reasons.iter().position(|reason| reason == why);
        let is_new = known.is_none();
        // The last one is the current one.
        known.map(|at| link.reasons.remove(at));
        if link.reasons.len() == MOST_REASONS {
            link.reasons.remove(0);
        }
        link.reasons.push(why.to_owned());
        if has_broken {
            log::warn!(
                "lost the fleet's link to Redis: {}; clients of this machine still get its own messages",
                printable(why)
            );
        } else if is_new && link.was_up {
            log::warn!("the fleet's link to Redis is still down: {}", printable(why));
        }
    }

    /// Connects to Redis.
    pub(super) fn connect(&self) -> redis::RedisResult<RedisLink> {
        RedisLink::connect(&self.target, &self.names)
    }
}

impl Relay for FleetState {
    fn forward(&self, topic: &str, message: &Message) {
        let bytes = message.as_bytes().len();
        if bytes > self.options.max_message {
            self.counts.refused.fetch_add(1, Relaxed);
        } else if !self.outgoing.offer((topic.to_owned(), message.clone()), bytes, Instant::now()) {
            self.counts.full.fetch_add(1, Relaxed);
        }
    }
}

/// Returns Redis' error text, without the URL or a password.
pub(super) fn describe(error: &redis::RedisError) -> String {
    match (error.code(), error.detail()) {
        _ if error.kind() == redis::ErrorKind::Parse => "the server at this address is not Redis".to_owned(),
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (None, Some(detail)) => format!("{}: {detail}", error.category()),
        _ if error.is_timeout() => "no answer in time".to_owned(),
        _ => certificate_hint(error.to_string()),
    }
}

fn certificate_hint(said: String) -> String {
    if said.contains("peer certificate") {
        return format!(
            "{said}; put the certificate of the authority that signed it into the file SSL_CERT_FILE"
        );
    }
    said
}
