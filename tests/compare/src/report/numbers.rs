//! Numbers and sizes as people read them: three digits that matter, thousands apart.

use crate::experiment::Experiment;
use crate::results::Range;
use crate::stats::Ratio;

/// A number with as many decimals as matter.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 99.95 {
        return thousands(value.round() as i64);
    }
    let decimals = if size >= 9.995 { 1 } else { 2 };
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A median, with minimum and maximum where they differ from it.
pub fn range(range: Range) -> String {
    let (median, min, max) = (number(range.median), number(range.min), number(range.max));
    if min == max { median } else { format!("{median} ({min}–{max})") }
}

/// A ratio, with its scatter where it has some.
pub fn ratio_with_scatter(ratio: Ratio) -> String {
    let [mean, low, high] = [ratio.mean, ratio.low, ratio.high].map(number);
    if low == high { mean } else { format!("{mean} ({low} to {high})") }
}

/// A whole number, thousands apart.
pub fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An experiment with its size as people read it.
pub fn title(experiment: Experiment) -> String {
    let size = experiment.size.to_string();
    experiment.to_string().replace(&size, &thousands(experiment.size as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_matter() {
        for (value, text) in [
            (0.0, "0"),
            (0.004, "0"),
            (1.0, "1"),
            (1.256, "1.26"),
            (12.34, "12.3"),
            (99.96, "100"),
            (123.4, "123"),
            (-5.5, "-5.5"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(number(value), text, "{value}");
        }
    }
}
