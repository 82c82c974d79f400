//! The payload: the local time, exactly as Python's `str(datetime.now())`. Pure.

use chrono::{DateTime, TimeZone, Timelike};

/// Returns the time in 26 characters, `2026-11-22 18:14:05.561472`, or in 19 where the fraction is 0, as in Python.
pub fn payload<Tz: TimeZone>(now: &DateTime<Tz>) -> String {
    let local = now.naive_local();
    // In a leap second chrono counts on past a million; Python has none.
    match local.nanosecond() / 1000 % 1_000_000 {
        0 => local.format("%Y-%m-%d %H:%M:%S").to_string(),
        micros => format!("{}.{micros:06}", local.format("%Y-%m-%d %H:%M:%S")),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, Utc};

    use super::*;

    #[test]
    fn payloads_as_python_prints_them() {
        for (micros, expected) in [
            (1_795_371_245_561_472, "2026-11-22 18:14:05.561472"),
            (1_795_371_245_000_000, "2026-11-22 18:14:05"),
            (1_795_371_245_000_001, "2026-11-22 18:14:05.000001"),
            (1_795_371_245_100_000, "2026-11-22 18:14:05.100000"),
        ] {
            assert_eq!(payload(&Utc.timestamp_micros(micros).unwrap()), expected);
        }
        let tokyo = FixedOffset::east_opt(9 * 3600).unwrap();
        assert_eq!(payload(&tokyo.timestamp_micros(1_795_371_245_000_000).unwrap()), "2026-11-23 03:14:05");
    }
}
