//! [`Lent`]: an inflate state, on loan from a pool until the end of one message. Allocating a state for each message
//! would leave holes in the allocator's arenas that cost more than the pool.
//!
//! Any thread that reads. Never here: a thread that holds a state while it waits for anything but the rest of its
//! message.

use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use flate2::{Decompress, FlushDecompress, Status};

use crate::ws::header::MASKED;
use crate::ws::inflate::InflateError;

/// The most bytes of a message in one of the frames that tungstenite gets. It must fit in 16 bits.
pub(super) const CHUNK: usize = 16 * 1024;
/// Two bytes, a length of two, a mask of four.
const CHUNK_HEADER: usize = 8;
/// States of the process; each inflates one message.
pub(super) const STATES: usize = 16;
/// The most states for incomplete messages. A complete message needs its state only while it inflates, so one of the
/// other states soon becomes free.
pub(super) const STATES_OF_PARTS: usize = 8;
/// The most states for complete messages of more than [`LARGE`] bytes: they may take a second to inflate, and small
/// messages must not wait for them. Together with [`STATES_OF_PARTS`] it must be less than [`STATES`].
pub(super) const STATES_OF_LARGE: usize = 4;
/// The most compressed bytes of a small message. The worst message of that size takes milliseconds.
pub(super) const LARGE: usize = 64 * 1024;
/// An empty last block. A message may have millions of them, and each would cost a reset of the state.
const EMPTY_BLOCK: [u8; 2] = [0x03, 0x00];

/// Follows a message in place of the empty block that its sender has cut off (RFC 7692, section 7.2.1), to find out
/// whether the message ends at a valid place.
///
/// Within the header of the cut block, the probe reads as a stored block whose data begin with the fifth byte. At the
/// end of a block, where a sender has cut off nothing or too much, the data begin with the sixth. Anywhere else its
/// first four bytes are not a stored block, or come out as data: after an end-of-block code, which can be any 1 to 15
/// bits of the probe, the next bits are not a valid block header.
const PROBE: [u8; 16] = *b"\xf8\xff\x07\x00\xf8end of data";
/// How many bytes come out of the probe in those two places.
const PROBED: [usize; 2] = [12, 11];

/// An inflater, and the chunk of its output that the reader is taking.
pub(super) struct InflateState {
    stream: Decompress,
    /// Room for a header, then up to [`CHUNK`] bytes.
    pub(super) chunk: Vec<u8>,
    pub(super) ready: Range<usize>,
}

/// A state of the pool, until this is dropped.
pub(super) struct Lent {
    /// Present until then, if the pool has been [filled](Lent::fill).
    pub(super) state: Option<InflateState>,
    kind: Kind,
}

/// The borrower of a state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An incomplete message.
    Part,
    Small,
    Large,
}

/// The states of the process.
pub(super) struct Pool {
    pub(super) free: Vec<InflateState>,
    /// On loan to complete messages, to large ones among them, and to incomplete ones.
    pub(super) whole: usize,
    pub(super) large: usize,
    pub(super) parts: usize,
    /// Small and large messages that wait for a state.
    waiting: [usize; 2],
}

pub(super) static POOL: Mutex<Pool> =
    Mutex::new(Pool { free: Vec::new(), whole: 0, large: 0, parts: 0, waiting: [0; 2] });
/// Signalled when a state is returned and a small message waits, or a large one.
static GIVEN_BACK: [Condvar; 2] = [const { Condvar::new() }; 2];

#[cfg(all(test, not(loom)))]
impl Pool {
    pub(super) fn is_waited_for_by_large(&self) -> bool {
        self.waiting[1] > 0
    }
}

impl InflateState {
    fn new() -> InflateState {
        InflateState { stream: Decompress::new(false), chunk: vec![0; CHUNK_HEADER + CHUNK], ready: 0..0 }
    }

