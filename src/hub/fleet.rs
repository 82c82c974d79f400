//! [`Fleet`]: sends what a hub publishes to subscribers on other machines, through Redis.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, mem};

use crossbeam_channel::{Receiver, Sender};

use crate::connection::connection::Connection;
use crate::error::{Error, Result};
use crate::hub::fleet::state::{FleetState, describe};
use crate::hub::topics::Hub;

mod channel;
mod claims;
mod closing;
mod others;
mod control;
mod pause;
mod queue;
mod redis_url;
mod redis_link;
mod state;
mod fleet_in;
mod fleet_push;
mod fleet_out;

/// How long the first beat may take to come back from Redis.
const FIRST_BEAT: Duration = Duration::from_secs(3);

/// How long the other machines may take to answer whether they have an Id.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The default name of a fleet.
const DEFAULT_CHANNEL: &str = "threadcast";

/// How to join a [`Fleet`].
#[derive(Clone)]
#[non_exhaustive]
pub struct FleetOptions {
    /// The Redis (or Valkey) server: `redis://HOST:PORT`, `redis://USER:PASSWORD@HOST`, `unix:PATH`; `rediss:` with
    /// TLS. The certificate must be valid for the host's name, and signed by an authority of the system, or one in the
    /// file that the environment variable `SSL_CERT_FILE` names.
    pub url: String,
    /// The name of the fleet, of letters, digits, `.`, `_` and `-`: all its channels begin with it. A user of this
    /// Redis needs `+publish +psubscribe +role resetchannels &NAME[:/]*`, since Redis compares patterns literally. A
    /// database number in the URL does not separate fleets, because Redis publishes to all databases; it also needs
    /// `+select`.
    pub channel: String,
    /// The most bytes of a message; a larger one stays on this machine.
    pub max_message: usize,
}

impl FleetOptions {
    /// Uses this Redis, the name `threadcast`, and messages of up to 1 MiB.
    pub fn new(url: &str) -> FleetOptions {
        FleetOptions { url: url.to_owned(), channel: DEFAULT_CHANNEL.to_owned(), max_message: 1 << 20 }
    }

    /// Checks the URL and the name, without connecting.
    ///
    /// # Errors
    /// [`Error::Invalid`], as [`Fleet::join`].
    pub fn check(&self) -> Result<()> {
        channel::check_name(&self.channel)?;
        redis_link::target(&self.url).map(drop)
    }
}

/// Hides the URL, which may contain a password.
impl fmt::Debug for FleetOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetOptions")
            .field("channel", &self.channel)
            .field("max_message", &self.max_message)
            .finish_non_exhaustive()
    }
}

/// The result of [`Fleet::stats`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetStats {
    /// Machines, including this one, that were heard within the last 6 seconds.
    pub machines: usize,
    /// The clients of all of them.
    pub clients: u64,
    /// Whether messages currently reach the other machines.
    pub is_linked: bool,
    /// How long `is_linked` has had its value.
    pub since: Duration,
    /// Why messages do not reach the other machines.
    pub reason: Option<String>,
    /// Messages that Redis has accepted.
    pub sent: u64,
    /// Messages of other machines that were pushed to subscribers on this one.
    pub received: u64,
    /// Messages that were lost.
    pub lost: FleetLosses,
    /// Control messages that this machine does not understand: from another version, or another program.
    pub ignored: u64,
}

/// Messages that a machine knows to be lost, or cannot know to have arrived, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetLosses {
    /// The queue was full: 65,536 messages or 16 MiB were waiting.
    pub full: u64,
    /// They had waited for 2 seconds, or arrived after messages that their machine sent over a newer link.
    pub stale: u64,
    /// They were too large, or their topic was invalid.
    pub refused: u64,
    /// The link broke while they were written: they may have arrived, and are not sent again.
    pub unsure: u64,
}

