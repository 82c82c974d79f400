//! How claims turn out, in sentences that are filled in from the figures. Doubts count against threads:
//! they lose by the mean of the rounds' ratios alone, but win only where the ranges do not touch.

use crate::experiment::{Experiment, Kind};
use crate::figures;
use crate::manifest::Model;
use crate::report::claims::{Claim, SUBJECT};
use crate::report::numbers::{number, thousands};
use crate::results::{Range, Results};

/// Ratio up to which neither is better.
const DRAW: f64 = 1.05;

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

/// The subject and the best event loop in one experiment.
struct Duel {
    experiment: Experiment,
    own: Range,
    rival: String,
    other: Range,
    /// The mean of the rounds' ratios, above 1 where the subject is better.
    lead: f64,
    overlap: bool,
    /// Whether the load generator could not do more than the subject, and the rival, did.
    own_bound: bool,
    rival_bound: bool,
    /// The same for the number of clients that they held.
    own_limited: bool,
    rival_limited: bool,
}

impl Claim {
    /// The verdict, and the sentences that give its figures. None if the subject was not measured, or
    /// nothing to set it against.
    pub fn judge(&self, results: &Results) -> Option<(Verdict, String)> {
        let mut duels: Vec<_> =
            results.sizes(self.kind).into_iter().filter_map(|size| self.duel(results, size)).collect();
        if self.smallest {
            duels.reverse();
        }
        let duel = duels.pop()?;
        let verdict = duel.verdict();
        let lost = duels.iter().filter(|duel| verdict != Verdict::Lost && duel.verdict() == Verdict::Lost);
        let mut lost: Vec<_> = lost.collect();
        lost.sort_by_key(|duel| duel.experiment);
        let lost: String = lost.into_iter().map(|duel| self.also_lost(duel)).collect();
        Some((verdict, self.sentence(&duel) + &lost))
    }

    fn sentence(&self, duel: &Duel) -> String {
        let opening = match duel.verdict() {
            Verdict::Lost => format!("**Threads lose on {}**", self.what),
            Verdict::Draw => format!("A draw on {}", self.what),
            Verdict::Won => format!("Threads win on {}", self.what),
        };
        let at_least = |limited| if limited { "at least " } else { "" };
        format!(
            "{opening}: {}, {SUBJECT} {}{}{}{unit}, the best event loop ({}) {}{}{unit}, a factor of {}{}.{}",
            self.setting(duel.experiment.size),
            self.verb,
            at_least(duel.own_limited),
            number(duel.own.median),
            duel.rival,
            at_least(duel.rival_limited),
            number(duel.other.median),
            at_least(duel.rival_limited && !duel.own_limited),
            number(duel.lead.max(1.0 / duel.lead)),
            duel.doubt(),
            unit = self.unit,
        )
    }

    fn also_lost(&self, duel: &Duel) -> String {
        let setting = self.setting(duel.experiment.size).replacen("with", "With", 1);
        let (own, other) = (number(duel.own.median), number(duel.other.median));
        format!(" {setting} {SUBJECT} loses: {own} against {other}{}.", self.unit)
    }

    fn setting(&self, size: usize) -> String {
        let setting = match size {
            1 => self.setting.strip_suffix('s').unwrap_or(self.setting),
            _ => self.setting,
        };
        setting.replace("{}", &thousands(size as i64))
    }

    /// None unless both sides have a figure that can be compared.
    fn duel(&self, results: &Results, size: usize) -> Option<Duel> {
        let experiment = Experiment::new(self.kind, size);
        let own = results.range(SUBJECT, experiment, self.figure)?;
        let (rival, other) = self.best_loop(results, experiment)?;
        let smaller = own.median.min(other.median);
        if smaller <= 0.0 || own.median.max(other.median) < self.least {
            return None;
        }
        let (one, two) = if self.more_is_better { (SUBJECT, &*rival) } else { (&*rival, SUBJECT) };
        let lead = results.ratio(one, two, experiment, self.figure)?;
        let bound = |variant| {
            let busy = results.median(variant, experiment, figures::LOAD_BUSY).unwrap_or(0.0);
            self.kind == Kind::Echo && figures::load_bound(busy) == 1.0
        };
        let limited = |variant| results.median(variant, experiment, figures::LOAD_LIMITED) == Some(1.0);
        Some(Duel {
            experiment,
            lead,
            overlap: own.min <= other.max && other.min <= own.max,
            own_bound: bound(SUBJECT),
            rival_bound: bound(&rival),
            own_limited: limited(SUBJECT),
            rival_limited: limited(&rival),
            own,
            rival,
            other,
        })
    }

