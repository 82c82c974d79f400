//! [`Buffers`]: one limit for everything that a server buffers from and for its clients: backlogs, bodies, and
//! incomplete messages. At the limit, the client with the largest incomplete input has to give way, if it holds at
//! least as much as the client that asks for room.
//!
//! Any thread. A thread that pushes never waits; one that reads waits at the limit until the clients that give way have
//! gone. Only waiting bytes count; a frame that a pushing thread writes itself does not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Pushes may exceed the limit by this part of it while clients that give way are about to go.
const MORE: u64 = 4;
/// How long a reader waits until they have gone, which takes as long as waking a thread.
const PATIENCE: Duration = Duration::from_secs(1);
/// A waiting reader checks this often, because released bytes wake no thread.
const STEP: Duration = Duration::from_millis(50);
/// A rank has the size above these bits, and the age in them.
const AGE_BITS: u32 = 52;
const AGE: u64 = (1 << AGE_BITS) - 1;

/// A client with incomplete input, as others that need the room see it.
pub(crate) trait MayGiveWay: Send + Sync {
    /// Wakes its reading thread, which then answers that the server is full, and ends. Never blocks.
    fn give_way(&self);
}

/// Why a client cannot keep more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HoldError {
    /// The buffers are full, and no other client holds as much.
    Full,
    /// The client itself has to give way.
    GiveWay,
}

/// See the [module](self).
pub(crate) struct Buffers {
    /// Bytes.
    limit: u64,
    used: AtomicU64,
    /// Clients that may have to give way. Readers write it when their share has grown by an eighth, and at the limit.
    holders: Mutex<Holders>,
    /// Signalled when a client that gave way has gone.
    gone: Condvar,
}

#[derive(Default)]
struct Holders {
    /// By rank.
    growing: BTreeMap<u64, Weak<dyn MayGiveWay>>,
    /// The number of clients so far.
    begun: u64,
    /// Bytes, at least, of clients that give way and have not gone yet.
    leaving: u64,
}

impl Buffers {
    /// Starts empty.
    pub(crate) fn new(limit: u64) -> Buffers {
        Buffers { limit, used: AtomicU64::new(0), holders: Mutex::default(), gone: Condvar::new() }
    }

    /// Counts bytes that begin to wait; `all` is that client's total with them. Returns false if they exceed the limit;
    /// they count anyway, and must be [released](Buffers::release).
    pub(crate) fn hold(&self, bytes: u64, all: u64) -> bool {
        let used = self.add(bytes);
        used <= self.limit || (used <= self.limit.saturating_add(self.limit / MORE) && self.make_room(all))
    }

    /// Subtracts bytes that no longer wait.
    pub(crate) fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes that wait now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) -> u64 {
        // Only a sum: it orders no other memory.
        self.used.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes clients give way that hold at least `all`, until enough room will be free. Returns false if it cannot be.
    #[cold]
    #[inline(never)]
    fn make_room(&self, all: u64) -> bool {
        let mut give_way = Vec::new();
        let mut holders = self.holders();
        let will_have_room = loop {
            if self.used().saturating_sub(holders.leaving) <= self.limit {
                break true;
            }
            let most = holders.growing.last_entry().filter(|most| most.key() >> AGE_BITS >= size(all));
            let Some(most) = most else { break false };
            let (rank, holder) = most.remove_entry();
            holders.leaving += least(rank);
            give_way.push(holder);
        };
        drop(holders);
        give_way.iter().filter_map(Weak::upgrade).for_each(|holder| holder.give_way());
        will_have_room
    }
}

/// Returns the bytes as a rank: sizes that differ by less than an eighth are equal.
fn size(bytes: u64) -> u64 {
    match bytes.checked_ilog2() {
        Some(log @ 3..) => u64::from(log - 2) * 8 + (bytes >> (log - 3)) % 8,
        _ => bytes,
    }
}

/// Returns the fewest bytes that have this rank.
fn least(rank: u64) -> u64 {
    match rank >> AGE_BITS {
        size @ ..8 => size,
        size => (8 + size % 8) << (size / 8 - 1),
    }
}

/// Bytes that one reader keeps, until this is dropped.
pub(crate) struct Held {
    buffers: Arc<Buffers>,
    bytes: u64,
    /// The largest rank gives way first: by size, and among equals the oldest. 0 for a reader that need not, or no
    /// longer, give way. A reader that is missing from the holders has been asked to give way.
    rank: u64,
}

impl Held {
    /// Starts empty.
    pub(crate) fn new(buffers: &Arc<Buffers>) -> Held {
        Held { buffers: buffers.clone(), bytes: 0, rank: 0 }
    }

    /// Keeps `bytes` in total. At the limit it blocks until others have given way, for at most a second.
    pub(crate) fn grow_to<H: MayGiveWay + 'static>(
        &mut self,
        bytes: u64,
        holder: &Arc<H>,
    ) -> Result<(), HoldError> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        self.bytes += more;
        let used = self.buffers.add(more);
        if used <= self.buffers.limit && size(self.bytes) == self.rank >> AGE_BITS {
            return Ok(());
        }
        let holder = Arc::downgrade(holder);
        self.rank_again(holder)
    }

    #[inline(never)]
    fn rank_again(&mut self, holder: Weak<dyn MayGiveWay>) -> Result<(), HoldError> {
        let buffers = &*self.buffers;
        let mut holders = buffers.holders();
        let mut age = self.rank & AGE;
        if self.rank == 0 {
            holders.begun += 1;
            age = AGE - holders.begun;
        } else if holders.growing.remove(&self.rank).is_none() {
            return Err(HoldError::GiveWay);
        }
        // A reader that waits for others is not asked to give way.
        self.rank = 0;
        let mut deadline = None;
        while buffers.used() > buffers.limit {
            drop(holders);
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !buffers.make_room(self.bytes) {
                return Err(HoldError::Full);
            }
            holders = buffers.holders();
            if buffers.used() > buffers.limit {
                let waited = buffers.gone.wait_timeout(holders, left.min(STEP));
                holders = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        self.rank = size(self.bytes) << AGE_BITS | age;
        holders.growing.insert(self.rank, holder);
        if deadline.is_some() {
            // Another waiting reader may have room now.
            buffers.gone.notify_one();
        }
        Ok(())
    }

    /// Keeps its input, which is now complete, and no longer has to give way. Returns false if it has been asked to.
    #[inline]
    pub(crate) fn settle(&mut self) -> bool {
        self.rank == 0 || self.leave_holders()
    }

    #[inline(never)]
    fn leave_holders(&mut self) -> bool {
        let is_among_them = self.buffers.holders().growing.remove(&self.rank).is_some();
        if is_among_them {
            self.rank = 0;
        }
        is_among_them
    }

    /// Releases everything.
    pub(crate) fn clear(&mut self) {
        // Most messages hold nothing, and need not touch the shared counter.
        if self.bytes > 0 {
            let must_give_way = !self.settle();
            self.buffers.release(std::mem::take(&mut self.bytes));
            if must_give_way {
                self.buffers.holders().leaving -= least(std::mem::take(&mut self.rank));
                self.buffers.gone.notify_one();
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests;
