//! [`Rate`]: at most N events per unit of time, and whether one more is within it. Pure: the caller has the clock.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Result};

const SECOND: Duration = Duration::from_secs(1);
/// The units of time, and how each is written.
const UNITS: [(&str, Duration); 3] =
    [("s", SECOND), ("m", Duration::from_secs(60)), ("h", Duration::from_secs(3600))];

/// The most events per unit of time, such as 20 messages a second. Allows a burst of one second's worth, or of one
/// event.
///
/// Written as a number, a slash and `s`, `m` or `h`:
///
/// ```
/// use threadcast::Rate;
///
/// assert_eq!("20/s".parse::<Rate>()?, Rate::per_second(20));
/// assert_eq!(Rate::per_minute(100).to_string(), "100/m");
/// assert!("0/s".parse::<Rate>().is_err());
/// # Ok::<(), threadcast::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    events: NonZeroU64,
    period: Duration,
}

/// The result of [`Rate::arrive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// When all events so far are paid for: the theoretical arrival time of the next one.
    pub(crate) paid_at: Duration,
    /// How long until these events are within the rate; zero if they are. A caller that accepts them early waits this
    /// long before the next ones.
    pub(crate) early: Duration,
}

impl Rate {
    /// Allows `events` a second.
    ///
    /// # Panics
    /// If `events` is 0.
    #[track_caller]
    pub const fn per_second(events: u64) -> Rate {
        Rate::per(events, SECOND)
    }

    /// Allows `events` a minute.
    ///
    /// # Panics
    /// If `events` is 0.
    #[track_caller]
    pub const fn per_minute(events: u64) -> Rate {
        Rate::per(events, Duration::from_secs(60))
    }

    /// Allows `events` an hour.
    ///
    /// # Panics
    /// If `events` is 0.
    #[track_caller]
    pub const fn per_hour(events: u64) -> Rate {
        Rate::per(events, Duration::from_secs(3600))
    }

    #[track_caller]
    const fn per(events: u64, period: Duration) -> Rate {
        Rate { events: NonZeroU64::new(events).expect("a rate is more than 0"), period }
    }

    /// Counts `events` at `now`, by the generic cell rate algorithm. Times count from any fixed moment. `paid_at` comes
    /// from the previous [`Arrival`], or is zero. A caller that rejects the events discards the result.
    pub(crate) fn arrive(self, paid_at: Duration, now: Duration, events: u64) -> Arrival {
        let paid_at = paid_at.max(now).saturating_add(self.time_of(events));
        Arrival { paid_at, early: paid_at.saturating_sub(now).saturating_sub(self.burst()) }
    }

    /// Returns the time that one second's worth takes, or one event if that is longer.
    fn burst(self) -> Duration {
        SECOND.max(self.time_of(1))
    }

    /// Returns the time that `events` take at this rate.
    fn time_of(self, events: u64) -> Duration {
        // Multiplies first: one of many events may take less than a nanosecond.
        let nanos = self.period.as_nanos().saturating_mul(events.into()) / u128::from(self.events.get());
        Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))
    }
}

