//! Plays the experiments: the variants take turns, round after round.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use chrono::Local;

use crate::experiment::Experiment;
use crate::experiment::Times;
use crate::failure::Failure;
use crate::failure::While;
use crate::figures;
use crate::figures::Figures;
use crate::load::raise_descriptor_limit;
use crate::machine::Machine;
use crate::manifest::Manifest;
use crate::manifest::Variant;
use crate::results::Entry;
use crate::results::Results;
use crate::results::Sample;

/// An experiment, and who takes part in it.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The experiment.
    pub experiment: Experiment,
    /// Names of the variants; all of them if empty.
    pub only: Vec<String>,
}

/// Plays all trials in so many rounds. Progress goes to stderr, a line for each turn.
pub fn run(manifest: &Manifest, trials: &[Trial], rounds: usize, times: &Times) -> Result<Results, Failure> {
    // Servers inherit the raised limit, since not all of them raise it themselves.
    let descriptors = raise_descriptor_limit()?;
    let mut results = Results {
        date: Local::now().format("%Y-%m-%d %H:%M:%S %:z").to_string(),
        command: command_line(),
        machine: Machine::look(manifest.here(), descriptors),
        times: times.clone(),
        rounds,
        variants: manifest.variants.iter().map(|variant| entry(manifest, variant)).collect(),
        summary: Vec::new(),
        samples: Vec::new(),
    };
    for entry in &results.variants {
        if let Some(hint) = &entry.not_measured {
            eprintln!("{}: not measured: {hint}", entry.name);
        }
    }
    let turns = turns(manifest, trials, rounds, &results.variants);
    let start = Instant::now();
    for (index, turn) in turns.iter().enumerate() {
        let (experiment, name) = (turn.experiment, &turn.variant.name);
        let outcome = experiment.play(manifest, turn.variant, times);
        let shown = match &outcome {
            Ok(figures) => show(figures),
            Err(failure) => failure.to_string(),
        };
        let (index, all, round) = (index + 1, turns.len(), turn.round);
        let seconds = start.elapsed().as_secs();
        eprintln!("{index}/{all} {seconds} s, round {round}: {experiment}, {name}: {shown}");
        let (figures, failed) = match outcome {
            Ok(figures) => (figures, None),
            Err(failure) => (Figures::new(), Some(failure.to_string())),
        };
        let variant = name.clone();
        results.samples.push(Sample { variant, experiment, round, figures, failed });
    }
    Ok(results)
}

/// A variant's turn in an experiment.
struct Turn<'a> {
    round: usize,
    experiment: Experiment,
    variant: &'a Variant,
}

/// All turns in order. Each round begins with another variant.
fn turns<'a>(manifest: &'a Manifest, trials: &[Trial], rounds: usize, entries: &[Entry]) -> Vec<Turn<'a>> {
    let mut turns = Vec::new();
    for round in 0..rounds {
        for trial in trials {
            let pairs = manifest.variants.iter().zip(entries);
            let mut variants: Vec<_> = pairs
                .filter(|(variant, entry)| entry.not_measured.is_none() && trial.admits(variant))
                .map(|(variant, _)| variant)
                .collect();
            let first = round % variants.len().max(1);
            variants.rotate_left(first);
            turns.extend(variants.into_iter().map(|variant| Turn {
                round: round + 1,
                experiment: trial.experiment,
                variant,
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

/// The figures that tell most about a turn, for the progress line.
fn show(figures: &Figures) -> String {
    let names = [
        figures::CPU_MS,
        figures::SPREAD_MS,
        figures::MEMORY_KIB,
        figures::RATE,
        figures::P50_US,
        figures::SLEEP_GAP_MS,
        figures::SPIN_GAP_MS,
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
