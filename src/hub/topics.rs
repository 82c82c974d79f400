//! [`Hub`]: which connection has subscribed to which topic. Any thread.
//!
//! Never here: pushing while holding a lock.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use crate::connection::broadcast::broadcast_prepared;
use crate::connection::connection::Connection;
use crate::connection::membership::{Group, GroupTopic};
use crate::error::{Error, Result};
use crate::hub::fan_out::{FanOut, Share};
use crate::hub::topics::forms::SecondForm;
use crate::hub::topics::relay::Relay;
use crate::hub::topics::subscribers::Subscribers;
use crate::panics::caught;
use crate::ws::message::Message;

pub(crate) mod relay;
mod forms;
mod subscribers;

/// Locks, each for a share of the topics, so that publishers of different topics seldom contend.
const SHARDS: usize = 16;
/// The least capacity for topics that a shard keeps.
const LEAST_ROOM: usize = 64;
/// The most bytes in a topic: a client's name with a server's prefix must fit.
const MAX_TOPIC: usize = 512;

/// Sends one message to all subscribers of a topic. Clones share one hub.
///
/// A topic is any text of 1 to 512 bytes, without wildcards. It begins with its first subscriber and ends with its
/// last. A connection leaves all its topics automatically when it ends, after `on_close`.
///
/// All subscribers see one thread's messages to a topic in the order of publishing. If several threads publish, two
/// subscribers may see their messages in different orders; hold a lock during [`publish`](Hub::publish), which never
/// blocks, to prevent that.
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

/// A topic and its subscribers, at least one.
struct Topic {
    noted: Arc<GroupTopic>,
    subscribers: Subscribers,
}

impl Hub {
    /// Starts without topics, and without threads: the first large publish starts the threads that share it.
    pub fn new() -> Hub {
        Hub::default()
    }

    /// Subscribes a connection to a topic. Returns false if it has subscribed already.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid topic; [`Error::Closed`] if the connection has ended.
    pub fn subscribe(&self, topic: &str, connection: &Connection) -> Result<bool> {
        check(topic)?;
        let mut books = connection.link().memberships.open().ok_or(Error::Closed)?;
        let mut shard = self.shard(topic);
        let noted = match shard.get_mut(topic) {
            Some(found) => found.subscribers.add(connection).then(|| found.noted.clone()),
            None => {
                let topic: Arc<str> = topic.into();
                let noted = Arc::new(GroupTopic { group: self.group(), topic: topic.clone() });
                let mut subscribers = Subscribers::default();
                subscribers.add(connection);
                shard.insert(topic, Topic { noted: noted.clone(), subscribers });
                Some(noted)
            }
        };
        drop(shard);
        Ok(noted.map(|noted| books.add(noted)).is_some())
    }

    /// Removes a connection from a topic. Returns false if it has not subscribed.
    pub fn unsubscribe(&self, topic: &str, connection: &Connection) -> bool {
        let Some(mut books) = connection.link().memberships.open() else { return false };
        let removed = self.0.remove(connection.id(), topic);
        removed.map(|noted| books.remove(&noted)).is_some()
    }

    /// Sends one message to all subscribers of a topic: encodes it once, pushes it to each without blocking. Returns
    /// how many accepted it; the others are closed, closing, or slow consumers that it disconnected. The pushes are
    /// done when this returns. From 500 subscribers on, one thread per core takes part, unless another publish is using
    /// them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid topic, or a message of over 1 GiB; then no client gets it.
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

    /// Publishes a message without passing it to the relay.
    ///
    /// # Errors
    /// As [`publish`](Hub::publish).
    pub fn publish_here(&self, topic: &str, message: impl Into<Message>) -> Result<usize> {
        check(topic)?;
        let message = message.into();
        let second = self.0.second_form.as_ref().map_or(Ok(0), |form| form.publish(topic, &message))?;
        let message = message.prepare()?;
        let Some(chunks) = self.shard(topic).get(topic).map(|topic| topic.subscribers.clone()) else {
            return Ok(second);
        };
        if let [chunk] = &chunks.0[..] {
            return Ok(second + broadcast_prepared(&chunk.connections, &message));
        }
        Ok(second + self.0.fan_out.publish(chunks, message))
    }

    /// Returns the number of a topic's subscribers.
    pub fn count(&self, topic: &str) -> usize {
        self.shard(topic).get(topic).map_or(0, |topic| topic.subscribers.count())
    }

    /// Returns a topic's subscribers, in no particular order.
    pub fn subscribers(&self, topic: &str) -> Vec<Connection> {
        let subscribers = self.shard(topic).get(topic).map(|topic| topic.subscribers.clone());
        subscribers.unwrap_or_default().iter().cloned().collect()
    }

    /// Returns the topics that have subscribers, in no particular order.
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

    /// Removes a connection from a topic. Returns its note of the topic, unless it had not subscribed.
    fn remove(&self, connection: u64, topic: &str) -> Option<Arc<GroupTopic>> {
        let mut shard = lock(self.shard(topic));
        let found = shard.get_mut(topic)?;
        if !found.subscribers.remove(connection) {
            return None;
        }
        let noted = found.noted.clone();
        if found.subscribers.0.is_empty() {
            shard.remove(topic);
            if shard.capacity() > LEAST_ROOM.max(4 * shard.len()) {
                let room = 2 * shard.len();
                shard.shrink_to(room);
            }
        }
        Some(noted)
    }
}

impl Group for Shared {
    fn leave(&self, connection: u64, topic: &str) {
        self.remove(connection, topic);
    }
}

impl Drop for Shared {
    /// Leaves nothing of a dropped hub with its former subscribers.
    fn drop(&mut self) {
        let shards =
            self.shards.iter_mut().map(|shard| shard.get_mut().unwrap_or_else(PoisonError::into_inner));
        for topic in shards.flat_map(|shard| shard.values()) {
            for connection in topic.subscribers.iter() {
                connection.link().memberships.remove(&topic.noted);
            }
        }
    }
}

impl Share for Subscribers {
    fn count(&self) -> usize {
        Subscribers::count(self)
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
