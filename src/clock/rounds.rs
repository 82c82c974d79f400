//! Counters of the rounds of the thread `send`. Only that thread writes them, and any thread reads them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::histogram::Histogram;

/// Upper bounds of the histograms, in seconds.
const BOUNDS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// Intervals without a round, and the time on top, after which `send` stands still.
const STILL_INTERVALS: u32 = 3;
const STILL_MORE: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Debug)]
pub struct RoundStats {
    interval: Duration,
    rounds: AtomicU64,
    late: AtomicU64,
    last_micros: AtomicU64,
    longest_micros: AtomicU64,
    /// When this was made.
    began: Instant,
    /// When the last round was done: microseconds since then, and since 1970.
    last_at: AtomicU64,
    last_wall: AtomicU64,
    /// How long rounds took, and how late they began. Locked for some nanoseconds once a round, and once a scrape.
    pub durations: Histogram,
    pub lateness: Histogram,
}

impl RoundStats {
    /// Starts without a round. `interval`: from the beginning of one round to that of the next.
    pub fn new(interval: Duration) -> RoundStats {
        RoundStats {
            interval,
            rounds: AtomicU64::new(0),
            late: AtomicU64::new(0),
            last_micros: AtomicU64::new(0),
            longest_micros: AtomicU64::new(0),
            began: Instant::now(),
            last_at: AtomicU64::new(0),
            last_wall: AtomicU64::new(0),
            durations: Histogram::new(BOUNDS),
            lateness: Histogram::new(BOUNDS),
        }
    }

    /// Starts without a round, as if it was made this long ago.
    #[cfg(test)]
    pub fn since(interval: Duration, ago: Duration) -> RoundStats {
        RoundStats { began: Instant::now() - ago, ..RoundStats::new(interval) }
    }

    /// Counts a round: how late it began, and how long it took.
    pub fn finished(&self, late: Duration, took: Duration) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.rounds.fetch_add(1, Ordering::Relaxed);
        // In this order, and read the other way round: the longest is never less than the last.
        self.longest_micros.fetch_max(micros(took), Ordering::Relaxed);
        self.last_micros.store(micros(took), Ordering::Release);
        self.durations.observe(took.as_secs_f64());
        self.lateness.observe(late.as_secs_f64());
        self.last_wall.store(micros(wall), Ordering::Relaxed);
        self.last_at.store(micros(self.began.elapsed()), Ordering::Relaxed);
    }

    /// Counts a round that took longer than the interval. Returns how many did so far.
    pub fn late(&self) -> u64 {
        self.late.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns how many rounds there were, and how many of them took longer than the interval.
    pub fn counts(&self) -> (u64, u64) {
        (self.rounds.load(Ordering::Relaxed), self.late.load(Ordering::Relaxed))
    }

    /// Returns how long the last round took, and the longest one, in microseconds.
    pub fn took_micros(&self) -> (u64, u64) {
        let last = self.last_micros.load(Ordering::Acquire);
        (last, self.longest_micros.load(Ordering::Relaxed))
    }

    /// Returns when the last round was done, in seconds since 1970; 0 before the first one.
    pub fn last_timestamp(&self) -> f64 {
        Duration::from_micros(self.last_wall.load(Ordering::Relaxed)).as_secs_f64()
    }

    /// Returns for how long there has been no round, if that is so long that `send` stands still. A round that takes
    /// longer than the interval is not that yet.
    pub fn standstill(&self) -> Option<Duration> {
        let last = Duration::from_micros(self.last_at.load(Ordering::Relaxed));
        self.is_still_after(self.began.elapsed().saturating_sub(last))
    }

    fn is_still_after(&self, quiet: Duration) -> Option<Duration> {
        let most = self.interval.saturating_mul(STILL_INTERVALS).saturating_add(STILL_MORE);
        Some(quiet).filter(|quiet| *quiet > most)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_stands_still_after_three_intervals_and_a_second() {
        for (interval, quiet, is_still) in
            [(1000, 4000, false), (1000, 4001, true), (10, 1030, false), (10, 1031, true), (0, 1001, true)]
        {
            let rounds = RoundStats::new(Duration::from_millis(interval));
            let quiet = Duration::from_millis(quiet);
            assert_eq!(rounds.is_still_after(quiet), is_still.then_some(quiet), "{interval} {quiet:?}");
        }
        assert_eq!(RoundStats::new(Duration::MAX).is_still_after(Duration::MAX), None);
    }

    #[test]
    fn a_round_is_counted_in_all_numbers() {
        let rounds = RoundStats::new(Duration::from_secs(1));
        assert_eq!(rounds.last_timestamp(), 0.0);
        rounds.finished(Duration::from_millis(3), Duration::from_millis(40));
        rounds.finished(Duration::ZERO, Duration::from_millis(20));
        assert_eq!(rounds.took_micros(), (20_000, 40_000));
        assert_eq!((rounds.counts(), rounds.late(), rounds.counts()), ((2, 0), 1, (2, 1)));
        assert!(rounds.last_timestamp() > 1e9 && rounds.standstill().is_none());
    }
}
