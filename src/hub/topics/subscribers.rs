//! [`Subscribers`]: the subscribers of one topic, in chunks. A publish counts one reference for each chunk, and a
//! change copies one chunk if a publish still reads it.
//!
//! They are in the order of their numbers, which is the order of arrival. So each is found in O(log n), and consecutive
//! arrivals fill the chunks.

use std::sync::Arc;

use crate::connection::connection::Connection;

/// The most subscribers in a chunk.
const CHUNK: usize = 64;

/// See the [module](self). No chunk is empty.
#[derive(Clone, Default)]
pub(super) struct Subscribers(pub(super) Vec<Arc<Chunk>>);

/// Some subscribers, and their numbers next to each other for a fast search.
#[derive(Clone, Default)]
pub(super) struct Chunk {
    ids: Vec<u64>,
    pub(super) connections: Vec<Connection>,
}

impl Subscribers {
    /// Returns the chunk where this number is or would be, and its place in it.
    fn find(&self, id: u64) -> (usize, Result<usize, usize>) {
        let behind = self.0.partition_point(|chunk| chunk.ids[0] <= id);
        let at = behind.saturating_sub(1);
        (at, self.0.get(at).map_or(Err(0), |chunk| chunk.ids.binary_search(&id)))
    }

    /// Adds a connection. Returns false if it is already present.
    pub(super) fn add(&mut self, connection: &Connection) -> bool {
        let (mut at, Err(mut place)) = self.find(connection.id()) else { return false };
        if self.0.is_empty() {
            self.0.push(Arc::default());
        } else if self.0[at].ids.len() == CHUNK {
            // After a full chunk a new one begins; in the middle, a full chunk splits in two.
            let split = if place == CHUNK { CHUNK } else { CHUNK / 2 };
            let second = Arc::make_mut(&mut self.0[at]).split_off(split);
            self.0.insert(at + 1, Arc::new(second));
            if place >= split {
                (at, place) = (at + 1, place - split);
            }
        }
        let chunk = Arc::make_mut(&mut self.0[at]);
        chunk.ids.insert(place, connection.id());
        chunk.connections.insert(place, connection.clone());
        true
    }

    /// Removes a connection. Returns false if it is not present.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let (at, Ok(place)) = self.find(id) else { return false };
        let chunk = Arc::make_mut(&mut self.0[at]);
        chunk.ids.remove(place);
        chunk.connections.remove(place);
        if chunk.ids.is_empty() {
            self.0.remove(at);
        } else {
            self.join(at);
        }
        if let Some(before) = at.checked_sub(1) {
            self.join(before);
        }
        true
    }

    /// Joins this chunk and the next if they would fill half of one.
    fn join(&mut self, at: usize) {
        let Some([first, second]) = self.0.get(at..at + 2) else { return };
        if first.ids.len() + second.ids.len() > CHUNK / 2 {
            return;
        }
        let second = self.0.remove(at + 1);
        let first = Arc::make_mut(&mut self.0[at]);
        first.ids.extend_from_slice(&second.ids);
        first.connections.extend_from_slice(&second.connections);
    }

    /// Returns the number of subscribers.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|chunk| chunk.ids.len()).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.0.iter().flat_map(|chunk| &chunk.connections)
    }
}

impl Chunk {
    fn split_off(&mut self, at: usize) -> Chunk {
        Chunk { ids: self.ids.split_off(at), connections: self.connections.split_off(at) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::connection::connection::tests::connection;

    fn sizes(subscribers: &Subscribers) -> Vec<usize> {
        let ids: Vec<_> = subscribers.0.iter().flat_map(|chunk| chunk.ids.iter().copied()).collect();
        assert!(ids.is_sorted() && ids.iter().copied().eq(subscribers.iter().map(Connection::id)));
        assert_eq!(subscribers.count(), ids.len());
        subscribers.0.iter().map(|chunk| chunk.ids.len()).collect()
    }

    #[test]
    fn chunks_are_full_where_clients_come_in_order_and_few_where_they_leave() {
        let crowd: Vec<_> = (0..4 * CHUNK).map(|_| connection()).collect();
        let mut subscribers = Subscribers::default();
        assert!(
            crowd.iter().all(|one| subscribers.add(one)) && !crowd.iter().any(|one| subscribers.add(one))
        );
        assert_eq!(sizes(&subscribers), [CHUNK; 4]);
        // All but the first and the last of each chunk.
        for (n, one) in crowd.iter().enumerate() {
            let stays = [0, CHUNK - 1].contains(&(n % CHUNK));
            assert!(stays || subscribers.remove(one.id()) && !subscribers.remove(one.id()));
        }
        assert_eq!(sizes(&subscribers), [8]);
        // And back, in random order.
        for n in 0..crowd.len() {
            subscribers.add(&crowd[n * 37 % crowd.len()]);
        }
        let chunks = sizes(&subscribers);
        assert!(chunks.len() <= 8 && chunks.iter().all(|size| (1..=CHUNK).contains(size)), "{chunks:?}");
        assert!(crowd.iter().all(|one| subscribers.remove(one.id())) && sizes(&subscribers).is_empty());
    }
}
