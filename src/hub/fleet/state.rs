//! [`FleetState`]: what the fleet's threads share: both queues, who is there, and what was counted.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::ConnectionAddr;

use crate::error::Result;
use crate::hub::fleet::FleetOptions;
use crate::hub::fleet::claims::Claims;
use crate::hub::fleet::queue::Queue;
use crate::hub::fleet::redis_url;
use crate::hub::topics::Hub;
use crate::hub::topics::relay::Relay;
use crate::printable::printable;
use crate::ws::message::Message;

/// How often a machine says that it is there.
pub(super) const BEAT: Duration = Duration::from_secs(2);
/// A machine, or a link, that is silent for so long is gone. Must be a few times `BEAT`.
pub(super) const SILENCE: Duration = Duration::from_secs(6);

/// A message and its topic.
pub(super) type Addressed = (String, Message);

/// See the [module](self).
pub(super) struct FleetState {
    pub(super) hub: Hub,
    pub(super) options: FleetOptions,
    pub(super) client: redis::Client,
    /// Its name in the fleet, made up at random.
    pub(super) machine: String,
    /// How many clients this machine has.
    pub(super) clients: Box<dyn Fn() -> u64 + Send + Sync>,
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
    /// Written by `fleet-in`.
    others: Mutex<HashMap<String, Other>>,
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
}

struct Other {
    heard: Instant,
    clients: u64,
    /// The newest link that something came over.
    link: u64,
}

/// Who is told when the number of machines changes, and the number that was told.
#[derive(Default)]
struct MachinesWatch {
    told: usize,
    tell: Option<Box<dyn FnMut(usize) + Send>>,
}

/// Up from the moment that one of our own beats comes back.
struct LinkState {
    is_up: bool,
    /// Whether the log has said so.
    has_broken: bool,
    since: Instant,
}

impl FleetState {
    pub(super) fn new(
        hub: Hub,
        options: FleetOptions,
        client: redis::Client,
        clients: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> FleetState {
        FleetState {
            hub,
            options,
            client,
            machine: format!("{:016x}", RandomState::new().hash_one(std::process::id())),
            clients,
            outgoing: Queue::new(),
            incoming: Queue::new(),
            claims: Arc::default(),
            counts: Counts::default(),
            subscriptions: AtomicU64::new(0),
            watch: Mutex::default(),
            others: Mutex::default(),
            link: Mutex::new(LinkState { is_up: false, has_broken: false, since: Instant::now() }),
            is_up: Condvar::new(),
        }
    }

    fn others(&self) -> MutexGuard<'_, HashMap<String, Other>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self) -> MutexGuard<'_, LinkState> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets who is told when the number of machines changes.
    pub(super) fn watch(&self, tell: Box<dyn FnMut(usize) + Send>) {
        let watch = MachinesWatch { told: 0, tell: Some(tell) };
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
        self.incoming.wake();
    }

    /// Tells how many machines there are, if that has changed.
    pub(super) fn tell_machines(&self) {
        let machines = self.others_now().0 + 1;
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.told != machines {
            watch.told = machines;
            watch.tell.iter_mut().for_each(|tell| tell(machines));
        }
    }

    /// Notes that another machine is there, with its number of clients, or has left.
    pub(super) fn heard(&self, machine: &str, clients: Option<u64>) {
        let (mut others, heard) = (self.others(), Instant::now());
        others.retain(|_, other| heard.duration_since(other.heard) < SILENCE);
        let is_news = match clients {
            Some(clients) => {
                let link = others.get(machine).map_or(0, |other| other.link);
                others.insert(machine.to_owned(), Other { heard, clients, link }).is_none()
            }
            None => others.remove(machine).is_some(),
        };
        if is_news {
            self.incoming.wake();
        }
    }

    /// Notes that a message has come over a machine's link. Returns false if something has come over a newer one: Redis
    /// may find the rest of an old link when a new one is in use, and one thread's messages are to stay in order.
    pub(super) fn is_in_order(&self, machine: &str, link: u64) -> bool {
        self.others().get_mut(machine).is_none_or(|other| {
            let is_newest = link >= other.link;
            other.link = other.link.max(link);
            is_newest
        })
    }

    /// Returns how many other machines there are, and their clients.
    pub(super) fn others_now(&self) -> (usize, u64) {
        let now = Instant::now();
        let others = self.others();
        let fresh = others.values().filter(|other| now.duration_since(other.heard) < SILENCE);
        fresh.fold((0, 0), |(machines, clients), other| (machines + 1, other.clients.saturating_add(clients)))
    }

    /// Returns whether the link is up, and since when it is or is not.
    pub(super) fn link_now(&self) -> (bool, Duration) {
        let link = self.link();
        (link.is_up, link.since.elapsed())
    }

    /// Notes that a beat has come back. What was claimed meanwhile elsewhere is not known, so all is claimed again.
    pub(super) fn up(&self) {
        let mut link = self.link();
        if !link.is_up {
            // The end of an outage is as important as its beginning.
            let level = if link.has_broken { log::Level::Warn } else { log::Level::Info };
            log::log!(target: crate::LOG, level, "the fleet's link to Redis is up");
            *link = LinkState { is_up: true, has_broken: false, since: Instant::now() };
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

    /// Notes, and logs once, that the link has broken.
    pub(super) fn down(&self, why: &str) {
        let mut link = self.link();
        if link.is_up {
            log::warn!(
                target: crate::LOG,
                "the fleet's link to Redis has broken: {}; this machine's own clients get everything",
                printable(why)
            );
            *link = LinkState { is_up: false, has_broken: true, since: Instant::now() };
        }
    }

    /// Connects to Redis, with deadlines for whatever is done there.
    pub(super) fn connect(&self, deadline: Duration) -> redis::RedisResult<redis::Connection> {
        let connection = self.client.get_connection_with_timeout(deadline)?;
        connection.set_read_timeout(Some(deadline))?;
        connection.set_write_timeout(Some(deadline))?;
        Ok(connection)
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

/// Reads the URL.
pub(super) fn client(url: &str) -> Result<redis::Client> {
    let info = redis_url::parse(url)?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        // The crate asks the process for one, and panics if there is none. If there is one, that stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    // Without the library's name one answer less is waited for.
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    redis::Client::open(info.set_redis_settings(settings).set_tcp_settings(tcp))
        .map_err(|_| redis_url::wrong(url))
}