impl FromStr for Rate {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`] if it is not a number from 1, a slash, and `s`, `m` or `h`.
    fn from_str(text: &str) -> Result<Rate> {
        let invalid = |how| Error::Invalid(format!("{text:?} {how}"));
        let how = "is not a rate: expected a number and /s, /m or /h, such as 20/s";
        let (events, unit) = text.split_once('/').ok_or_else(|| invalid(how))?;
        let (_, period) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(|| invalid(how))?;
        let is_number = !events.is_empty() && events.bytes().all(|digit| digit.is_ascii_digit());
        let events: u64 = events.parse().ok().filter(|_| is_number).ok_or_else(|| invalid(how))?;
        let how = "allows nothing: a rate is at least 1, such as 1/h";
        Ok(Rate { events: NonZeroU64::new(events).ok_or_else(|| invalid(how))?, period })
    }
}

/// `20/s`
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.into_iter().find(|(_, period)| *period == self.period);
        write!(f, "{}/{}", self.events, unit.map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Returns how many of `events`, one at each of these milliseconds, the rate accepts.
    fn let_in(rate: Rate, milliseconds: impl Iterator<Item = u32>) -> usize {
        let mut paid_at = Duration::ZERO;
        let mut is_let_in = |now: u32| {
            let arrival = rate.arrive(paid_at, MILLISECOND * now, 1);
            let is_within = arrival.early.is_zero();
            paid_at = if is_within { arrival.paid_at } else { paid_at };
            is_within
        };
        milliseconds.filter(|now| is_let_in(*now)).count()
    }

    #[test]
    fn one_seconds_worth_comes_at_once_and_then_the_rate_holds() {
        for (rate, at_once, in_ten_seconds) in [
            (Rate::per_second(20), 20, 20 + 10 * 20),
            (Rate::per_second(1), 1, 1 + 10),
            (Rate::per_second(2_000), 1_000, 10_001),
            (Rate::per_minute(60), 1, 1 + 10),
            (Rate::per_minute(120), 2, 2 + 20),
            (Rate::per_minute(1), 1, 1),
            (Rate::per_hour(5), 1, 1),
        ] {
            // A start time other than zero, as in a server that has been running.
            assert_eq!(let_in(rate, std::iter::repeat_n(7_000_000, 1_000)), at_once, "{rate}");
            assert_eq!(let_in(rate, 7_000_000..=7_010_000), in_ten_seconds, "{rate}");
        }
    }

    #[test]
    fn an_early_event_says_by_how_much() {
        let (rate, now) = (Rate::per_second(10), Duration::from_secs(100));
        let first = rate.arrive(Duration::ZERO, now, 10);
        assert_eq!(first, Arrival { paid_at: now + SECOND, early: Duration::ZERO });
        let second = rate.arrive(first.paid_at, now, 5);
        assert_eq!(second.early, MILLISECOND * 500);
        assert!(rate.arrive(first.paid_at, now + second.early, 5).early.is_zero());
    }

    #[test]
    fn no_number_of_events_is_too_large() {
        let gigabyte = Rate::per_second(1 << 30);
        assert_eq!(gigabyte.arrive(Duration::ZERO, SECOND, 3 << 30).early, 2 * SECOND);
        let (slow, now) = (Rate::per_hour(1), Duration::from_secs(1 << 40));
        let arrival = slow.arrive(Duration::MAX, now, u64::MAX);
        assert_eq!(arrival.paid_at, Duration::MAX);
        assert!(Rate::per_second(u64::MAX).arrive(Duration::ZERO, now, 1 << 60).early.is_zero());
    }

    #[test]
    fn a_rate_is_read_as_it_is_shown() {
        for (text, rate) in [
            ("20/s", Some(Rate::per_second(20))),
            ("100/m", Some(Rate::per_minute(100))),
            ("5/h", Some(Rate::per_hour(5))),
            ("18446744073709551615/s", Some(Rate::per_second(u64::MAX))),
            ("18446744073709551616/s", None),
            ("0/s", None),
            ("00/h", None),
            ("", None),
            ("/s", None),
            ("20", None),
            ("20/", None),
            ("20/d", None),
            ("20/S", None),
            ("+20/s", None),
            ("-1/s", None),
            ("1.5/s", None),
            (" 1/s", None),
            ("1/s ", None),
            ("1/s/s", None),
        ] {
            let read = text.parse::<Rate>();
            assert_eq!(read.as_ref().ok(), rate.as_ref(), "{text:?}");
            match read {
                Ok(rate) => assert_eq!(rate.to_string(), text),
                Err(error) => assert!(error.to_string().starts_with(&format!("{text:?} ")), "{error}"),
            }
        }
        let zero = "0/s".parse::<Rate>().unwrap_err().to_string();
        assert_eq!(zero, "\"0/s\" allows nothing: a rate is at least 1, such as 1/h");
    }

    #[test]
    #[should_panic(expected = "a rate is more than 0")]
    fn no_rate_is_zero() {
        let _ = Rate::per_second(0);
    }
}
