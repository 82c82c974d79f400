//! [`Memberships`]: the topics that a connection is subscribed to, so that it leaves them when it ends. Any thread.
//!
//! Never here: a lock of a group's taken before this one's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Something that connections subscribe to, topic by topic.
pub(crate) trait Group: Send + Sync {
    /// Takes the connection of this number out of these topics.
    fn leave(&self, connection: u64, topics: &[Arc<str>]);
}

/// See the [module](self). A connection without topics pays for one pointer and a lock.
#[derive(Default)]
pub(crate) struct Memberships(Mutex<MembershipList>);

/// A group, and the topics of it.
type Membership = (Weak<dyn Group>, Vec<Arc<str>>);

#[derive(Default)]
pub(crate) struct MembershipList {
    /// Set once, when the connection ends: from then on it joins nothing.
    ended: bool,
    #[expect(clippy::box_collection, reason = "most connections have none, and pay for a pointer alone")]
    of: Option<Box<Vec<Membership>>>,
}

impl Memberships {
    /// Returns the books, locked while a topic is joined or left; `None` once the connection has ended.
    pub(crate) fn open(&self) -> Option<MutexGuard<'_, MembershipList>> {
        let books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!books.ended).then_some(books)
    }

    /// Leaves all topics, for good.
    pub(crate) fn end(&self, connection: u64) {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        books.ended = true;
        let of = books.of.take();
        drop(books);
        for (group, topics) in of.into_iter().flat_map(|of| *of) {
            if let Some(group) = group.upgrade() {
                group.leave(connection, &topics);
            }
        }
    }
}

impl MembershipList {
    /// Notes that it has joined a topic.
    pub(crate) fn add(&mut self, group: Weak<dyn Group>, topic: Arc<str>) {
        let of = self.of.get_or_insert_default();
        match of.iter_mut().find(|(other, _)| Weak::ptr_eq(other, &group)) {
            Some((_, topics)) => topics.push(topic),
            None => of.push((group, vec![topic])),
        }
    }

    /// Notes that it has left a topic.
    pub(crate) fn remove(&mut self, group: &Weak<dyn Group>, topic: &str) {
        let of = self.of.iter_mut().flat_map(|of| of.iter_mut());
        for (_, topics) in of.filter(|(other, _)| Weak::ptr_eq(other, group)) {
            topics.retain(|other| **other != *topic);
        }
    }
}
