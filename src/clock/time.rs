//! The payload: the local time, exactly as Python's `str(datetime.now())`. Pure.

use std::fmt::Write;

use chrono::{DateTime, TimeZone, Timelike};

/// Values that a reading can have, a prime.
const READINGS: u64 = 99_991;

/// Returns the time in 26 characters, `2026-11-22 18:14:05.561472`, or in 19 where the fraction is 0, as in Python.
pub fn payload<Tz: TimeZone>(now: &DateTime<Tz>) -> String {
    let local = now.naive_local();
    // In a leap second chrono counts on past a million; Python has none.
    match local.nanosecond() / 1000 % 1_000_000 {
        0 => local.format("%Y-%m-%d %H:%M:%S").to_string(),
        micros => format!("{}.{micros:06}", local.format("%Y-%m-%d %H:%M:%S")),
    }
}

/// Returns the time, padded to `size` bytes with JSON that differs each time: the readings of some sensors, which
/// compress like real ones.
pub fn padded<Tz: TimeZone>(now: &DateTime<Tz>, size: usize) -> String {
    let mut text = payload(now);
    if size > text.len() {
        text = format!("{text:26}");
        let micros = u64::from(now.nanosecond() / 1000);
        for id in 1.. {
            if text.len() >= size {
                break;
            }
            let value = micros * id % READINGS * id % READINGS;
            // Writing to a String never fails.
            let _ = write!(text, "{{\"id\":{id},\"value\":{value}}}");
        }
        text.truncate(size);
    }
    text
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
        for (size, expected) in [
            (0, "2026-11-22 18:14:05"),
            (19, "2026-11-22 18:14:05"),
            (20, "2026-11-22 18:14:05 "),
            (60, "2026-11-22 18:14:05       {\"id\":1,\"value\":0}{\"id\":2,\"value\":"),
        ] {
            assert_eq!(padded(&Utc.timestamp_micros(1_795_371_245_000_000).unwrap(), size), expected);
        }
        let padded = padded(&Utc.timestamp_micros(1_795_371_245_561_472).unwrap(), 1 << 20);
        assert!(
            padded.starts_with("2026-11-22 18:14:05.561472{\"id\":1,\"value\":61517}{\"id\":2,"),
            "{padded}"
        );
        assert_eq!(padded.len(), 1 << 20);
        let tokyo = FixedOffset::east_opt(9 * 3600).unwrap();
        assert_eq!(payload(&tokyo.timestamp_micros(1_795_371_245_000_000).unwrap()), "2026-11-23 03:14:05");
    }
}
