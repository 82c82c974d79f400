//! [`Hub`]: who has subscribed to what. Any thread.
//!
//! Never here: a lock held while something is pushed.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use crate::error::{Error, Result};
use crate::hub::fan_out::{FanOut, Share};
use crate::hub::topics::forms::SecondForm;
use crate::hub::topics::relay::Relay;
use crate::panics::caught;
use crate::server::broadcast::broadcast_prepared;
use crate::server::connection::Connection;
use crate::server::membership::Group;
use crate::ws::message::Message;

pub(crate) mod relay;
mod forms;

/// Locks that share the topics between them, so that publishers of different topics seldom meet.
const SHARDS: usize = 16;
/// Subscribers that stand together. A publish counts one reference for each chunk under the lock, and a change
/// copies one chunk if a publish still reads it.
const CHUNK: usize = 64;
/// Most bytes in a topic: what a server's clients are called must fit, and its own words in front.
const MAX_TOPIC: usize = 512;

/// One message to all who have subscribed to a topic. Clones are the same hub.
///
/// A topic is any text of 1 to 512 bytes; there are no wildcards. It begins with its first
/// subscriber and ends with its last. A connection leaves all its topics by itself when it ends, after `on_close`.
///
/// Everybody sees the messages that one thread publishes to a topic in one order. Where several threads publish, two
/// subscribers may see their messages in different orders; a lock held during [`publish`](Hub::publish), which never
/// blocks, prevents that.
///
/// ```no_run
/// use threadcast::{Application, Connection, Exchange, Hub, Message, Result, Server, WebSocketHandler};
///
/// struct Listener(Hub);
///
/// impl WebSocketHandler for Listener {
///     fn open(&mut self, connection: &Connection, exchange: &mut Exchange<'_>) -> Result<()> {
///         self.0.subscribe(&exchange.get_argument("topic")?, connection)?;
///         Ok(())
///     }
///     fn on_message(&mut self, _: &Connection, _: Message) -> Result<()> {
///         Ok(())
///     }
/// }
///
/// fn main() -> Result<()> {
///     let hub = Hub::new();
///     let handlers = hub.clone();
///     let application = Application::new().websocket("/news", move || Listener(handlers.clone()));
///     let _server = Server::bind("127.0.0.1:8888", application)?;
///     for line in std::io::stdin().lines() {
///         let receivers = hub.publish("weather", line?)?;
///         println!("{receivers} of {} have it", hub.count("weather"));
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Default)]
pub struct Hub(Arc<Shared>);

#[derive(Default)]
struct Shared {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    fan_out: FanOut,
    relay: RwLock<Option<Arc<dyn Relay>>>,
    second_form: Option<SecondForm>,
}

type Shard = HashMap<Arc<str>, Topic>;

/// The subscribers of one topic; no chunk is empty.
#[derive(Default)]
struct Topic(Vec<Arc<Chunk>>);

/// Some of them, and their numbers beside them: a search reads numbers that lie together.
#[derive(Clone, Default)]
struct Chunk {
    ids: Vec<u64>,
    connections: Vec<Connection>,
}

impl Hub {
    /// Starts without topics, and without threads: those that share large publishes are started by the first one.
    pub fn new() -> Hub {
        Hub::default()
    }

    /// Subscribes a connection to a topic. Returns false if it has subscribed already.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a topic that is none; [`Error::Closed`] if the connection has ended.
    pub fn subscribe(&self, topic: &str, connection: &Connection) -> Result<bool> {
        check(topic)?;
        let mut books = connection.link().memberships.open().ok_or(Error::Closed)?;
        let mut shard = self.shard(topic);
        let name = match shard.get_key_value(topic) {
            Some((name, _)) => name.clone(),
            None => Arc::from(topic),
        };
        if !shard.entry(name.clone()).or_default().add(connection) {
            return Ok(false);
        }
        drop(shard);
        books.add(self.group(), name);
        Ok(true)
    }

    /// Takes a connection out of a topic. Returns false if it has not subscribed.
    pub fn unsubscribe(&self, topic: &str, connection: &Connection) -> bool {
        let Some(mut books) = connection.link().memberships.open() else { return false };
        let removed = self.0.remove(connection.id(), topic);
        books.remove(&self.group(), topic);
        removed
    }

    /// Sends one message to all subscribers of a topic: encoded once, pushed to each without blocking. Returns how
    /// many have accepted it; the others are closed, closing, or slow consumers that it disconnected. It is done
    /// when this returns. From 500 subscribers on, a thread on each core takes part, unless another publish has them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a topic that is none, or a message of over 1 GiB, which nobody gets.
    pub fn publish(&self, topic: &str, message: impl Into<Message>) -> Result<usize> {
        let Some(relay) = self.0.relay.read().unwrap_or_else(PoisonError::into_inner).clone() else {
            return self.publish_here(topic, message);
        };
        let message = message.into();
        let receivers = self.publish_here(topic, message.clone())?;
        if let Err(text) = caught(|| relay.forward(topic, &message)) {
            log::error!(target: crate::LOG, "the relay of a hub panicked: {text}");
        }
        Ok(receivers)
    }

