//! Whether two runs agree: the ratios of threadcast to the floor and to tokio, side by side.

use crate::experiment::Experiment;
use crate::experiment::Kind;
use crate::figures;
use crate::report::claims::SUBJECT;
use crate::report::numbers::number;
use crate::results::Results;

/// Difference between two ratios that is still agreement.
const TOLERANCE: f64 = 0.15;
/// Whom threadcast is set against.
const OTHERS: [&str; 4] = ["floor", "tokio-1", "tokio-2", "tokio-direct"];
/// The figures whose ratios must not depend on the day.
const FIGURES: [(Kind, &str); 4] = [
    (Kind::Push, figures::CPU_MS),
    (Kind::Push, figures::SPREAD_MS),
    (Kind::Push, figures::MEMORY_KIB),
    (Kind::Echo, figures::RATE),
];
/// Memory of a client below which a ratio means nothing, in KiB: the floor keeps none.
const LEAST_MEMORY: f64 = 1.0;

/// A line for each ratio that both runs have, and how many of them differ by more than 15 %.
pub fn compare(first: &Results, second: &Results) -> (Vec<String>, usize) {
    let (mut lines, mut apart) = (Vec::new(), 0);
    for (kind, figure) in FIGURES {
        for size in first.sizes(kind) {
            let experiment = Experiment::new(kind, size);
            for other in OTHERS {
                let ratios =
                    (ratio(first, experiment, figure, other), ratio(second, experiment, figure, other));
                let (Some(one), Some(two)) = ratios else {
                    continue;
                };
                let difference = (two / one - 1.0).abs();
                let verdict = if difference > TOLERANCE { "APART" } else { "agree" };
                apart += usize::from(difference > TOLERANCE);
                lines.push(format!(
                    "{experiment} {figure}, {SUBJECT} / {other}: {} and {}, {:.0} %: {verdict}",
                    number(one),
                    number(two),
                    difference * 100.0
                ));
            }
        }
    }
    (lines, apart)
}

fn ratio(results: &Results, experiment: Experiment, figure: &str, other: &str) -> Option<f64> {
    let other = results.median(other, experiment, figure)?;
    if figure == figures::MEMORY_KIB && other < LEAST_MEMORY {
        return None;
    }
    Some(results.median(SUBJECT, experiment, figure)? / other)
}
