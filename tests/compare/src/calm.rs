//! Whether the machine is in its usual state. A shared host sometimes takes twice as long for everything, for some ten
//! seconds; a turn in such a spell measures the host, and is repeated.
//!
//! The measure is the time of a fixed piece of work that does not depend on any variant: small packets over a loopback
//! connection, from a thread to itself, so that nothing is woken.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, While};
use crate::stats::median;

/// Packets of a measurement, which takes one or two milliseconds.
const PACKETS: usize = 200;
/// Measurements, of which the fastest counts: a spell lasts longer than all of them.
const MEASUREMENTS: usize = 4;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(8);
/// The ratio to the usual time from which on it is a spell.
const SPELL: f64 = 1.4;
/// Looks before the first turn, which establish the usual time.
const FIRST_LOOKS: usize = 15;

/// The usual time, and how to look.
pub struct Calm {
    ends: [TcpStream; 2],
    /// Seconds that each look found.
    seen: Vec<f64>,
}

impl Calm {
    /// Takes the first looks.
    pub fn new() -> Result<Self, Failure> {
        let what = "connect over loopback";
        let listener = TcpListener::bind("127.0.0.1:0").doing(what)?;
        let one = TcpStream::connect(listener.local_addr().doing(what)?).doing(what)?;
        let (other, _) = listener.accept().doing(what)?;
        one.set_nodelay(true).doing(what)?;
        let mut calm = Self { ends: [one, other], seen: Vec::new() };
        for _ in 0..FIRST_LOOKS {
            calm.look()?;
        }
        Ok(calm)
    }

    /// Whether the machine is in its usual state now.
    pub fn look(&mut self) -> Result<bool, Failure> {
        let mut least = f64::INFINITY;
        for _ in 0..MEASUREMENTS {
            thread::sleep(PAUSE);
            least = least.min(self.measure().doing("send over loopback")?.as_secs_f64());
        }
        self.seen.push(least);
        Ok(is_usual(&self.seen, least))
    }

    fn measure(&mut self) -> std::io::Result<Duration> {
        let [one, other] = &mut self.ends;
        let (packet, mut buffer) = ([0; 32], [0; 32]);
        let start = Instant::now();
        for _ in 0..PACKETS {
            one.write_all(&packet)?;
            other.read_exact(&mut buffer)?;
        }
        Ok(start.elapsed())
    }
}

/// Whether a look is like most of those so far, including faster ones.
fn is_usual(seen: &[f64], look: f64) -> bool {
    median(seen).is_none_or(|usual| look <= usual * SPELL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spell_is_what_takes_longer_than_most() {
        let seen = [1.0, 1.1, 0.9, 2.4, 1.0];
        for (look, usual) in [(0.5, true), (1.0, true), (1.39, true), (1.41, false), (2.4, false)] {
            assert_eq!(is_usual(&seen, look), usual, "{look}");
        }
        // A machine that has become slow for good is usual again.
        assert!(is_usual(&[1.0, 2.4, 2.5, 2.6], 2.4));
        assert!(is_usual(&[], 1.0));
    }

    #[test]
    fn looks_are_remembered() {
        let mut calm = Calm::new().unwrap();
        calm.look().unwrap();
        assert_eq!(calm.seen.len(), FIRST_LOOKS + 1);
        assert!(calm.seen.iter().all(|seconds| *seconds > 0.0));
    }
}