    /// Does what [`publish`](Hub::publish) does, and hands nothing to a relay.
    ///
    /// # Errors
    /// As [`publish`](Hub::publish).
    pub fn publish_here(&self, topic: &str, message: impl Into<Message>) -> Result<usize> {
        check(topic)?;
        let message = message.into();
        let second = self.0.second_form.as_ref().map_or(Ok(0), |form| form.publish(topic, &message))?;
        let message = message.prepare()?;
        let Some(chunks) = self.shard(topic).get(topic).map(|topic| topic.0.clone()) else {
            return Ok(second);
        };
        if chunks.len() == 1 {
            return Ok(second + broadcast_prepared(&chunks[0].connections, &message));
        }
        Ok(second + self.0.fan_out.publish(Chunks(chunks), message))
    }

    /// Returns the number of a topic's subscribers.
    pub fn count(&self, topic: &str) -> usize {
        self.shard(topic).get(topic).map_or(0, Topic::count)
    }

    /// Returns a topic's subscribers, in no order.
    pub fn subscribers(&self, topic: &str) -> Vec<Connection> {
        let chunks = self.shard(topic).get(topic).map(|topic| topic.0.clone()).unwrap_or_default();
        chunks.iter().flat_map(|chunk| chunk.connections.iter().cloned()).collect()
    }

    /// Returns the topics that have subscribers, in no order.
    pub fn topics(&self) -> Vec<String> {
        let names =
            |shard: &Mutex<Shard>| lock(shard).keys().map(|name| name.to_string()).collect::<Vec<_>>();
        self.0.shards.iter().flat_map(names).collect()
    }

    fn shard(&self, topic: &str) -> MutexGuard<'_, Shard> {
        lock(self.0.shard(topic))
    }

    fn group(&self) -> Weak<dyn Group> {
        let group: Weak<Shared> = Arc::downgrade(&self.0);
        group
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("topics", &self.topics().len()).finish_non_exhaustive()
    }
}

impl Shared {
    fn shard(&self, topic: &str) -> &Mutex<Shard> {
        &self.shards[(self.hasher.hash_one(topic) as usize) % SHARDS]
    }

    fn remove(&self, connection: u64, topic: &str) -> bool {
        let mut shard = lock(self.shard(topic));
        let Some(found) = shard.get_mut(topic) else { return false };
        let removed = found.remove(connection);
        if found.0.is_empty() {
            shard.remove(topic);
        }
        removed
    }
}

impl Group for Shared {
    fn leave(&self, connection: u64, topics: &[Arc<str>]) {
        for topic in topics {
            self.remove(connection, topic);
        }
    }
}

impl Topic {
    fn find(&self, id: u64) -> Option<(usize, usize)> {
        let within =
            |(at, chunk): (usize, &Arc<Chunk>)| Some((at, chunk.ids.iter().position(|other| *other == id)?));
        self.0.iter().enumerate().find_map(within)
    }

    fn add(&mut self, connection: &Connection) -> bool {
        if self.find(connection.id()).is_some() {
            return false;
        }
        if self.0.last().is_none_or(|chunk| chunk.ids.len() >= CHUNK) {
            self.0.push(Arc::default());
        }
        let last = self.0.last_mut().map(Arc::make_mut).expect("there is one now");
        last.ids.push(connection.id());
        last.connections.push(connection.clone());
        true
    }

    /// The last subscriber takes the place of the one that leaves, so all chunks but the last one stay full.
    fn remove(&mut self, id: u64) -> bool {
        let Some((at, place)) = self.find(id) else { return false };
        let last = self.0.last_mut().map(Arc::make_mut).expect("one was found");
        let (Some(last_id), Some(connection)) = (last.ids.pop(), last.connections.pop()) else {
            return false;
        };
        if last.ids.is_empty() {
            self.0.pop();
        }
        if last_id != id {
            let chunk = Arc::make_mut(&mut self.0[at]);
            chunk.ids[place] = last_id;
            chunk.connections[place] = connection;
        }
        true
    }

    fn count(&self) -> usize {
        self.0.iter().map(|chunk| chunk.ids.len()).sum()
    }
}

/// Chunks, as threads share them.
struct Chunks(Vec<Arc<Chunk>>);

impl Share for Chunks {
    fn count(&self) -> usize {
        self.0.iter().map(|chunk| chunk.connections.len()).sum()
    }

    fn part(&self, number: usize) -> Option<&[Connection]> {
        self.0.get(number).map(|chunk| &chunk.connections[..])
    }
}

fn check(topic: &str) -> Result<()> {
    if !(1..=MAX_TOPIC).contains(&topic.len()) {
        let shown: String = topic.chars().take(40).collect();
        return Err(Error::invalid(format!("{shown:?} is not a topic: use 1 to {MAX_TOPIC} bytes of text")));
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(loom)))]
mod tests;
