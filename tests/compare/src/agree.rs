//! Whether two runs agree: the ratios of threadcast to the floor and to the event loops, side by side.

use crate::experiment::Experiment;
use crate::experiment::Kind;
use crate::figures;
use crate::manifest::Model;
use crate::report::claims::SUBJECT;
use crate::report::numbers::number;
use crate::results::Results;

/// Difference between two ratios that is still agreement.
const TOLERANCE: f64 = 0.15;
/// What the kernel alone charges: set beside threadcast like the event loops are.
const FLOOR: &str = "floor";
/// The figures whose ratios must not depend on the day: all that the README's claims rest on, and the
/// time to connect. Each is a mean or a median of many pushes, echoes or clients, or a limit. Percentiles
/// above the median and longest gaps are left out: a turn has a handful of values up there, and which
/// ones is up to whatever else ran at that moment. The gap while a handler sleeps stays, since it is the
/// sleep that makes it. The time of an echo counts where there is one connection: with more of them it is
/// the rate once more, or tells whom an unfair server prefers.
const FIGURES: [(Kind, &str); 8] = [
    (Kind::Push, figures::CPU_MS),
    (Kind::Push, figures::SPREAD_MS),
    (Kind::Push, figures::MEMORY_KIB),
    (Kind::Push, figures::CONNECT_S),
    (Kind::Echo, figures::RATE),
    (Kind::Echo, figures::P50_US),
    (Kind::Blocked, figures::SLEEP_GAP_MS),
    (Kind::Hold, figures::HELD),
];
/// Memory of a client below which a ratio means nothing, in KiB: the floor keeps none.
const LEAST_MEMORY: f64 = 1.0;
/// The same for the time to connect, in seconds: a hundred clients are there before the clock has ticked.
const LEAST_CONNECT: f64 = 0.05;

/// A line for each ratio that both runs have, and how many of them differ by more than 15 %.
pub fn compare(first: &Results, second: &Results) -> (Vec<String>, usize) {
    let (mut lines, mut apart) = (Vec::new(), 0);
    for (kind, figure) in FIGURES {
        let sizes = first.sizes(kind);
        let count = if figure == figures::P50_US { 1 } else { sizes.len() };
        for size in sizes.into_iter().take(count) {
            let experiment = Experiment::new(kind, size);
            for other in others(first) {
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

/// Whom the README sets threadcast against.
fn others(results: &Results) -> impl Iterator<Item = &str> {
    let others = results.variants.iter().filter(|entry| entry.kind == Model::Loop || entry.name == FLOOR);
    others.map(|entry| entry.name.as_str())
}

/// The ratio of two medians. None where the figures are too small for one.
fn ratio(results: &Results, experiment: Experiment, figure: &str, other: &str) -> Option<f64> {
    let least = match figure {
        figures::MEMORY_KIB => LEAST_MEMORY,
        figures::CONNECT_S => LEAST_CONNECT,
        _ => 0.0,
    };
    let own = results.median(SUBJECT, experiment, figure)?;
    let other = results.median(other, experiment, figure)?;
    (own >= least && other >= least && other > 0.0).then(|| own / other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Sample;

    /// Results of pushes to 1,000 clients: a figure of each variant.
    fn results(figure: &str, values: &[(&str, &str, f64)]) -> Results {
        let variants: Vec<_> = values
            .iter()
            .map(|(name, kind, _)| serde_json::json!({"name": name, "kind": kind, "version": ""}))
            .collect();
        let samples = values.iter().map(|(name, _, value)| Sample {
            variant: (*name).into(),
            experiment: Experiment::new(Kind::Push, 1000),
            round: 1,
            figures: [(figure.to_owned(), *value)].into(),
            failed: None,
        });
        Results {
            date: String::new(),
            command: String::new(),
            machine: crate::machine::Machine::default(),
            times: crate::experiment::Times::FULL,
            rounds: 1,
            variants: serde_json::from_value(variants.into()).unwrap(),
            summary: Vec::new(),
            samples: samples.collect(),
        }
    }

    #[test]
    fn it_is_the_ratios_that_agree_or_not() {
        let run = |own, floor, tokio| {
            let values = [
                (SUBJECT, "threads", own),
                (FLOOR, "threads", floor),
                ("handoff", "threads", 1.0),
                ("tokio", "loop", tokio),
            ];
            results(figures::CPU_MS, &values)
        };
        // Everything twice as slow is the same ratio; only the floor is not.
        let (lines, apart) = compare(&run(10.0, 8.0, 11.0), &run(20.0, 12.0, 22.0));
        assert_eq!((lines.len(), apart), (2, 1), "{lines:#?}");
        assert!(lines[0].contains("/ floor: 1.25 and 1.67, 33 %: APART"), "{}", lines[0]);
        assert!(lines[1].contains("/ tokio: 0.91 and 0.91, 0 %: agree"), "{}", lines[1]);
    }

    #[test]
    fn what_is_next_to_nothing_has_no_ratio() {
        for (figure, own, floor, count) in [
            (figures::MEMORY_KIB, 35.0, 0.1, 0),
            (figures::MEMORY_KIB, 35.0, 4.0, 1),
            (figures::CONNECT_S, 0.01, 0.01, 0),
            (figures::CONNECT_S, 0.1, 0.06, 1),
            (figures::CPU_MS, 1.0, 0.0, 0),
        ] {
            let run = results(figure, &[(SUBJECT, "threads", own), (FLOOR, "threads", floor)]);
            assert_eq!(compare(&run, &run).0.len(), count, "{figure} {own} / {floor}");
        }
    }
}
