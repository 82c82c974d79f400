//! [`Pause`]: how long a thread of the fleet waits before it connects again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

/// The first and the longest pause.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The pauses between attempts to connect: doubled each time, with some jitter, so that the machines of a fleet do not
/// connect all at once.
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Pause {
        Pause(PAUSE.0)
    }

    /// Blocks for the length of this pause. Returns true if `stop` has ended.
    pub(super) fn is_over(&mut self, stop: &Receiver<()>) -> bool {
        let random = RandomState::new().hash_one(()) % 1000;
        let pause = self.0.mul_f64(0.5 + random as f64 / 2000.0);
        self.0 = (self.0 * 2).min(PAUSE.1);
        stop.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected)
    }
}
