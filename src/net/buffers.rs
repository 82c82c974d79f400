//! [`Buffers`]: one bound for all that a server keeps for and from its clients: backlogs, bodies, and messages that
//! are not whole. At the bound the one has to give way that holds most of what comes in and is not whole, if that is no less
//! than what the one has that asks.
//!
//! Any thread. A thread that pushes waits for nobody; one that reads waits at the bound until those that give way have
//! gone. Only what waits is counted. A frame that a pushing thread writes itself is none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Above the limit, this part of it may be pushed while those that give way are about to go.
const MORE: u64 = 4;
/// How long a reader waits until they have gone, which takes as long as waking a thread.
const PATIENCE: Duration = Duration::from_secs(1);
/// It looks as often, since what others give back wakes nobody.
const STEP: Duration = Duration::from_millis(50);
/// In a rank the size is above these bits, and the age in them.
const AGE_BITS: u32 = 52;
const AGE: u64 = (1 << AGE_BITS) - 1;

/// Who keeps what comes in, as those see it who need the room.
pub(crate) trait MayGiveWay: Send + Sync {
    /// Wakes the thread that reads, which is to answer that there is no room, and to end. Never blocks.
    fn give_way(&self);
}

/// Why nothing more can be kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HoldError {
    /// There is no room, and nobody else holds as much.
    Full,
    /// It has to give way itself.
    GiveWay,
}

/// See the [module](self).
pub(crate) struct Buffers {
    /// Bytes.
    limit: u64,
    used: AtomicU64,
    /// Who may have to give way. Written by readers when what they hold has grown by an eighth, and at the bound.
    holders: Mutex<Holders>,
    /// Signalled when one that gave way has gone.
    gone: Condvar,
}

#[derive(Default)]
struct Holders {
    /// By rank.
    growing: BTreeMap<u64, Weak<dyn MayGiveWay>>,
    /// How many there were.
    begun: u64,
    /// Bytes, at least, of those that give way and have not gone yet.
    leaving: u64,
}

impl Buffers {
    /// Starts with nothing kept.
    pub(crate) fn new(limit: u64) -> Buffers {
        Buffers { limit, used: AtomicU64::new(0), holders: Mutex::default(), gone: Condvar::new() }
    }

    /// Told bytes that begin to wait, `all` of one client with these. False if that is more than there is room for;
    /// they are counted all the same, and have to be [released](Buffers::release).
    pub(crate) fn hold(&self, bytes: u64, all: u64) -> bool {
        let used = self.add(bytes);
        used <= self.limit || (used <= self.limit.saturating_add(self.limit / MORE) && self.make_room(all))
    }

    /// Takes off bytes that wait no longer.
    pub(crate) fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes that wait now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) -> u64 {
        // Only a sum: nothing else is read by it.
        self.used.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets those give way that hold no less than `all`, until there will be room. False if there will not.
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

/// Returns how bytes are ranked: all that differ by less than an eighth alike.
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
    /// The larger, the sooner it has to give way: its size, and among equals who began first. 0 as long as it need not,
    /// or not any more. One that is not among the holders has been told to.
    rank: u64,
}

impl Held {
    /// Starts with nothing kept.
    pub(crate) fn new(buffers: &Arc<Buffers>) -> Held {
        Held { buffers: buffers.clone(), bytes: 0, rank: 0 }
    }

    /// Keeps `bytes` in all. At the bound it blocks until others have given way, a second at most.
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
        // Who waits for others is asked for nothing.
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
            // There may be room for another one that waits.
            buffers.gone.notify_one();
        }
        Ok(())
    }

    /// Goes on to keep what is whole now, and has to give way no more. False if it has been told to.
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

    /// Keeps nothing any more.
    pub(crate) fn clear(&mut self) {
        // Most messages hold nothing, and need not touch what all threads count in.
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
