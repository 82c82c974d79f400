//! The payload: the local time, in the form of Python's `str(datetime.now())`.

use chrono::{Local, NaiveDateTime, Timelike};

/// Characters of a payload with a fraction of a second.
pub const LENGTH: usize = 26;
/// Characters of a payload whose microsecond is 0.
pub const LENGTH_WITHOUT_FRACTION: usize = 19;

/// The payload of a push that happens now, padded with spaces to `pad` bytes.
pub fn payload(pad: usize) -> String {
    let mut text = show(Local::now().naive_local());
    if text.len() < pad {
        text.extend(std::iter::repeat_n(' ', pad - text.len()));
    }
    text
}

/// A time as Python shows it: no fraction when the microsecond is 0.
fn show(time: NaiveDateTime) -> String {
    let fraction = if time.nanosecond() / 1000 == 0 { "" } else { "%.6f" };
    time.format(&format!("%Y-%m-%d %H:%M:%S{fraction}")).to_string()
}

/// The time that a payload carries, or None if it carries none.
pub fn parse(payload: &[u8]) -> Option<NaiveDateTime> {
    let text = std::str::from_utf8(stamp(payload)).ok()?;
    NaiveDateTime::parse_from_str(text.trim_end(), "%Y-%m-%d %H:%M:%S%.f").ok()
}

/// The part of a payload that tells its round from the others: all but the padding.
pub fn stamp(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(LENGTH)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_pythons_form() {
        for (text, length) in [
            ("2026-11-22 18:14:05.561472", LENGTH),
            ("2026-11-22 18:14:05.000001", LENGTH),
            ("2026-11-22 18:14:05", LENGTH_WITHOUT_FRACTION),
        ] {
            let time = parse(text.as_bytes()).unwrap();
            assert_eq!(show(time), text);
            assert_eq!(text.len(), length);
        }
    }

    #[test]
    fn padding_hides_nothing() {
        let padded = payload(100);
        assert_eq!(padded.len(), 100);
        assert!(parse(padded.as_bytes()).is_some());
        assert!(parse(b"tick 17").is_none());
    }
}
