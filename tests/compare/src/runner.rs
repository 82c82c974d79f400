//! Plays the experiments: the variants take turns, round after round.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::Local;

use crate::calm::Calm;
use crate::experiment::{Experiment, Times};
use crate::failure::{Failure, While};
use crate::figures::{self, Figures};
use crate::load::raise_descriptor_limit;
use crate::machine::Machine;
use crate::manifest::{Manifest, Variant};
use crate::results::{Entry, Results, Sample};

/// Repetitions of a turn while the machine is not in its usual state.
const TRIES: usize = 3;

/// An experiment, and its variants.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The experiment.
    pub experiment: Experiment,
    /// Names of the variants; all of them if empty.
    pub only: Vec<String>,
}

/// Plays all trials in this number of rounds. Progress goes to stderr, a line for each variant's turn. After each
/// round `keep` gets the results until then.
pub fn run(
    manifest: &Manifest,
    trials: &[Trial],
    rounds: usize,
    times: &Times,
    keep: &mut dyn FnMut(&Results) -> Result<(), Failure>,
) -> Result<Results, Failure> {
    // Servers inherit the raised limit, since not all of them raise it themselves.
    let descriptors = raise_descriptor_limit()?;
    let mut results = Results {
        date: Local::now().format("%Y-%m-%d %H:%M:%S %:z").to_string(),
        command: command_line(),
        machine: Machine::look(manifest.here(), descriptors),
        times: times.clone(),
        rounds: 0,
        spells: 0,
        variants: manifest.variants.iter().map(|variant| entry(manifest, variant)).collect(),
        samples: Vec::new(),
    };
    for entry in &results.variants {
        if let Some(hint) = &entry.not_measured {
            eprintln!("{}: not measured: {hint}", entry.name);
        }
    }
    let turns = turns(manifest, trials, rounds, &results.variants);
    let all: usize = turns.iter().map(|turn| turn.variants.len()).sum();
    let (start, mut calm) = (Instant::now(), Calm::new()?);
    for round in turns.chunk_by(|one, next| one.round == next.round) {
        for turn in round {
            let outcomes = turn.play(manifest, times, &mut calm, &mut results.spells)?;
            for (variant, outcome) in turn.variants.iter().zip(outcomes) {
                let sample = turn.sample(variant, outcome);
                let (done, seconds) = (results.samples.len() + 1, start.elapsed().as_secs());
                eprintln!("{done}/{all} {seconds} s, {}", show(&sample));
                results.samples.push(sample);
            }
        }
        results.rounds = round.last().map_or(0, |turn| turn.round);
        keep(&results)?;
    }
    Ok(results)
}

/// A turn in an experiment: of one variant, or of all if they run side by side.
struct Turn<'a> {
    round: usize,
    experiment: Experiment,
    variants: Vec<&'a Variant>,
}

impl Turn<'_> {
    /// Runs it, and again if the machine was not in its usual state before or after, which `spells` counts.
    /// The last try counts in any state of the machine.
    fn play(
        &self,
        manifest: &Manifest,
        times: &Times,
        calm: &mut Calm,
        spells: &mut usize,
    ) -> Result<Vec<Result<Figures, Failure>>, Failure> {
        let mut usual = calm.look()?;
        for _ in 1..TRIES {
            let outcomes = self.experiment.play(manifest, &self.variants, times);
            let before = std::mem::replace(&mut usual, calm.look()?);
            if before && usual {
                return Ok(outcomes);
            }
            *spells += 1;
            eprintln!("{}: the machine was slow, once more", self.experiment);
        }
        Ok(self.experiment.play(manifest, &self.variants, times))
    }

    /// How the turn went for one of its variants.
    fn sample(&self, variant: &Variant, outcome: Result<Figures, Failure>) -> Sample {
        let (figures, failed) = match outcome {
            Ok(figures) => (figures, None),
            Err(failure) => (Figures::new(), Some(failure.to_string())),
        };
        let (experiment, round) = (self.experiment, self.round);
        Sample { variant: variant.name.clone(), experiment, round, figures, failed }
    }
}

