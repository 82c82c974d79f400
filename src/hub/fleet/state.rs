//! [`FleetState`]: what the fleet's threads share: both queues, who is there, and what was counted.

use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::ConnectionInfo;

use crate::hub::fleet::FleetOptions;
use crate::hub::fleet::claims::Claims;
use crate::hub::fleet::others::{BEAT, Others};
use crate::hub::fleet::queue::Queue;
use crate::hub::fleet::redis_link::RedisLink;
use crate::hub::topics::Hub;
use crate::hub::topics::relay::Relay;
use crate::net::names::Names;
use crate::panics::{Contained, caught};
use crate::printable::printable;
use crate::ws::message::Message;

/// From one time that the number of machines is told to the next.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Most reasons for an outage that are remembered, so that each is logged once.
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
    /// How many clients this machine has.
    clients: Contained<Box<dyn Fn() -> u64 + Send + Sync>>,
    /// Offered by publishers, taken by `fleet-out`.
    pub(super) outgoing: Queue<Addressed>,
    /// Offered by `fleet-in`, taken by `fleet-push`.
    pub(super) incoming: Queue<Addressed>,
    /// Which Ids this machine's connections have.
    pub(super) claims: Arc<Claims>,
    pub(super) counts: Counts,
    /// How often `fleet-in` has subscribed anew. Read by `fleet-out`, which then makes a new link too: where the address
    /// has moved to another Redis, both must speak to that one.
    pub(super) subscriptions: AtomicU64,
    /// Called by `fleet-push`.
    watch: Mutex<MachinesWatch>,
    /// Written by `fleet-in`, read by `fleet-out`, which says in its beats whom it hears.
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

/// Tells a number of machines.
type Tell = Contained<Box<dyn FnMut(usize) + Send>>;

/// Who is told when the number of machines changes, and the number that was told.
#[derive(Default)]
struct MachinesWatch {
    told: usize,
    /// When it was told. Where machines come and go all the time, not each one is news.
    told_at: Option<Instant>,
    tell: Option<Tell>,
}

/// Up from the moment that one of our own beats comes back.
struct LinkState {
    is_up: bool,
    since: Instant,
    /// Whether it has ever been up: before that [`join`](crate::Fleet::join) says what is wrong.
    was_up: bool,
    /// Why it is down. Each is logged once in an outage, the last one is the present one.
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

    /// Sets who is told when the number of machines changes.
    pub(super) fn watch(&self, tell: Box<dyn FnMut(usize) + Send>) {
        let watch = MachinesWatch { told: 0, told_at: None, tell: Some(Contained::new(tell)) };
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
        self.incoming.wake();
    }

    /// Tells how many machines there are, if that has changed. Returns when to look again.
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
            log::error!("what Fleet::on_machines was given panicked, and is called no more: {text}");
            watch.tell = None;
        }
        now + BEAT
    }

    /// Returns how many clients this machine has.
    pub(super) fn own_clients(&self) -> u64 {
        caught(|| (self.clients)()).unwrap_or_else(|text| {
            log::error!("what counts a fleet's clients panicked: {text}");
            0
        })
    }

    /// Returns whether the link is up, and since when it is or is not, and why not.
    pub(super) fn link_now(&self) -> (bool, Duration, Option<String>) {
        let link = self.link();
        (link.is_up, link.since.elapsed(), link.reasons.last().cloned())
    }

    /// Notes that a beat has come back. What was claimed meanwhile elsewhere is not known, so all is claimed again.
    pub(super) fn up(&self) {
        let mut link = self.link();
        if !link.is_up {
            // The end of an outage is as important as its beginning.
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

    /// Blocks until the link is up. Returns false if it is not within `patience`.
    pub(super) fn wait_until_up(&self, patience: Duration) -> bool {
        let waited = self.is_up.wait_timeout_while(self.link(), patience, |link| !link.is_up);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_up
    }

    /// Notes that the link has broken, or cannot be made again. Each reason is logged once.
    pub(super) fn down(&self, why: &str) {
        let mut link = self.link();
        let has_broken = mem::take(&mut link.is_up);
        if has_broken {
            link.since = Instant::now();
        }
        let known = link.reasons.iter().position(|reason| reason == why);
        let is_new = known.is_none();
        // The last one is the present one.
        known.map(|at| link.reasons.remove(at));
        if link.reasons.len() == MOST_REASONS {
            link.reasons.remove(0);
        }
        link.reasons.push(why.to_owned());
        if has_broken {
            log::warn!(
                "the fleet's link to Redis has broken: {}; this machine's own clients get everything",
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

/// Says what Redis said, without the URL or a password.
pub(super) fn describe(error: &redis::RedisError) -> String {
    match (error.code(), error.detail()) {
        _ if error.kind() == redis::ErrorKind::Parse => "what answers there is no Redis".to_owned(),
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (None, Some(detail)) => format!("{}: {detail}", error.category()),
        _ if error.is_timeout() => "no answer in time".to_owned(),
        _ => certificate_hint(error.to_string()),
    }
}

fn certificate_hint(said: String) -> String {
    if said.contains("peer certificate") {
        return format!("{said}; the file SSL_CERT_FILE is for the certificate of who has signed it");
    }
    said
}