    /// Inflates until the chunk is full or the input is used up. Returns how many bytes it used, and made.
    pub(super) fn inflate(&mut self, input: &[u8]) -> Result<(usize, usize), InflateError> {
        let (mut used, mut made) = (0, 0);
        while made < CHUNK {
            let before = (self.stream.total_in(), self.stream.total_out());
            let into = &mut self.chunk[CHUNK_HEADER + made..];
            let status = self.stream.decompress(&input[used..], into, FlushDecompress::None);
            let status = status.map_err(|_| InflateError::Data)?;
            let step = (self.stream.total_in() - before.0, self.stream.total_out() - before.1);
            used += step.0 as usize;
            made += step.1 as usize;
            match status {
                // A block that claims to be the last one; others may follow (RFC 7692, section 7.2.3.4).
                Status::StreamEnd => {
                    self.stream.reset(false);
                    while input[used..].starts_with(&EMPTY_BLOCK) {
                        used += EMPTY_BLOCK.len();
                    }
                }
                _ if step == (0, 0) => break,
                _ => {}
            }
        }
        if made < CHUNK && used < input.len() { Err(InflateError::Data) } else { Ok((used, made)) }
    }

    /// Returns whether the inflated bytes end where a message may end. The state cannot inflate more after that.
    #[inline(never)]
    pub(super) fn is_at_end(&mut self) -> bool {
        let (mut out, before) = ([0; 2 * PROBE.len()], self.stream.total_out());
        let inflated = self.stream.decompress(&PROBE, &mut out, FlushDecompress::None);
        let made = (self.stream.total_out() - before) as usize;
        inflated.is_ok() && PROBED.contains(&made) && PROBE.ends_with(&out[..made])
    }

    /// Makes a frame of the bytes in the chunk. A mask of zeros changes nothing.
    pub(super) fn frame(&mut self, first: u8, length: usize, is_masked: bool) {
        let (bit, mask) = if is_masked { (MASKED, 4) } else { (0, 0) };
        let mut header = [0; CHUNK_HEADER];
        header[0] = first;
        let header = if length < 126 {
            header[1] = bit | length as u8;
            &header[..2 + mask]
        } else {
            header[1] = bit | 126;
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            &header[..4 + mask]
        };
        let start = CHUNK_HEADER - header.len();
        self.chunk[start..CHUNK_HEADER].copy_from_slice(header);
        self.ready = start..CHUNK_HEADER + length;
    }
}

impl Lent {
    /// Makes all states, unless they exist. A debug build needs 48 KiB of stack for one, more than a client's thread
    /// has.
    pub(super) fn fill() {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let there = pool.free.len() + pool.whole + pool.parts;
        pool.free.extend((there..STATES).map(|_| InflateState::new()));
    }

    /// Blocks until a state is free for a complete message, of which `bytes` are not inflated yet. That is soon, unless
    /// the message is large and other large ones are running.
    pub(super) fn wait(bytes: usize) -> Lent {
        let is_large = bytes > LARGE;
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let is_taken = |pool: &mut Pool| {
            pool.whole + pool.parts >= STATES || (is_large && pool.large >= STATES_OF_LARGE)
        };
        let class = usize::from(is_large);
        pool.waiting[class] += 1;
        let mut pool = GIVEN_BACK[class].wait_while(pool, is_taken).unwrap_or_else(PoisonError::into_inner);
        pool.waiting[class] -= 1;
        Lent::take(pool, if is_large { Kind::Large } else { Kind::Small })
    }

    /// Returns a state for a message whose rest may never come, unless too many of those have one.
    pub(super) fn for_a_part() -> Option<Lent> {
        let pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = pool.parts < STATES_OF_PARTS && pool.whole + pool.parts < STATES;
        is_free.then(|| Lent::take(pool, Kind::Part))
    }

    fn take(mut pool: MutexGuard<'_, Pool>, kind: Kind) -> Lent {
        pool.parts += usize::from(kind == Kind::Part);
        pool.whole += usize::from(kind != Kind::Part);
        pool.large += usize::from(kind == Kind::Large);
        Lent { state: pool.free.pop(), kind }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else { return };
        state.stream.reset(false);
        state.ready = 0..0;
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        pool.free.push(state);
        pool.parts -= usize::from(self.kind == Kind::Part);
        pool.whole -= usize::from(self.kind != Kind::Part);
        pool.large -= usize::from(self.kind == Kind::Large);
        let is_waited_for = pool.waiting.map(|waiting| waiting > 0);
        drop(pool);
        let turns = GIVEN_BACK.iter().zip(is_waited_for).filter(|(_, is_waited_for)| *is_waited_for);
        turns.for_each(|(given_back, _)| given_back.notify_one());
    }
}
