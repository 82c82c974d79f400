//! The results of a run: every sample. This is `results.json`, a line for each of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};

use crate::experiment::{Experiment, Kind, Times};
use crate::failure::{Failure, While};
use crate::figures::Figures;
use crate::machine::Machine;
use crate::manifest::Model;
use crate::stats::{Ratio, median};

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Results {
    /// When it began.
    pub date: String,
    /// The command line.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// How long things were watched.
    pub times: Times,
    /// Turns that each variant had, but in experiments that need fewer: see [`Experiment::rounds`].
    pub rounds: usize,
    /// Turns that were played again, since the machine was not its usual self: see [`crate::calm`].
    #[serde(default)]
    pub spells: usize,
    /// All variants, those included that were not measured.
    pub variants: Vec<Entry>,
    /// Each turn of each variant.
    pub samples: Vec<Sample>,
}

/// A variant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Threads or loop.
    pub kind: Model,
    /// Its platform, in its own words.
    pub version: String,
    /// Why it was not measured, which is how to install it.
    pub not_measured: Option<String>,
}

/// One turn of a variant in an experiment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// Its name.
    pub variant: String,
    /// The experiment.
    #[serde(flatten)]
    pub experiment: Experiment,
    /// The round, from 1.
    pub round: usize,
    /// The measured figures.
    #[serde(serialize_with = "in_five_digits")]
    pub figures: Figures,
    /// Why nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Median, minimum and maximum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The median of all turns.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Results {
    /// Reads `results.json`.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let what = format!("read {}", path.display());
        let text = fs::read_to_string(path).doing(&what)?;
        serde_json::from_str(&text).doing(format!("{what}, which is not what a run writes now"))
    }

    /// Writes `results.json`: a line for each sample, since it is kept with the sources.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let lines = self.samples.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
        let samples = lines.doing("write JSON")?.join(",\n");
        let head = serde_json::to_string_pretty(&Self { samples: Vec::new(), ..self.clone() })
            .doing("write JSON")?;
        let text = head.replace("\"samples\": []", &format!("\"samples\": [\n{samples}\n]"));
        fs::write(path, text + "\n").doing(format!("write {}", path.display()))
    }

    /// The range of a figure over the turns of a variant that did not fail.
    pub fn range(&self, variant: &str, experiment: Experiment, figure: &str) -> Option<Range> {
        let turns = self.turns(variant, experiment);
        let values: Vec<f64> = turns.filter_map(|turn| turn.figures.get(figure).copied()).collect();
        Some(Range {
            median: median(&values)?,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }

    /// The median of a figure.
    pub fn median(&self, variant: &str, experiment: Experiment, figure: &str) -> Option<f64> {
        Some(self.range(variant, experiment, figure)?.median)
    }

    /// The sum of a figure over the turns of a variant that did not fail; None if there were none.
    pub fn total(&self, variant: &str, experiment: Experiment, figure: &str) -> Option<f64> {
        let values = self.turns(variant, experiment).filter_map(|turn| turn.figures.get(figure));
        values.copied().reduce(|sum, value| sum + value)
    }

    /// The ratio of a figure of one variant to that of another, from [`Self::ratios`]. With many rounds it varies
    /// less from run to run than a median.
    pub fn ratio(&self, one: &str, other: &str, experiment: Experiment, figure: &str) -> Option<Ratio> {
        Ratio::of(&self.ratios(one, other, experiment, figure))
    }

    /// The ratio of a figure of one variant to that of another, in each round in which both have it. A
    /// noisy minute makes both sides slow, and hardly touches their ratio.
    pub fn ratios(&self, one: &str, other: &str, experiment: Experiment, figure: &str) -> Vec<f64> {
        let in_round = |name, round| {
            let turn = self.turns(name, experiment).find(|turn| turn.round == round);
            turn.and_then(|turn| turn.figures.get(figure).copied())
        };
        let rounds = (1..=self.rounds).filter_map(|round| {
            let other = in_round(other, round).filter(|other| *other > 0.0)?;
            Some(in_round(one, round)? / other)
        });
        rounds.collect()
    }

    /// The sizes in which a kind of experiment was made, in order.
    pub fn sizes(&self, kind: Kind) -> Vec<usize> {
        let of_kind = self.samples.iter().filter(|sample| sample.experiment.kind == kind);
        let sizes: BTreeSet<_> = of_kind.map(|sample| sample.experiment.size).collect();
        sizes.into_iter().collect()
    }

    /// Names of the variants that have this figure in this experiment, in the manifest's order.
    pub fn variants_with(&self, experiment: Experiment, figure: &str) -> Vec<&Entry> {
        let has = |entry: &&Entry| self.range(&entry.name, experiment, figure).is_some();
        self.variants.iter().filter(has).collect()
    }

    /// The turns of a variant in an experiment.
    pub fn turns(&self, variant: &str, experiment: Experiment) -> impl Iterator<Item = &Sample> {
        let wanted = move |sample: &&Sample| sample.experiment == experiment;
        let of_variant = self.samples.iter().filter(move |sample| sample.variant == variant);
        of_variant.filter(wanted)
    }
}

/// Writes figures with the digits that a measurement can have.
fn in_five_digits<S: Serializer>(figures: &Figures, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(figures.iter().map(|(name, value)| (name, five_digits(*value))))
}

fn five_digits(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::results;

    #[test]
    fn a_run_is_read_as_it_was_written_but_for_digits_that_mean_nothing() {
        let path = std::env::temp_dir().join(format!("threadcast-results-{}.json", std::process::id()));
        let mut run = results(&[
            ("one", "push", 10, &[("cpu_ms", 12.345678), ("late", 0.0)][..]),
            ("two", "push", 10, &[][..]),
        ]);
        run.samples[1].failed = Some("a \"samples\": [] in a line".into());
        run.write(&path).unwrap();
        let (text, again) = (fs::read_to_string(&path).unwrap(), Results::read(&path).unwrap());
        fs::remove_file(&path).unwrap();
        assert_eq!(again.samples[0].figures, [("cpu_ms".into(), 12.346), ("late".into(), 0.0)].into());
        assert_eq!(again.samples[1].failed, run.samples[1].failed);
        assert_eq!(text.lines().filter(|line| line.starts_with("{\"variant\"")).count(), 2, "{text}");
    }

    #[test]
    fn five_digits_are_kept() {
        for (value, kept) in [(0.0, 0.0), (123_456.7, 123_460.0), (-0.000_123_456, -0.000_123_46), (1.0, 1.0)]
        {
            assert_eq!(five_digits(value), kept);
        }
    }
}