    /// The event loop with the best median, the first of equals. One that holds clients and does not
    /// serve them in time is not the best.
    fn best_loop(&self, results: &Results, experiment: Experiment) -> Option<(String, Range)> {
        let loops = results.variants.iter().filter(|entry| entry.kind == Model::Loop);
        let figures = loops.filter_map(|entry| {
            let range = results.range(&entry.name, experiment, self.figure)?;
            let failed = |figure| results.total(&entry.name, experiment, figure) > Some(0.0);
            let useless = self.figure == figures::HELD && (failed(figures::LATE) || failed(figures::MISSED));
            (!useless).then(|| (entry.name.clone(), range))
        });
        let sign = if self.more_is_better { -1.0 } else { 1.0 };
        figures.min_by(|(_, one), (_, other)| (sign * one.median).total_cmp(&(sign * other.median)))
    }
}

impl Duel {
    fn verdict(&self) -> Verdict {
        if self.own_limited && self.rival_limited {
            return Verdict::Draw;
        }
        match self.lead {
            lead if lead < 1.0 / DRAW => Verdict::Lost,
            lead if lead <= DRAW || self.overlap || self.rival_bound || self.rival_limited => Verdict::Draw,
            _ => Verdict::Won,
        }
    }

    /// What makes the figures mean less than they seem to.
    fn doubt(&self) -> String {
        let rival = &self.rival;
        match (self.verdict(), self.rival_bound) {
            (Verdict::Lost, true) if self.own_bound => {
                " The load generator could not do more with either.".into()
            }
            (Verdict::Lost, true) => {
                format!(
                    " The load generator could not do more than {rival} did: {rival} is ahead by at least that."
                )
            }
            (Verdict::Draw, true) => {
                format!(" The load generator could not do more than {rival} did, which may be ahead.")
            }
            (Verdict::Draw, false) if self.lead > DRAW && self.overlap => " Their ranges overlap.".into(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::claims;
    use crate::report::samples::results;

    const MEMORY: &str = figures::MEMORY_KIB;

    #[test]
    fn a_claim_is_judged_against_the_best_event_loop() {
        for (own, other, verdict, opening) in [
            (40.0, 4.0, Verdict::Lost, "**Threads lose on memory"),
            (10.4, 10.0, Verdict::Draw, "A draw on memory"),
            (2.0, 4.0, Verdict::Won, "Threads win on memory"),
        ] {
            let results = results(&[
                (SUBJECT, "push", 1000, &[(MEMORY, own)]),
                ("threads-other", "push", 1000, &[(MEMORY, 1.0)]),
                ("worse", "push", 1000, &[(MEMORY, other * 2.0)]),
                ("best", "push", 1000, &[(MEMORY, other)]),
            ]);
            let (judged, sentence) = claims::MEMORY.judge(&results).unwrap();
            assert_eq!(judged, verdict, "{own} against {other}");
            assert!(sentence.starts_with(opening), "{sentence}");
            assert!(sentence.contains("1,000 clients") && sentence.contains("(best)"));
        }
        assert!(claims::MEMORY.judge(&results(&[("best", "push", 1000, &[(MEMORY, 1.0)])])).is_none());
    }

    #[test]
    fn to_win_ranges_must_not_overlap_and_to_lose_a_middle_is_enough() {
        let judge = |own: [f64; 3], other: [f64; 3]| {
            let pairs = own.iter().zip(&other);
            let samples: Vec<_> = pairs.map(|(own, other)| ([(MEMORY, *own)], [(MEMORY, *other)])).collect();
            let mut turns = Vec::new();
            for (own, other) in &samples {
                turns.push((SUBJECT, "push", 1000, own.as_slice()));
                turns.push(("loop", "push", 1000, other.as_slice()));
            }
            claims::MEMORY.judge(&results(&turns)).unwrap()
        };
        assert_eq!(judge([1.0, 2.0, 3.0], [3.1, 4.0, 5.0]).0, Verdict::Won);
        let (verdict, sentence) = judge([1.0, 2.0, 3.2], [3.1, 4.0, 5.0]);
        assert_eq!(verdict, Verdict::Draw);
        assert!(sentence.ends_with("a factor of 2. Their ranges overlap."), "{sentence}");
        assert_eq!(judge([3.1, 4.0, 5.0], [1.0, 2.0, 3.2]).0, Verdict::Lost);
    }

    #[test]
    fn what_is_lost_at_another_size_is_said() {
        let results = results(&[
            (SUBJECT, "push", 100, &[(figures::CPU_MS, 1.1)]),
            ("loop", "push", 100, &[(figures::CPU_MS, 1.0)]),
            (SUBJECT, "push", 1000, &[(figures::CPU_MS, 8.0)]),
            ("loop", "push", 1000, &[(figures::CPU_MS, 12.0)]),
        ]);
        let (verdict, sentence) = claims::CPU.judge(&results).unwrap();
        assert_eq!(verdict, Verdict::Won);
        assert!(sentence.ends_with(" With 100 clients threadcast loses: 1.1 against 1 ms."), "{sentence}");
    }

    #[test]
    fn held_clients_are_at_least_so_many_and_must_be_served() {
        let results = results(&[
            (SUBJECT, "hold", 20_000, &[(figures::HELD, 15_870.0)]),
            ("loop", "hold", 20_000, &[(figures::HELD, 19_968.0), (figures::LOAD_LIMITED, 1.0)]),
            ("loop-2", "hold", 20_000, &[(figures::HELD, 19_968.0), (figures::LOAD_LIMITED, 1.0)]),
            ("late", "hold", 20_000, &[(figures::HELD, 20_000.0), (figures::LATE, 3.0)]),
        ]);
        let (verdict, sentence) = claims::HELD.judge(&results).unwrap();
        assert_eq!(verdict, Verdict::Lost);
        let expected = "**Threads lose on clients held**: of 20,000 connections tried, threadcast held 15,870, \
                        the best event loop (loop) at least 19,968, a factor of at least 1.26.";
        assert_eq!(sentence, expected);
    }

    #[test]
    fn a_few_hundredths_of_a_second_to_connect_are_not_compared() {
        let connect = |own, other| {
            let results = results(&[
                (SUBJECT, "push", 15_000, &[(figures::CONNECT_S, own)]),
                ("loop", "push", 15_000, &[(figures::CONNECT_S, other)]),
            ]);
            claims::CONNECT.judge(&results)
        };
        let (verdict, sentence) = connect(1.3, 0.5).unwrap();
        assert_eq!(verdict, Verdict::Lost);
        assert!(sentence.contains("with 15,000 clients, threadcast 1.3 s"), "{sentence}");
        assert!(connect(0.01, 0.004).is_none() && connect(0.1, 0.0).is_none());
    }

    #[test]
    fn a_rival_that_the_load_generator_held_up_is_ahead_by_at_least_that() {
        for (busy, rate, verdict, ending) in [
            (0.95, 1000.0, Verdict::Lost, "than loop did: loop is ahead by at least that."),
            (0.5, 1000.0, Verdict::Lost, "a factor of 2."),
            (0.95, 300.0, Verdict::Draw, "than loop did, which may be ahead."),
            (0.5, 300.0, Verdict::Won, "a factor of 1.67."),
        ] {
            let results = results(&[
                (SUBJECT, "echo", 50, &[(figures::RATE, 500.0), (figures::LOAD_BUSY, 0.4)]),
                ("loop", "echo", 50, &[(figures::RATE, rate), (figures::LOAD_BUSY, busy)]),
            ]);
            let (judged, sentence) = claims::ECHO_RATE.judge(&results).unwrap();
            assert_eq!(judged, verdict, "{sentence}");
            assert!(sentence.ends_with(ending), "{sentence}");
        }
    }
}
