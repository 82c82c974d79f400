//! The ratios that threadcast is held to: to the floor, to tokio, and with TLS to itself without. One line each.

use crate::experiment::{Experiment, Kind};
use crate::figures;
use crate::report::numbers::{number, thousands};
use crate::report::verdicts::SUBJECT;
use crate::results::Results;
use crate::runner::Trial;

/// The bare send loop.
const FLOOR: &str = "floor";
/// tokio-tungstenite with a channel for each client and two workers.
const TOKIO: &str = "tokio-2";
/// Both with TLS.
const WSS: &str = "threadcast-wss";
const TOKIO_WSS: &str = "tokio-2-wss";

/// The figure that one of threadcast is compared with.
enum Against {
    /// That figure of another variant.
    Variant(&'static str),
    /// Nothing: the figure itself counts.
    Nothing(&'static str),
}

/// Which side of its target a value must be on.
enum Target {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
}

/// A line of the bench.
struct Goal {
    /// The variant that has the figure.
    of: &'static str,
    what: &'static str,
    experiment: Experiment,
    figure: &'static str,
    against: Against,
    target: Target,
}

const fn goal(
    what: &'static str,
    (kind, size): (Kind, usize),
    figure: &'static str,
    against: Against,
    target: Target,
) -> Goal {
    let experiment = Experiment { kind, size };
    Goal { of: SUBJECT, what, experiment, figure, against, target }
}

impl Goal {
    /// Returns the goal with TLS.
    const fn wss(self) -> Goal {
        Goal { of: WSS, ..self }
    }
}

/// Share of a core from which on a load generator that has it to itself can do no more.
const LOAD_LIMIT: f64 = 0.9;
/// Connections that are tried where it is measured how many are held.
pub const ATTEMPTS: usize = 20_000;

static GOALS: [Goal; 24] = {
    use Against::{Nothing, Variant};
    use Target::{AtLeast, AtMost, Below};
    [
        goal("round CPU", (Kind::Push, 1000), figures::CPU_MS, Variant(FLOOR), AtMost(1.15)),
        goal("round CPU", (Kind::Push, 5000), figures::CPU_MS, Variant(FLOOR), AtMost(1.15)),
        goal("round CPU", (Kind::Push, 5000), figures::CPU_MS, Variant(TOKIO), AtMost(0.75)),
        goal(
            "round CPU after half of the clients were replaced",
            (Kind::Churn, 5000),
            figures::CPU_MS,
            Variant(FLOOR),
            AtMost(1.25),
        ),
        goal("CPU of a connect", (Kind::Push, 5000), figures::CONNECT_CPU_US, Variant(TOKIO), AtMost(2.0)),
        goal("mappings of a client", (Kind::Push, 5000), figures::MAPPINGS, Nothing("mappings"), AtMost(2.1)),
        goal("spread", (Kind::Push, 5000), figures::SPREAD_MS, Variant(TOKIO), AtMost(1.0)),
        goal("spread", (Kind::Push, 15_000), figures::SPREAD_MS, Variant(TOKIO), AtMost(1.0)),
        goal(
            "resident memory of a client",
            (Kind::Push, 5000),
            figures::RESIDENT_KIB,
            Nothing("KiB"),
            AtMost(12.0),
        ),
        goal("clients held", (Kind::Hold, ATTEMPTS), figures::HELD, Nothing("clients"), AtLeast(19_800.0)),
        goal(
            "late ticks of those held",
            (Kind::Hold, ATTEMPTS),
            figures::LATE,
            Nothing("ticks"),
            AtMost(0.0),
        ),
        goal(
            "missed ticks of those held",
            (Kind::Hold, ATTEMPTS),
            figures::MISSED,
            Nothing("ticks"),
            AtMost(0.0),
        ),
        goal(
            "neither accepted nor refused",
            (Kind::Hold, ATTEMPTS),
            figures::UNCLEAN,
            Nothing("connections"),
            AtMost(0.0),
        ),
        goal("lost of those inside", (Kind::Hold, ATTEMPTS), figures::LOST, Nothing("clients"), AtMost(0.0)),
        goal("echo p50", (Kind::Echo, 1), figures::P50_US, Variant(TOKIO), AtMost(0.6)),
        goal("echo rate", (Kind::Echo, 50), figures::RATE, Variant(TOKIO), AtLeast(1.0)),
        goal(
            "CPU while idle",
            (Kind::Idle, 10_000),
            figures::CPU_PERCENT,
            Nothing("% of a core"),
            Below(3.0),
        ),
        goal("round CPU", (Kind::Push, 1000), figures::CPU_MS, Variant(SUBJECT), AtMost(1.2)).wss(),
        goal("round CPU", (Kind::Push, 1000), figures::CPU_MS, Variant(TOKIO_WSS), AtMost(0.8)).wss(),
        goal(
            "resident memory of a client",
            (Kind::Push, 5000),
            figures::RESIDENT_KIB,
            Nothing("KiB"),
            AtMost(30.0),
        )
        .wss(),
        goal("echo p50", (Kind::Echo, 1), figures::P50_US, Variant(SUBJECT), AtMost(1.5)).wss(),
        goal(
            "longest gap of pushes beside a storm of handshakes",
            (Kind::Storm, 1000),
            figures::GAP_MS,
            Nothing("ms"),
            AtMost(300.0),
        )
        .wss(),
        goal(
            "CPU of a client that comes and goes",
            (Kind::Storm, 1000),
            figures::COMING_US,
            Nothing("µs"),
            AtMost(400.0),
        )
        .wss(),
        goal(
            "CPU of a client that comes and goes",
            (Kind::Storm, 1000),
            figures::COMING_US,
            Variant(TOKIO_WSS),
            AtMost(1.6),
        )
        .wss(),
    ]
};

/// The goals of the variants whose name has `of` in it.
fn goals(of: &str) -> impl Iterator<Item = &'static Goal> {
    GOALS.iter().filter(move |goal| goal.of.contains(of))
}

/// The experiments that these goals need, each with its variants.
pub fn trials(of: &str) -> Vec<Trial> {
    let mut trials: Vec<Trial> = Vec::new();
    for goal in goals(of) {
        let mut names = vec![goal.of];
        if let Against::Variant(name) = goal.against {
            names.push(name);
        }
        let known = trials.iter().position(|trial| trial.experiment == goal.experiment);
        let place = known.unwrap_or_else(|| {
            trials.push(Trial { experiment: goal.experiment, only: Vec::new() });
            trials.len() - 1
        });
        for name in names {
            let only = &mut trials[place].only;
            if !only.iter().any(|known| known == name) {
                only.push(name.into());
            }
        }
    }
    trials
}

/// The lines of these goals.
pub fn lines(results: &Results, of: &str) -> Vec<String> {
    goals(of).map(|goal| goal.line(results)).collect()
}

impl Goal {
    fn line(&self, results: &Results) -> String {
        let (of, what, size) = (self.of, self.what, thousands(self.experiment.size as i64));
        let (sign, target) = match self.target {
            Target::AtMost(target) => ("<=", target),
            Target::Below(target) => ("<", target),
            Target::AtLeast(target) => (">=", target),
        };
        let (title, unit) = match self.against {
            Against::Variant(other) => (format!("{what} at {size}, {of} / {other}"), "x"),
            Against::Nothing(unit) => (format!("{what} at {size}, {of}"), unit),
        };
        let target = format!("target {sign} {}", number(target));
        let Some(value) = self.value(results) else {
            let reason = self.failure(results).map_or(String::new(), |reason| format!(": {reason}"));
            return format!("{title}: not measured ({target}){reason}");
        };
        let verdict = if self.is_met(value[0]) { "met" } else { "MISSED" };
        let show = |value| match self.against {
            Against::Variant(_) => format!("{value:.3}"),
            Against::Nothing(_) => number(value),
        };
        let [middle, least, most] = value.map(show);
        let remark = if self.load_limited(results) { ", the load generator could not do more" } else { "" };
        format!("{title}: {middle} {unit} ({least} to {most}), {target}: {verdict}{remark}")
    }

