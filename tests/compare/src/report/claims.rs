//! What the figures mean, in sentences that are filled in from them. Where threads lose, that is what
//! is said first.

use crate::experiment::Experiment;
use crate::experiment::Kind;
use crate::figures;
use crate::manifest::Model;
use crate::report::numbers::number;
use crate::report::numbers::thousands;
use crate::results::Results;

/// The variant that all others are set against.
pub const SUBJECT: &str = "threadcast";
/// Ratio between two medians up to which neither is better.
const DRAW: f64 = 1.05;

/// Something that can be won or lost.
pub struct Claim {
    /// What is compared.
    pub what: &'static str,
    /// The kind of experiment that tells.
    pub kind: Kind,
    /// The smallest size that was measured tells, rather than the largest.
    pub smallest: bool,
    /// The figure that tells.
    pub figure: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Whether more of it is better.
    pub more_is_better: bool,
    /// What there are so many of.
    pub of: &'static str,
}

/// How a claim turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Threads lose.
    Lost,
    /// Neither is better.
    Draw,
    /// Threads win.
    Won,
}

/// Memory of the server for each client.
pub const MEMORY: Claim = Claim {
    what: "memory for each client",
    kind: Kind::Push,
    smallest: false,
    figure: figures::MEMORY_KIB,
    unit: "KiB",
    more_is_better: false,
    of: "clients",
};
/// Echoes a second on many connections.
pub const ECHO_RATE: Claim = Claim {
    what: "echoes a second",
    kind: Kind::Echo,
    smallest: false,
    figure: figures::RATE,
    unit: "a second",
    more_is_better: true,
    of: "connections",
};
/// The time of a single echo.
pub const ECHO_TIME: Claim = Claim {
    what: "the time of an echo",
    kind: Kind::Echo,
    smallest: true,
    figure: figures::P50_US,
    unit: "µs",
    more_is_better: false,
    of: "connections",
};
/// CPU of the server for a round of pushes.
pub const CPU: Claim = Claim {
    what: "CPU for a round of pushes",
    kind: Kind::Push,
    smallest: false,
    figure: figures::CPU_MS,
    unit: "ms",
    more_is_better: false,
    of: "clients",
};
/// Time from the first client of a round to the last.
pub const SPREAD: Claim = Claim {
    what: "the time from the first client to the last",
    kind: Kind::Push,
    smallest: false,
    figure: figures::SPREAD_MS,
    unit: "ms",
    more_is_better: false,
    of: "clients",
};
/// What others notice of a handler that sleeps.
pub const BLOCKED: Claim = Claim {
    what: "what others notice of a handler that sleeps",
    kind: Kind::Blocked,
    smallest: false,
    figure: figures::SLEEP_GAP_MS,
    unit: "ms",
    more_is_better: false,
    of: "other clients",
};

impl Claim {
    /// The verdict, and the sentence that gives its figures. None if the subject was not measured, or
    /// nothing to set it against.
    pub fn judge(&self, results: &Results) -> Option<(Verdict, String)> {
        let experiment = self.experiment(results)?;
        let own = results.median(SUBJECT, experiment, self.figure)?;
        let (rival, other) = self.best_loop(results, experiment)?;
        // Above 1 where the subject is better.
        let lead = if self.more_is_better { own / other } else { other / own };
        let verdict = match lead {
            lead if lead < 1.0 / DRAW => Verdict::Lost,
            lead if lead <= DRAW => Verdict::Draw,
            _ => Verdict::Won,
        };
        let opening = match verdict {
            Verdict::Lost => format!("**Threads lose on {}**", self.what),
            Verdict::Draw => format!("A draw on {}", self.what),
            Verdict::Won => format!("Threads win on {}", self.what),
        };
        let sentence = format!(
            "{opening}: with {} {}, {SUBJECT} {} {unit}, the best event loop ({rival}) {} {unit}, a factor of {}.",
            thousands(experiment.size as i64),
            self.of.strip_suffix('s').filter(|_| experiment.size == 1).unwrap_or(self.of),
            number(own),
            number(other),
            number(lead.max(1.0 / lead)),
            unit = self.unit,
        );
        Some((verdict, sentence))
    }

    /// The size that tells: of those where both sides have a figure, the largest or the smallest.
    pub fn experiment(&self, results: &Results) -> Option<Experiment> {
        let mut sizes = results.sizes(self.kind).into_iter().map(|size| Experiment::new(self.kind, size));
        let complete = |experiment: &Experiment| {
            let own = results.median(SUBJECT, *experiment, self.figure);
            own.is_some() && self.best_loop(results, *experiment).is_some()
        };
        if self.smallest { sizes.find(complete) } else { sizes.rfind(complete) }
    }

    fn best_loop(&self, results: &Results, experiment: Experiment) -> Option<(String, f64)> {
        let loops = results.variants.iter().filter(|entry| entry.kind == Model::Loop);
        let figures = loops.filter_map(|entry| {
            let value = results.median(&entry.name, experiment, self.figure)?;
            Some((entry.name.clone(), value))
        });
        let order = |one: &(String, f64), other: &(String, f64)| one.1.total_cmp(&other.1);
        if self.more_is_better { figures.max_by(order) } else { figures.min_by(order) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Results in which each variant took so much memory for each of 1,000 clients.
    fn results(memory: &[(&str, &str, f64)]) -> Results {
        let variants: Vec<_> = memory
            .iter()
            .map(|(name, kind, _)| serde_json::json!({"name": name, "kind": kind, "version": ""}))
            .collect();
        let samples: Vec<_> = memory
            .iter()
            .map(|(name, _, value)| {
                let figures = serde_json::json!({ figures::MEMORY_KIB: value });
                serde_json::json!({
                    "variant": name, "kind": "push", "size": 1000, "round": 1, "figures": figures
                })
            })
            .collect();
        let machine = crate::machine::Machine::default();
        let results = serde_json::json!({
            "date": "", "command": "", "machine": machine, "times": crate::experiment::Times::FULL,
            "rounds": 1, "variants": variants, "samples": samples
        });
        serde_json::from_value(results).unwrap()
    }

    #[test]
    fn a_claim_is_judged_against_the_best_event_loop() {
        for (own, other, verdict, opening) in [
            (40.0, 4.0, Verdict::Lost, "**Threads lose on memory"),
            (10.4, 10.0, Verdict::Draw, "A draw on memory"),
            (2.0, 4.0, Verdict::Won, "Threads win on memory"),
        ] {
            let results = results(&[
                (SUBJECT, "threads", own),
                ("others", "threads", 1.0),
                ("worse", "loop", other * 2.0),
                ("best", "loop", other),
            ]);
            let (judged, sentence) = MEMORY.judge(&results).unwrap();
            assert_eq!(judged, verdict, "{own} against {other}");
            assert!(sentence.starts_with(opening), "{sentence}");
            assert!(sentence.contains("1,000 clients") && sentence.contains("(best)"));
        }
        assert!(MEMORY.judge(&results(&[("best", "loop", 1.0)])).is_none());
    }
}
