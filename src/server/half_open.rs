//! [`HalfOpen`]: the connections that may have to make room for a newcomer, by address and age. The cost of a look-up
//! does not grow with their number.
//!
//! Written by every `client-N` that begins or ends to wait for its peer, and by the listener, behind the lock in
//! [`ServerState`](crate::server::state::ServerState).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::server::addresses::Neighbour;

/// A connection that is younger than this is not evicted for another one from its address. So a flood from one address
/// keeps its threads, and each client has the time to send a request.
const YOUNG: Duration = Duration::from_secs(2);

/// Most reset connections that it remembers.
const MOST_RESET: usize = 4096;

/// Why the thread of a client without a WebSocket waits; the client may be evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// For input: a handshake, a head, a body, its end.
    ForInput,
    /// For a slow client to read its answer.
    ForOutput,
}

/// The connection that makes room for a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// This one, which has been removed.
    Evicted(u64, Wait),
    /// The newcomer itself: its address has the most.
    Newcomer,
    /// None: every address has one, or they are all busy.
    Nobody,
}

/// See the [module](self).
#[derive(Default)]
pub(crate) struct HalfOpen {
    /// By address and number; numbers are in the order of the accepts.
    connections: BTreeMap<(Neighbour, u64), (Instant, Wait)>,
    counts: HashMap<Neighbour, usize>,
    /// The addresses by how many they have.
    by_count: BTreeSet<(usize, Neighbour)>,
    /// Those of them that have been reset, in that order. They count as long as they would be young.
    reset: VecDeque<(Neighbour, u64, Instant)>,
}

impl HalfOpen {
    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Adds connection `id`, which was accepted at `since`, or changes the reason for its wait.
    pub(crate) fn enter(&mut self, neighbour: Neighbour, id: u64, since: Instant, wait: Wait) {
        if self.connections.insert((neighbour, id), (since, wait)).is_none() {
            self.count(neighbour, |count| count + 1);
        }
    }

    /// Removes a connection, if it is present.
    pub(crate) fn leave(&mut self, neighbour: Neighbour, id: u64) {
        if self.connections.remove(&(neighbour, id)).is_some() {
            self.count(neighbour, |count| count - 1);
        }
    }

    /// Notes that a connection has been reset. It still counts: otherwise a client that repeatedly connects and resets
    /// would get a new thread each time.
    pub(crate) fn reset(&mut self, neighbour: Neighbour, id: u64, since: Instant) {
        self.reset.push_back((neighbour, id, since));
        if self.reset.len() > MOST_RESET {
            self.forget_first();
        }
    }

    /// Stops counting reset connections that are no longer young.
    pub(crate) fn forget_reset(&mut self, now: Instant) {
        while self.reset.front().is_some_and(|(_, _, since)| now.duration_since(*since) >= YOUNG) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((neighbour, id, _)) = self.reset.pop_front() {
            self.leave(neighbour, id);
        }
    }

    /// Finds room for a newcomer: removes the oldest of the address that has the most, if it has more than one. If that
    /// is the newcomer's own address, the oldest must not be young. `waiting` is how many of its address wait for a
    /// thread. `shared` marks an address with many clients behind it, such as a proxy's.
    pub(crate) fn make_room(
        &mut self,
        newcomer: Neighbour,
        waiting: usize,
        shared: bool,
        now: Instant,
    ) -> Way {
        let Some(&(most, crowded)) = self.by_count.last() else { return Way::Nobody };
        let own = self.counts.get(&newcomer).copied().unwrap_or(0) + waiting;
        let is_own = own >= most;
        let from = if is_own { newcomer } else { crowded };
        let oldest = self.connections.range((from, 0)..=(from, u64::MAX)).next();
        match oldest.map(|(&(_, id), &(since, wait))| (id, since, wait)) {
            Some((_, since, _)) if is_own && !shared && now.duration_since(since) < YOUNG => Way::Newcomer,
            Some((id, _, wait)) if is_own || most > 1 => {
                self.leave(from, id);
                Way::Evicted(id, wait)
            }
            // All connections of its address wait for a thread.
            None if !shared => Way::Newcomer,
            _ => Way::Nobody,
        }
    }

