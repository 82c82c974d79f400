//! Times on a command line: `250ms`, `1s`, `2m`, `1h`. Pure.

use std::time::Duration;

/// The longest time: a year.
const LONGEST_MS: u64 = 8760 * 3_600_000;

/// Returns the time that a whole number with its unit stands for.
///
/// # Errors
/// The text is not a time; the error describes the expected form.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    from(1, "1ms", text)
}

/// Returns a time that may be zero, `0s`.
///
/// # Errors
/// As [`parse`].
pub fn parse_wait(text: &str) -> Result<Duration, String> {
    from(0, "0s", text)
}

fn from(least_ms: u64, shown: &str, text: &str) -> Result<Duration, String> {
    let how = || "expected a whole number with ms, s, m or h, such as 250ms or 1s".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0).ok_or_else(how)?;
    // A number with too many digits is too long a time, whatever its unit.
    let number: u64 = text[..digits].parse().unwrap_or(u64::MAX);
    let millis: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(how()),
    };
    let millis = number.checked_mul(millis).filter(|millis| (least_ms..=LONGEST_MS).contains(millis));
    millis.map(Duration::from_millis).ok_or_else(|| format!("expected a time from {shown} to a year (8760h)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_end_at_a_year() {
        for (text, millis) in
            [("250ms", 250), ("1s", 1000), ("90s", 90_000), ("2m", 120_000), ("8760h", LONGEST_MS)]
        {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "1", "s", "0s", "1.5s", "-1s", "1 s", "9999999999999999999s", "8761h", "99999h", "1d"]
        {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert_eq!(parse_wait("0s"), Ok(Duration::ZERO));
        assert!(parse_wait("0").is_err() && parse_wait("8761h").is_err());
    }
}
