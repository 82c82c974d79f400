//! Parses a push: its time identifies its round.

use chrono::NaiveDateTime;

/// The longest time, `2026-11-22 18:14:05.561472`; padding follows.
const LENGTH: usize = 26;

/// Returns the part of a payload that identifies its round: all but the padding.
pub fn stamp(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(LENGTH)]
}

/// Returns the time in a payload, or None.
pub fn parse(payload: &[u8]) -> Option<NaiveDateTime> {
    let text = std::str::from_utf8(stamp(payload)).ok()?;
    NaiveDateTime::parse_from_str(text.trim_end(), "%Y-%m-%d %H:%M:%S%.f").ok()
}

#[cfg(test)]
mod tests {
    use chrono::{Local, TimeZone};

    use super::*;
    use crate::program::time::payload;

    #[test]
    fn what_the_program_pushes_is_read_padded_or_not() {
        for micros in [1_795_371_245_561_472, 1_795_371_245_000_001, 1_795_371_245_000_000] {
            let time = Local.timestamp_micros(micros).unwrap();
            let text = payload(&time);
            for pad in [0, 100] {
                let padded = format!("{text:pad$}");
                assert_eq!(parse(padded.as_bytes()), Some(time.naive_local()), "{padded}");
                assert_eq!(stamp(padded.as_bytes()).trim_ascii_end(), text.as_bytes());
            }
        }
        assert!(parse(b"tick 17").is_none());
    }
}