/// All turns in order. Each round begins with another variant, and leaves out the experiments that need
/// no more rounds.
fn turns<'a>(manifest: &'a Manifest, trials: &[Trial], rounds: usize, entries: &[Entry]) -> Vec<Turn<'a>> {
    let mut turns = Vec::new();
    for round in 0..rounds {
        for trial in trials.iter().filter(|trial| round < trial.experiment.rounds(rounds)) {
            let pairs = manifest.variants.iter().zip(entries);
            let mut variants: Vec<_> = pairs
                .filter(|(variant, entry)| entry.not_measured.is_none() && trial.admits(variant))
                .map(|(variant, _)| variant)
                .collect();
            let first = round % variants.len().max(1);
            variants.rotate_left(first);
            let experiment = trial.experiment;
            let together = if experiment.kind.concurrent() { variants.len().max(1) } else { 1 };
            turns.extend(variants.chunks(together).map(|variants| Turn {
                round: round + 1,
                experiment,
                variants: variants.to_vec(),
            }));
        }
    }
    turns
}

impl Trial {
    /// Whether a variant takes part.
    fn admits(&self, variant: &Variant) -> bool {
        let wanted = self.only.is_empty() || self.only.contains(&variant.name);
        wanted && variant.takes_part_in(self.experiment.kind)
    }
}

/// The directory of this program's binary, where the other built ones are too.
pub fn own_directory() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe().doing("find this program")?;
    Ok(program.parent().unwrap_or(&program).to_owned())
}

/// Creates the directory for results.
pub fn create_directory(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).doing(format!("create {}", path.display()))
}

fn entry(manifest: &Manifest, variant: &Variant) -> Entry {
    let (version, not_measured) = match manifest.installed(variant) {
        Ok(version) => (version, None),
        Err(hint) => (String::new(), Some(hint)),
    };
    Entry { name: variant.name.clone(), kind: variant.kind, version, not_measured }
}

/// The command line, without the directory of the program.
fn command_line() -> String {
    let mut words: Vec<_> = std::env::args().collect();
    if let Some(program) = words.first_mut() {
        *program = env!("CARGO_PKG_NAME").to_owned();
    }
    words.join(" ")
}

/// Returns a sample as a line of progress, with the most telling figures, or the reason why it has none.
fn show(sample: &Sample) -> String {
    let Sample { variant, experiment, round, figures, failed } = sample;
    let outcome = failed.clone().unwrap_or_else(|| show_figures(figures));
    format!("round {round}: {experiment}, {variant}: {outcome}")
}

fn show_figures(figures: &Figures) -> String {
    let names = [
        figures::CONNECT_S,
        figures::CPU_MS,
        figures::WIRE_BYTES,
        figures::SPREAD_MS,
        figures::MEMORY_KIB,
        figures::RATE,
        figures::P50_US,
        figures::COMING_US,
        figures::SLEEP_GAP_MS,
        figures::SPIN_GAP_MS,
        figures::GAP_MS,
        figures::GROWTH_MIB,
        figures::HELD,
        figures::CPU_PERCENT,
    ];
    let shown = names.iter().filter_map(|name| {
        let value = figures.get(*name)?;
        Some(format!("{name} {value:.1}"))
    });
    let mut shown: Vec<_> = shown.collect();
    let counted = [figures::MISSED, figures::LATE, figures::LOST];
    shown.extend(counted.iter().filter_map(|name| {
        let value = figures.get(*name).filter(|value| **value > 0.0)?;
        Some(format!("{name} {value}"))
    }));
    if figures.get(figures::LOAD_BOUND) == Some(&1.0) {
        shown.push("the load generator was the bottleneck".into());
    }
    shown.join(", ")
}
