//! What came out of a run: every sample, and the medians of them. This is `results.json`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::experiment::{Experiment, Kind, Times};
use crate::failure::{Failure, While};
use crate::figures::Figures;
use crate::machine::Machine;
use crate::manifest::Model;
use crate::stats::{mean_ratio, median};

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
    /// Medians, with minimum and maximum.
    #[serde(default)]
    pub summary: Vec<Row>,
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
    /// What it runs on, as it says itself.
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
    /// What was measured.
    pub figures: Figures,
    /// Why nothing was.
    pub failed: Option<String>,
}

/// Median, minimum and maximum of a figure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// The variant's name.
    pub variant: String,
    /// The experiment.
    #[serde(flatten)]
    pub experiment: Experiment,
    /// The figure's name.
    pub figure: String,
    /// Its range.
    #[serde(flatten)]
    pub range: Range,
}

/// Median, minimum and maximum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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

    /// Writes `results.json`, the summary brought up to date.
    pub fn write(&mut self, path: &Path) -> Result<(), Failure> {
        self.summary = self.summarize();
        let text = serde_json::to_string_pretty(self).doing("write JSON")?;
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

    /// The ratio of a figure of one variant to that of another: the mean of [`Self::ratios`], see
    /// [`mean_ratio`]. With many rounds it varies less from run to run than a median.
    pub fn ratio(&self, one: &str, other: &str, experiment: Experiment, figure: &str) -> Option<f64> {
        mean_ratio(&self.ratios(one, other, experiment, figure))
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

    fn summarize(&self) -> Vec<Row> {
        let keys: BTreeSet<_> = self
            .samples
            .iter()
            .flat_map(|sample| {
                let key = (sample.experiment, sample.variant.as_str());
                sample.figures.keys().map(move |figure| (key, figure.as_str()))
            })
            .collect();
        let rows = keys.into_iter().filter_map(|((experiment, variant), figure)| {
            Some(Row {
                variant: variant.to_owned(),
                experiment,
                figure: figure.to_owned(),
                range: self.range(variant, experiment, figure)?,
            })
        });
        rows.collect()
    }
}
