//! Times on a command line: `250ms`, `1s`, `2m`, `1h`.

use std::time::Duration;

/// Units and their length in milliseconds, `ms` before `m` and `s` since the first suffix that fits counts.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

/// Parses a whole number and its unit.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    for (unit, milliseconds) in UNITS {
        if let Some(number) = text.strip_suffix(unit) {
            return match number.parse::<u32>() {
                Ok(number) if number > 0 => Ok(Duration::from_millis(u64::from(number) * milliseconds)),
                _ => Err(format!("`{number}` is not a whole number above 0")),
            };
        }
    }
    Err("a time needs a unit: 250ms, 1s, 2m, 1h".into())
}

/// Writes a time as [`parse_interval`] reads it.
pub fn show_interval(interval: Duration) -> String {
    let milliseconds = interval.as_millis() as u64;
    let (unit, length) =
        UNITS.into_iter().rev().find(|(_, length)| milliseconds.is_multiple_of(*length)).unwrap_or(UNITS[0]);
    format!("{}{unit}", milliseconds / length)
}

#[cfg(test)]
mod tests {
    use super::{parse_interval, show_interval};

    #[test]
    fn intervals_are_read_and_written() {
        for (text, milliseconds) in [("250ms", 250), ("1s", 1000), ("90s", 90_000), ("1h", 3_600_000)] {
            let interval = parse_interval(text).unwrap();
            assert_eq!(interval.as_millis(), milliseconds, "{text}");
            assert_eq!(show_interval(interval), text);
        }
        for wrong in ["", "1", "s", "0s", "-1s", "1.5s", "1d"] {
            assert!(parse_interval(wrong).is_err(), "{wrong}");
        }
    }
}