    /// The variants whose figure it needs.
    fn variants(&self) -> impl Iterator<Item = &'static str> {
        let other = match self.against {
            Against::Variant(other) => Some(other),
            Against::Nothing(_) => None,
        };
        [self.of].into_iter().chain(other)
    }

    /// Why one of them has no figure, led by its name.
    fn failure(&self, results: &Results) -> Option<String> {
        let missing = |name: &&str| results.median(name, self.experiment, self.figure).is_none();
        let name = self.variants().find(missing)?;
        let entry = results.variants.iter().find(|entry| entry.name == name);
        let absent = entry.and_then(|entry| entry.not_measured.clone());
        let turns = results.samples.iter().filter(|turn| turn.experiment == self.experiment);
        let failed = turns.filter(|turn| turn.variant == name).find_map(|turn| turn.failed.clone());
        Some(format!("{name}: {}", failed.or(absent)?))
    }

    /// Whether the load generator, rather than the server, limits the rate of a side.
    fn load_limited(&self, results: &Results) -> bool {
        let busy = |name| results.median(name, self.experiment, figures::LOAD_BUSY);
        self.figure == figures::RATE && self.variants().filter_map(busy).any(|busy| busy >= LOAD_LIMIT)
    }

    fn is_met(&self, value: f64) -> bool {
        match self.target {
            Target::AtMost(target) => value <= target,
            Target::Below(target) => value < target,
            Target::AtLeast(target) => value >= target,
        }
    }