/// One [`Hub`] on many machines: a message that one machine publishes reaches the subscribers on all, through Redis.
///
/// A machine's own subscribers get a message at once, even while Redis is down. Subscribers on other machines get it at
/// most once, and the messages of one thread in order. [`publish`](Hub::publish) never blocks: a message that cannot be
/// sent within 2 seconds is dropped and counted. The fleet keeps trying to restore a broken link.
///
/// Programs in any language can publish with `PUBLISH NAME:TOPIC text`.
///
/// ```no_run
/// use threadcast::{Fleet, FleetOptions, Hub};
///
/// let hub = Hub::new();
/// let fleet = Fleet::join(&hub, &FleetOptions::new("redis://127.0.0.1"), || 0)?;
/// hub.publish("weather", "it rains")?; // on all machines
/// println!("{} machines", fleet.stats().machines);
/// fleet.leave();
/// # Ok::<(), threadcast::Error>(())
/// ```
pub struct Fleet {
    state: Arc<FleetState>,
    /// Whether the hub passes its messages to it.
    is_relay: bool,
    /// Dropped to end the threads.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// Joins a hub to a fleet, and blocks until that has worked. It calls `clients` every 2 seconds to tell the other
    /// machines how many clients this one has.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid URL or name, or if the hub already has a relay; [`Error::Io`] if Redis cannot
    /// be reached, refuses, or does not bring back a published message. No error contains the URL.
    pub fn join(
        hub: &Hub,
        options: &FleetOptions,
        clients: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Fleet> {
        channel::check_name(&options.channel)?;
        let target = redis_link::target(&options.url)?;
        if target.redis_settings().db() != 0 && options.channel == DEFAULT_CHANNEL {
            log::warn!(
                "the database number in a Redis URL does not separate fleets: messages published in one database reach all of them; for a second fleet, choose another FleetOptions::channel (--channel)"
            );
        }
        let state = Arc::new(FleetState::new(hub.clone(), options.clone(), target, Box::new(clients)));
        let reads = fleet_in::subscribe(&state).map_err(|error| failed(describe(&error)))?;
        let writes = fleet_out::WriteLink::announce(&state, 1).map_err(|error| failed(describe(&error)))?;
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let mut fleet =
            Fleet { state: state.clone(), is_relay: false, stop: Some(stop), threads: Vec::new() };
        fleet.start("fleet-in", &stopped, move |state, stop| fleet_in::read(state, reads, stop))?;
        fleet.start("fleet-push", &stopped, |state, _| fleet_push::push(state))?;
        fleet.start("fleet-out", &stopped, move |state, stop| fleet_out::forward(state, writes, stop))?;
        if !state.wait_until_up(FIRST_BEAT) {
            return Err(failed("messages published to it do not come back".to_owned()));
        }
        fleet.is_relay = hub.set_relay(state);
        if !fleet.is_relay {
            return Err(Error::invalid("this hub has a relay already: a hub is in one fleet"));
        }
        Ok(fleet)
    }

    fn start(
        &mut self,
        name: &str,
        stop: &Receiver<()>,
        run: impl FnOnce(&FleetState, &Receiver<()>) + Send + 'static,
    ) -> Result<()> {
        let (state, stop) = (self.state.clone(), stop.clone());
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(&state, &stop));
        self.threads.push(thread.map_err(Error::io(format!("cannot start the thread {name}")))?);
        Ok(())
    }

    /// Claims an Id for a connection, on all machines: its previous holder gets a Close frame, 4001 `replaced`. Does
    /// not block; another machine learns of it a moment later, or when the link is up again. The claim ends with the
    /// connection.
    ///
    /// Of two concurrent claims of an Id, the later one in Redis' order wins. If two connections held it while a link
    /// was down, the younger one wins. An Id is a name, not an identity: anybody may claim it.
    ///
    /// # Errors
    /// [`Error::Closed`] if the connection has ended, or is closing.
    pub fn claim(&self, id: &str, connection: &Connection) -> Result<()> {
        self.state.claims.claim(id, connection)?;
        self.state.outgoing.wake();
        Ok(())
    }

    /// Releases an Id without telling the other machines. Returns false if the connection does not have it.
    pub fn release(&self, id: &str, connection: &Connection) -> bool {
        self.state.claims.release(id, connection)
    }

    /// Closes the connection that has [claimed](Fleet::claim) an Id, on any machine, as
    /// [`Connection::close`] does. Returns false if no machine has it. Blocks for the answers of the others, for 2 seconds
    /// at most.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a code that may not be sent; [`Error::Closed`] if the link to the others is down;
    /// [`Error::TimedOut`] if one of them has not answered, such as one of an older version, and none had the Id.
    pub fn close(&self, id: &str, code: u16, reason: &str) -> Result<bool> {
        self.state.close(id, code, reason, CLOSE_WAIT)
    }

    /// Calls `tell` with the number of machines, soon, and within 2 seconds of each change. `tell` runs on the thread
    /// `fleet-push`, so it must not block. Replaces the previous `tell`.
    pub fn on_machines(&self, tell: impl FnMut(usize) + Send + 'static) {
        self.state.watch(Box::new(tell));
    }

    /// Returns the numbers of machines and clients, and the counts of messages.
    pub fn stats(&self) -> FleetStats {
        let (others, clients) = self.state.others().now(Instant::now());
        let (is_linked, since, reason) = self.state.link_now();
        let counts = &self.state.counts;
        FleetStats {
            machines: others + 1,
            clients: clients.saturating_add(self.state.own_clients()),
            is_linked,
            since,
            reason,
            sent: counts.sent.load(Relaxed),
            received: counts.received.load(Relaxed),
            lost: FleetLosses {
                full: counts.full.load(Relaxed),
                stale: counts.stale.load(Relaxed),
                refused: counts.refused.load(Relaxed),
                unsure: counts.unsure.load(Relaxed),
            },
            ignored: counts.ignored.load(Relaxed),
        }
    }

    /// Sends waiting messages, tells the other machines, and blocks until the fleet's threads have ended: half a
    /// second, or a few if Redis does not answer. Dropping the fleet also does this.
    pub fn leave(self) {
        drop(self);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if self.is_relay {
            self.state.hub.end_relay();
        }
        self.stop = None;
        self.state.names.close();
        self.state.outgoing.close();
        self.state.incoming.close();
        for thread in mem::take(&mut self.threads) {
            // A panic has already been reported.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("machine", &self.state.machine).finish_non_exhaustive()
    }
}

fn failed(why: String) -> Error {
    Error::io("cannot join the fleet at Redis")(std::io::Error::other(why))
}
