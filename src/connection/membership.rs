//! [`Memberships`]: the topics that a connection is subscribed to, so that it leaves them when it ends; and the calls
//! that wait for its end. Any thread.
//!
//! Never here: taking a group's lock before this one, or keeping a topic that the connection has left or whose group is
//! gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::net::closer::EndCall;
use crate::net::outbox::latest::Slot;

/// Something that connections subscribe to, topic by topic. When it ends, it removes its topics from their books.
pub(crate) trait Group: Send + Sync {
    /// Removes the connection with this number from a topic.
    fn leave(&self, connection: u64, topic: &str);
}

/// A topic of a group, as all its subscribers note it.
pub(crate) struct GroupTopic {
    pub(crate) group: Weak<dyn Group>,
    pub(crate) topic: Arc<str>,
}

impl GroupTopic {
    /// Returns its key in the books: its address in memory, which is unique while the books hold it.
    fn place(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }
}

/// See the [module](self). A connection without topics pays for one pointer and a lock.
#[derive(Default)]
pub(crate) struct Memberships(Mutex<MembershipList>);

#[derive(Default)]
pub(crate) struct MembershipList {
    /// Set once, when the connection ends: from then on it joins nothing.
    ended: bool,
    /// By their key.
    #[expect(clippy::box_collection, reason = "most connections have none, and pay for a pointer alone")]
    of: Option<Box<BTreeMap<usize, Arc<GroupTopic>>>>,
    rare: Option<Box<Rare>>,
}

/// Fields that few connections use.
#[derive(Default)]
struct Rare {
    /// Calls that wait for its end.
    calls: Vec<EndCall>,
    /// The slots of the topics' newest messages, by the topic's key.
    slots: BTreeMap<usize, Arc<Slot>>,
}

impl Memberships {
    /// Returns the books, locked while a topic is joined or left; `None` once the connection has ended.
    pub(crate) fn open(&self) -> Option<MutexGuard<'_, MembershipList>> {
        let books = self.lock();
        (!books.ended).then_some(books)
    }

    /// Notes that a topic has ended with its group, whose lock no thread holds.
    pub(crate) fn remove(&self, topic: &Arc<GroupTopic>) {
        self.lock().remove(topic);
    }

    /// Leaves all topics, for good.
    pub(crate) fn end(&self, connection: u64) {
        let mut books = self.lock();
        books.ended = true;
        let of = books.of.take();
        if let Some(rare) = &mut books.rare {
            rare.slots.clear();
        }
        drop(books);
        for topic in of.into_iter().flat_map(|of| of.into_values()) {
            if let Some(group) = topic.group.upgrade() {
                group.leave(connection, &topic.topic);
            }
        }
    }

    /// Keeps a call until the end, or returns it if the connection has ended. `has_ended` runs under the lock, and
    /// [`take_calls`](Memberships::take_calls) runs after the end, so no call is lost.
    pub(crate) fn call_at_end(&self, call: EndCall, has_ended: impl FnOnce() -> bool) -> Option<EndCall> {
        let mut books = self.lock();
        if books.ended || has_ended() {
            return Some(call);
        }
        books.rare.get_or_insert_default().calls.push(call);
        None
    }

    /// Takes the calls, which are due.
    pub(crate) fn take_calls(&self) -> Vec<EndCall> {
        self.lock().rare.as_mut().map(|rare| std::mem::take(&mut rare.calls)).unwrap_or_default()
    }

    /// Returns the slot of a topic's newest message; for a topic that it has left, the slot belongs to no connection.
    pub(crate) fn slot(&self, topic: &Arc<GroupTopic>) -> Arc<Slot> {
        let mut books = self.lock();
        let new = || Arc::new(Slot::new());
        if books.of.as_ref().is_none_or(|of| !of.contains_key(&topic.place())) {
            return new();
        }
        books.rare.get_or_insert_default().slots.entry(topic.place()).or_insert_with(new).clone()
    }

    fn lock(&self) -> MutexGuard<'_, MembershipList> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MembershipList {
    /// Notes that it has joined a topic.
    pub(crate) fn add(&mut self, topic: Arc<GroupTopic>) {
        self.of.get_or_insert_default().insert(topic.place(), topic);
    }

    /// Notes that it has left a topic.
    pub(crate) fn remove(&mut self, topic: &Arc<GroupTopic>) {
        let Some(of) = &mut self.of else { return };
        of.remove(&topic.place());
        if let Some(rare) = &mut self.rare {
            rare.slots.remove(&topic.place());
        }
        if of.is_empty() {
            self.of = None;
        }
    }

    /// Returns how many topics it has noted.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn len(&self) -> usize {
        self.of.as_ref().map_or(0, |of| of.len())
    }
}