    /// The median of the figure itself, or the mean of the rounds' ratios; the least and the most.
    fn value(&self, results: &Results) -> Option<[f64; 3]> {
        let Against::Variant(other) = self.against else {
            let range = results.range(self.of, self.experiment, self.figure)?;
            return Some([range.median, range.min, range.max]);
        };
        let ratios = results.ratios(self.of, other, self.experiment, self.figure);
        let middle = results.ratio(self.of, other, self.experiment, self.figure)?.mean;
        let least = ratios.iter().copied().fold(middle, f64::min);
        let most = ratios.iter().copied().fold(middle, f64::max);
        Some([middle, least, most])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Times;
    use crate::machine::Machine;
    use crate::results::Sample;

    /// Results of one round of echoes on 50 connections.
    fn echoes(own: Result<f64, &str>, tokio: f64, busy: f64) -> Results {
        let sample = |variant: &str, rate: Result<f64, &str>| Sample {
            variant: variant.into(),
            experiment: Experiment::new(Kind::Echo, 50),
            round: 1,
            figures: rate.map_or_else(
                |_| figures::Figures::new(),
                |rate| [(figures::RATE.into(), rate), (figures::LOAD_BUSY.into(), busy)].into(),
            ),
            failed: rate.err().map(Into::into),
        };
        Results {
            date: String::new(),
            command: String::new(),
            machine: Machine::default(),
            times: Times::FULL,
            rounds: 1,
            spells: 0,
            variants: Vec::new(),
            samples: vec![sample(SUBJECT, own), sample(TOKIO, Ok(tokio))],
        }
    }

    #[test]
    fn a_line_tells_the_ratio_and_what_to_think_of_it() {
        let title = "echo rate at 50, threadcast / tokio-2";
        for (results, line) in [
            (echoes(Ok(1234.0), 1000.0, 0.5), "1.234 x (1.234 to 1.234), target >= 1: met"),
            (
                echoes(Ok(999.4), 1000.0, 0.95),
                "0.999 x (0.999 to 0.999), target >= 1: MISSED, the load generator could not do more",
            ),
            (
                echoes(Err("crashed: signal: 6"), 1000.0, 0.5),
                "not measured (target >= 1): threadcast: crashed: signal: 6",
            ),
        ] {
            assert!(lines(&results, "").contains(&format!("{title}: {line}")), "{:#?}", lines(&results, ""));
        }
    }

    #[test]
    fn the_trials_cover_each_goal_once() {
        let trials = trials("");
        assert_eq!(trials.len(), 9);
        for (experiment, only) in [
            (Experiment::new(Kind::Push, 1000), vec![SUBJECT, FLOOR, WSS, TOKIO_WSS]),
            (Experiment::new(Kind::Push, 5000), vec![SUBJECT, FLOOR, TOKIO, WSS]),
            (Experiment::new(Kind::Idle, 10_000), vec![SUBJECT]),
            (Experiment::new(Kind::Storm, 1000), vec![WSS, TOKIO_WSS]),
        ] {
            let trial = trials.iter().find(|trial| trial.experiment == experiment);
            assert_eq!(trial.unwrap().only, only, "{experiment}");
        }
    }
}
