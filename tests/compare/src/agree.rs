//! Two runs side by side: each ratio of threadcast to another variant, with its scatter over the rounds. Noise that
//! slows a round down slows both of its sides, and so leaves their ratio alone.

use crate::experiment::Experiment;
use crate::figures;
use crate::report::numbers::ratio_with_scatter;
use crate::report::verdicts::{CLAIMS, SUBJECT};
use crate::results::Results;
use crate::stats::Ratio;

/// Returns a line for each ratio that both runs have, of the figures that can be won or lost.
pub fn compare(first: &Results, second: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for (kind, figure) in CLAIMS {
        for size in figures::telling_sizes(figure, first.sizes(kind)) {
            let experiment = Experiment::new(kind, size);
            for other in first.variants.iter().map(|entry| &entry.name).filter(|name| *name != SUBJECT) {
                let ratio = |run: &Results| run.ratio(SUBJECT, other, experiment, figure);
                if let (Some(one), Some(two)) = (ratio(first), ratio(second)) {
                    lines.push(format!("{experiment} {figure}, {SUBJECT} / {other}: {}", both(one, two)));
                }
            }
        }
    }
    lines
}

/// Returns both ratios, and whether they are apart: their scatter does not meet.
fn both(one: Ratio, two: Ratio) -> String {
    let apart = if one.low <= two.high && two.low <= one.high { "" } else { ", apart" };
    format!("{} and {}{apart}", ratio_with_scatter(one), ratio_with_scatter(two))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::results;

    #[test]
    fn ratios_are_apart_where_their_scatter_does_not_meet() {
        let run = |own: [f64; 2], floor: f64| {
            let of = |value| [(figures::CPU_MS, value)];
            let (first, second, floor) = (of(own[0]), of(own[1]), of(floor));
            results(&[
                (SUBJECT, "push", 1000, &first[..]),
                (SUBJECT, "push", 1000, &second),
                ("floor", "push", 1000, &floor),
                ("floor", "push", 1000, &floor),
            ])
        };
        let (slow, slower) = (run([10.0, 12.0], 8.0), run([24.0, 26.0], 16.0));
        let ratio = "push 1000 cpu_ms, threadcast / floor:";
        let one = "1.37 (1.25 to 1.5)";
        assert_eq!(compare(&slow, &slower), [format!("{ratio} {one} and 1.56 (1.5 to 1.62)")]);
        let floor = run([8.0, 8.0], 8.0);
        assert_eq!(compare(&slow, &floor), [format!("{ratio} {one} and 1, apart")]);
        let alone = results(&[("floor", "push", 1000, &[(figures::CPU_MS, 8.0)])]);
        assert_eq!(compare(&slow, &alone), [""; 0]);
    }
}
