//! Whether two runs agree: the ratios of threadcast to the floor and to the event loops, side by side.
//!
//! Compared are the figures that can be won or lost ([`CLAIMS`]). Each is a mean or a median of many pushes,
//! echoes or clients, or a limit. Percentiles above the median and longest gaps are left out: a turn has a
//! handful of values up there, which depend on the machine's other work at that moment. The gap while a
//! handler sleeps stays, since it is the sleep that makes it.
//!
//! A ratio is that of [`Results::ratio`], which the report shows too. Noise that slows a round down slows both of its
//! sides, and so leaves their ratio alone. Two ratios agree where their scatter meets, or where they are within
//! 5 % of each other: a round is a handful of values, and the scatter of three rounds can be next to nothing.
//!
//! `threadcast-handoff` is left out, which is threadcast itself.

use std::collections::BTreeSet;

use crate::experiment::Experiment;
use crate::figures;
use crate::manifest::Model;
use crate::report::numbers::{number, ratio_with_scatter};
use crate::report::verdicts::{CLAIMS, SUBJECT};
use crate::results::Results;
use crate::stats::Ratio;

/// Difference between two ratios that counts as agreement, with any scatter.
const TOLERANCE: f64 = 0.05;
/// The cost of the kernel alone, set beside threadcast like the event loops are.
const FLOOR: &str = "floor";
/// Memory of all clients together below which a ratio means nothing, in KiB: it depends on how many
/// handshakes happened to be under way at the same time, and the floor keeps none.
const LEAST_MEMORY: f64 = 2048.0;

/// A ratio in one run.
enum Found {
    /// A side of it was not measured, or failed in every round in which the other did not.
    Missing,
    /// The figures are too small for one.
    Small,
    /// The ratio.
    Ratio(Ratio),
}

/// A line for each ratio, and how many of them are apart or in one run only.
pub fn compare(first: &Results, second: &Results) -> (Vec<String>, usize) {
    let (mut lines, mut apart) = (Vec::new(), 0);
    for (kind, figure) in CLAIMS {
        let sizes: BTreeSet<_> = [first, second].into_iter().flat_map(|run| run.sizes(kind)).collect();
        for size in figures::telling_sizes(figure, sizes.into_iter().collect()) {
            let experiment = Experiment::new(kind, size);
            for other in others(first, second) {
                let ratios = [first, second].map(|run| ratio(run, experiment, figure, other));
                let (agree, line) = match ratios {
                    [Found::Small, _] | [_, Found::Small] | [Found::Missing, Found::Missing] => continue,
                    [Found::Ratio(one), Found::Ratio(two)] => verdict(one, two),
                    [Found::Ratio(one), Found::Missing] | [Found::Missing, Found::Ratio(one)] => {
                        (false, format!("{} in one run only: APART", number(one.mean)))
                    }
                };
                apart += usize::from(!agree);
                lines.push(format!("{experiment} {figure}, {SUBJECT} / {other}: {line}"));
            }
        }
    }
    (lines, apart)
}

/// Whether two ratios agree, and how far they are from each other.
fn verdict(one: Ratio, two: Ratio) -> (bool, String) {
    let difference = (two.mean / one.mean - 1.0).abs();
    let agree = difference <= TOLERANCE || (one.low <= two.high && two.low <= one.high);
    let verdict = if agree { "agree" } else { "APART" };
    let (one, two) = (ratio_with_scatter(one), ratio_with_scatter(two));
    (agree, format!("{one} and {two}, {:.0} %: {verdict}", difference * 100.0))
}

/// The variants that threadcast is set against, in either run.
fn others<'a>(first: &'a Results, second: &'a Results) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for entry in first.variants.iter().chain(&second.variants) {
        let wanted = entry.kind != Model::Threads || entry.name == FLOOR;
        if wanted && !names.contains(&entry.name.as_str()) {
            names.push(&entry.name);
        }
    }
    names
}

