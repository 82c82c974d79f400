//! [`ReceivedLines`]: how many of a client's messages have a line of the log. Owned by its handler. Pure.

use std::time::{Duration, Instant};

/// Most messages of a client that have a line within [`WINDOW`].
const MOST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Default)]
pub struct ReceivedLines {
    /// When the first of these messages came.
    since: Option<Instant>,
    lines: u32,
    /// Messages since then that have none.
    more: u64,
}

impl ReceivedLines {
    /// Counts a message. Returns whether it has a line, and how many before it had none, if that is to be said now.
    pub fn count(&mut self, now: Instant) -> (bool, Option<u64>) {
        let mut more = None;
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            more = self.rest();
            *self = ReceivedLines { since: Some(now), ..ReceivedLines::default() };
        }
        let has_line = self.lines < MOST;
        if has_line {
            self.lines += 1;
        } else {
            self.more += 1;
        }
        (has_line, more)
    }

    /// Returns how many messages had no line, if that was not said yet.
    pub fn rest(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.more)).filter(|more| *more > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_messages_a_second_have_a_line_and_the_rest_is_counted() {
        let (mut lines, begun) = (ReceivedLines::default(), Instant::now());
        for (millis, messages, shown, told) in [
            (0, 5, 5, None),
            (500, 15, 15, None),
            (999, 100, 0, None),
            (1000, 25, 20, Some(100)),
            (2500, 1, 1, Some(5)),
            (9000, 20, 20, None),
        ] {
            let now = begun + Duration::from_millis(millis);
            let counted: Vec<_> = (0..messages).map(|_| lines.count(now)).collect();
            assert_eq!(counted.iter().filter(|(has_line, _)| *has_line).count(), shown, "{millis}");
            assert_eq!(counted.iter().find_map(|(_, more)| *more), told, "{millis}");
        }
        assert_eq!(lines.rest(), None);
        lines.count(begun + Duration::from_secs(9));
        assert_eq!((lines.rest(), lines.rest()), (Some(1), None));
    }
}
