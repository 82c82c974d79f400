//! [`LogLimiter`]: at most one log line a minute for trouble that repeats. Owned by the thread that logs.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// One log line for each kind of trouble per interval.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// When each kind of trouble was last logged, and how often it has occurred.
#[derive(Default)]
pub(crate) struct LogLimiter(HashMap<(&'static str, String), (Instant, u64)>);

impl LogLimiter {
    /// Logs that `what` failed with `error`, unless it logged that within the last minute.
    pub(crate) fn warn(&mut self, what: &'static str, error: &dyn Display) {
        if let Some(count) = self.due(what, error, Instant::now()) {
            log::warn!("{what}: {error} ({count} so far)");
        }
    }

    /// Logs it for one of many, and names that one as an example.
    pub(crate) fn warn_of(&mut self, what: &'static str, error: &dyn Display, example: &dyn Display) {
        if let Some(count) = self.due(what, error, Instant::now()) {
            log::warn!("{what}, such as {example}: {error} ({count} so far)");
        }
    }

    /// Counts it, and returns how often it has occurred if a line is due.
    fn due(&mut self, what: &'static str, error: &dyn Display, now: Instant) -> Option<u64> {
        let (since, count) = self.0.entry((what, error.to_string())).or_insert((now, 0));
        *count += 1;
        let due = *count == 1 || now - *since >= LOG_EVERY;
        if due {
            *since = now;
        }
        due.then_some(*count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};

    use super::*;

    #[test]
    fn each_kind_of_trouble_is_logged_once_a_minute() {
        let (mut limiter, begun) = (LogLimiter::default(), Instant::now());
        let [full, aborted] = [ErrorKind::OutOfMemory, ErrorKind::NotConnected].map(io::Error::from);
        for (seconds, error, due) in [
            (0, &full, Some(1)),
            (1, &full, None),
            (2, &aborted, Some(1)),
            (59, &full, None),
            (60, &full, Some(4)),
            (61, &aborted, None),
            (119, &full, None),
            (120, &full, Some(6)),
        ] {
            let now = begun + Duration::from_secs(seconds);
            assert_eq!(limiter.due("cannot accept", error, now), due, "after {seconds} s");
        }
    }
}