/// The ratio of a figure of threadcast to that of another variant.
fn ratio(results: &Results, experiment: Experiment, figure: &str, other: &str) -> Found {
    let least = match figure {
        figures::MEMORY_KIB => LEAST_MEMORY / experiment.size as f64,
        _ => 0.0,
    };
    let medians = [SUBJECT, other].map(|name| results.median(name, experiment, figure));
    let [Some(own), Some(its)] = medians else {
        return Found::Missing;
    };
    if own < least || its < least || its <= 0.0 {
        return Found::Small;
    }
    results.ratio(SUBJECT, other, experiment, figure).map_or(Found::Missing, Found::Ratio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Kind;
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
            spells: 0,
            variants: serde_json::from_value(variants.into()).unwrap(),
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
    fn rounds_are_compared_before_the_mean_is_taken() {
        let mut run = results(figures::CPU_MS, &[(SUBJECT, "threads", 10.0), (FLOOR, "threads", 8.0)]);
        // A slow round for both sides, and one for the first side only: ratios of 1.25, 1.25 and 4.
        for (round, own, floor) in [(2, 40.0, 32.0), (3, 40.0, 10.0)] {
            for (variant, value) in [(SUBJECT, own), (FLOOR, floor)] {
                let mut sample = run.samples[0].clone();
                (sample.variant, sample.round) = (variant.into(), round);
                sample.figures = [(figures::CPU_MS.to_owned(), value)].into();
                run.samples.push(sample);
            }
        }
        run.rounds = 3;
        let (lines, _) = compare(&run, &run);
        assert!(
            lines[0].contains("/ floor: 1.25 (1.25 to 4) and 1.25 (1.25 to 4), 0 %: agree"),
            "{}",
            lines[0]
        );
    }

    #[test]
    fn what_one_run_lacks_is_apart() {
        let both = results(figures::CPU_MS, &[(SUBJECT, "threads", 10.0), ("tokio", "loop", 8.0)]);
        let alone = results(figures::CPU_MS, &[(SUBJECT, "threads", 10.0)]);
        let mut larger = both.clone();
        for sample in &mut larger.samples {
            sample.experiment.size = 5000;
        }
        for (first, second, lines, apart) in
            [(&both, &alone, 1, 1), (&alone, &both, 1, 1), (&alone, &alone, 0, 0), (&both, &larger, 2, 2)]
        {
            let (found, count) = compare(first, second);
            assert_eq!((found.len(), count), (lines, apart), "{found:#?}");
            assert!(found.iter().all(|line| line.ends_with("1.25 in one run only: APART")), "{found:#?}");
        }
    }

    #[test]
    fn what_is_next_to_nothing_has_no_ratio() {
        for (figure, own, floor, count) in [
            (figures::MEMORY_KIB, 35.0, 2.0, 0),
            (figures::MEMORY_KIB, 35.0, 2.1, 1),
            (figures::CONNECT_S, 0.1, 0.06, 1),
            (figures::CPU_MS, 1.0, 0.0, 0),
        ] {
            let run = results(figure, &[(SUBJECT, "threads", own), (FLOOR, "threads", floor)]);
            assert_eq!(compare(&run, &run).0.len(), count, "{figure} {own} / {floor}");
        }
    }

    #[test]
    fn the_time_to_connect_counts_with_the_most_clients() {
        for (figure, sizes) in [(figures::CONNECT_S, vec![5000]), (figures::CPU_MS, vec![1000, 5000])] {
            let mut run = results(figure, &[(SUBJECT, "threads", 2.0), ("loop", "loop", 1.0)]);
            let mut larger = run.samples.clone();
            larger.iter_mut().for_each(|sample| sample.experiment.size = 5000);
            run.samples.extend(larger);
            let (lines, _) = compare(&run, &run);
            assert_eq!(lines.len(), sizes.len(), "{lines:#?}");
            for (line, size) in lines.iter().zip(sizes) {
                assert!(line.starts_with(&format!("push {size} ")), "{line}");
            }
        }
    }
}