    fn count(&mut self, neighbour: Neighbour, change: impl Fn(usize) -> usize) {
        let before = self.counts.get(&neighbour).copied().unwrap_or(0);
        self.by_count.remove(&(before, neighbour));
        match change(before) {
            0 => _ = self.counts.remove(&neighbour),
            after => {
                self.counts.insert(neighbour, after);
                self.by_count.insert((after, neighbour));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Neighbour = Neighbour::V4(1);
    const B: Neighbour = Neighbour::V4(2);
    const C: Neighbour = Neighbour::V6(1);

    /// Of each address the connections with these numbers.
    fn half_open(begun: Instant, all: &[(Neighbour, &[u64])]) -> HalfOpen {
        let mut half_open = HalfOpen::default();
        for (neighbour, ids) in all {
            ids.iter().for_each(|id| half_open.enter(*neighbour, *id, begun, Wait::ForInput));
        }
        half_open
    }

    #[test]
    fn who_makes_room_as_a_table() {
        let (begun, evicted) = (Instant::now(), |id| Way::Evicted(id, Wait::ForInput));
        let (young, old) = (begun + YOUNG / 2, begun + YOUNG);
        for (all, newcomer, waiting, shared, now, way) in [
            (&[][..], A, 0, false, young, Way::Nobody),
            // The oldest of the address that has the most.
            (&[(A, &[4, 3, 5][..]), (B, &[1, 2])], C, 0, false, young, evicted(3)),
            (&[(A, &[4, 3, 5]), (B, &[1, 2])], B, 0, false, young, evicted(3)),
            // Each keeps its first.
            (&[(A, &[1]), (B, &[2])], C, 0, false, old, Way::Nobody),
            // The newcomer's address has the most, or as many as another one.
            (&[(A, &[1, 2]), (B, &[3])], A, 0, false, young, Way::Newcomer),
            (&[(A, &[1, 2]), (B, &[3])], A, 0, false, old, evicted(1)),
            (&[(A, &[1, 2]), (B, &[3, 4])], A, 0, false, young, Way::Newcomer),
            (&[(A, &[1])], A, 0, false, old, evicted(1)),
            // Connections that wait for a thread count.
            (&[(A, &[1, 2]), (B, &[3])], B, 1, false, young, Way::Newcomer),
            (&[(A, &[1])], B, 1, false, old, Way::Newcomer),
            // Behind a proxy all clients share one address.
            (&[(A, &[1, 2]), (B, &[3])], A, 0, true, young, evicted(1)),
            (&[(B, &[3])], A, 0, true, young, Way::Nobody),
        ] {
            let found = half_open(begun, all).make_room(newcomer, waiting, shared, now);
            assert_eq!(found, way, "{newcomer:?} comes to {all:?}");
        }
    }

    #[test]
    fn who_has_been_reset_counts_as_long_as_it_would_be_young() {
        let begun = Instant::now();
        let mut all = half_open(begun, &[(A, &[1, 2]), (B, &[3])]);
        all.reset(A, 1, begun);
        all.forget_reset(begun + YOUNG / 2);
        assert_eq!((all.len(), all.make_room(A, 0, false, begun)), (3, Way::Newcomer));
        all.forget_reset(begun + YOUNG);
        assert_eq!((all.len(), all.reset.len()), (2, 0));
        let many = 2 * MOST_RESET as u64;
        for id in 9..9 + many {
            all.enter(C, id, begun, Wait::ForInput);
            all.reset(C, id, begun);
        }
        assert_eq!((all.len(), all.reset.len()), (2 + MOST_RESET, MOST_RESET));
    }

    #[test]
    fn who_leaves_or_is_evicted_is_counted_no_more_and_who_comes_back_is_as_old_as_before() {
        let begun = Instant::now();
        let mut all = half_open(begun, &[(A, &[1, 2, 3]), (B, &[4, 5])]);
        all.leave(A, 9);
        all.leave(A, 2);
        assert_eq!(
            all.make_room(C, 0, false, begun),
            Way::Evicted(4, Wait::ForInput),
            "as many as of the other"
        );
        assert_eq!(all.make_room(C, 0, false, begun), Way::Evicted(1, Wait::ForInput));
        assert_eq!(all.make_room(C, 0, false, begun), Way::Nobody);
        assert_eq!(all.len(), 2);
        all.enter(A, 2, begun, Wait::ForOutput);
        all.enter(A, 2, begun, Wait::ForOutput);
        assert_eq!(all.make_room(C, 0, false, begun), Way::Evicted(2, Wait::ForOutput));
        [(A, 3), (B, 5)].iter().for_each(|(neighbour, id)| all.leave(*neighbour, *id));
        assert!(all.connections.is_empty() && all.counts.is_empty() && all.by_count.is_empty());
    }
}
