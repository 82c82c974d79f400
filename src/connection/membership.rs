//! [`Memberships`]: the topics that a connection is subscribed to, so that it leaves them when it ends. Any thread.
//!
//! Never here: a lock of a group's taken before this one's, a topic that was left or whose group is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Something that connections subscribe to, topic by topic. When it ends, it takes its topics out of their books.
pub(crate) trait Group: Send + Sync {
    /// Takes the connection of this number out of a topic.
    fn leave(&self, connection: u64, topic: &str);
}

/// A topic of a group, as all its subscribers note it.
pub(crate) struct GroupTopic {
    pub(crate) group: Weak<dyn Group>,
    pub(crate) topic: Arc<str>,
}

impl GroupTopic {
    /// Returns the place of it in the books: where it is in memory, which nobody else is while they have it.
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
    /// By their place.
    #[expect(clippy::box_collection, reason = "most connections have none, and pay for a pointer alone")]
    of: Option<Box<BTreeMap<usize, Arc<GroupTopic>>>>,
}

impl Memberships {
    /// Returns the books, locked while a topic is joined or left; `None` once the connection has ended.
    pub(crate) fn open(&self) -> Option<MutexGuard<'_, MembershipList>> {
        let books = self.lock();
        (!books.ended).then_some(books)
    }

    /// Notes that a topic has ended with its group, whose lock nobody has any more.
    pub(crate) fn remove(&self, topic: &Arc<GroupTopic>) {
        self.lock().remove(topic);
    }

    /// Leaves all topics, for good.
    pub(crate) fn end(&self, connection: u64) {
        let mut books = self.lock();
        books.ended = true;
        let of = books.of.take();
        drop(books);
        for topic in of.into_iter().flat_map(|of| of.into_values()) {
            if let Some(group) = topic.group.upgrade() {
                group.leave(connection, &topic.topic);
            }
        }
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
