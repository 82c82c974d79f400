//! The tables, in Markdown. A cell is a median, with minimum and maximum in brackets, or the sum of all turns.

use std::collections::{BTreeMap, BTreeSet};

use crate::experiment::Experiment;
use crate::figures;
use crate::manifest::Model;
use crate::report::numbers::{number, range, title};
use crate::results::{Results, Sample};

/// The cell of a missing figure.
pub const NONE: &str = "–";

/// Rows and columns of text.
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// No rows yet.
    pub fn new(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row, unless it has nothing but its name.
    pub fn push(&mut self, row: Vec<String>) {
        if row.iter().skip(1).any(|cell| cell != NONE) {
            self.rows.push(row);
        }
    }

    /// The table in Markdown, numbers to the right; empty if it has no rows.
    pub fn markdown(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let is_number = |row: &Vec<String>, column: usize| {
            row[column].starts_with(|first: char| first.is_ascii_digit() || "-–≥≤".contains(first))
        };
        let aligned = (0..self.columns.len()).map(|column| {
            let numbers = self.rows.iter().all(|row| is_number(row, column));
            if numbers { "---:" } else { "---" }
        });
        let rule = format!("|{}|\n", aligned.collect::<Vec<_>>().join("|"));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.columns) + &rule + &rows
    }
}

/// Several figures of all variants in one experiment, a column for each figure.
pub fn by_figure(results: &Results, experiment: Experiment, columns: &[&str]) -> Table {
    let headings = columns.iter().map(|figure| figures::heading(figure));
    let mut table = Table::new(std::iter::once("").chain(headings));
    for entry in &results.variants {
        let cells = columns.iter().map(|figure| cell(results, &entry.name, experiment, figure));
        table.push(std::iter::once(entry.name.clone()).chain(cells).collect());
    }
    table
}

/// Returns the common name of a way to wait.
pub fn kind(kind: Model) -> &'static str {
    match kind {
        Model::Threads => "threads",
        Model::Loop => "event loop",
        Model::Green => "green threads",
    }
}

/// Describes each variant and its platform.
pub fn variants(results: &Results) -> Table {
    let mut table = Table::new(["variant", "kind", "version"]);
    for entry in &results.variants {
        let version = match (&entry.not_measured, entry.version.as_str()) {
            (Some(hint), _) => format!("not measured: `{hint}`"),
            (None, "") => built_with(results, &entry.name).unwrap_or(NONE.to_owned()),
            (None, version) => version.to_owned(),
        };
        table.push(vec![entry.name.clone(), kind(entry.kind).into(), version]);
    }
    table
}

/// The turns that failed, with the most frequent reason; and the experiments in which the load generator had no time to
/// spare in more than half of the turns.
pub fn turns(results: &Results) -> (Table, Table) {
    let mut failed = Table::new(["", "turns", "why, mostly"]);
    let mut busy =
        Table::new(["", "turns in which it could do no more", "in which it could connect no faster"]);
    let experiments: BTreeSet<_> = results.samples.iter().map(|turn| turn.experiment).collect();
    let each = |experiment| results.variants.iter().map(move |entry| (experiment, &entry.name));
    for (experiment, variant) in experiments.into_iter().flat_map(each) {
        let turns: Vec<_> = results.turns(variant, experiment).collect();
        let show = |count: usize| format!("{count} of {}", turns.len());
        let bound = |figure: &'static str| {
            let bound =
                |turn: &&&Sample| turn.figures.get(figure).copied().map_or(0.0, figures::load_bound) == 1.0;
            let count = turns.iter().filter(bound).count();
            if count * 2 > turns.len() { show(count) } else { NONE.to_owned() }
        };
        let name = format!("{}, `{variant}`", title(experiment));
        busy.push(vec![name.clone(), bound(figures::LOAD_BUSY), bound(figures::CONNECT_LOAD_BOUND)]);
        let mut reasons = BTreeMap::<_, usize>::new();
        for why in turns.iter().filter_map(|turn| turn.failed.as_ref()) {
            *reasons.entry(why.replace('|', "/")).or_default() += 1;
        }
        let count = reasons.values().sum();
        let most = reasons.into_iter().max_by_key(|(_, times)| *times);
        let (count, why) = most.map_or((NONE.to_owned(), NONE.to_owned()), |(why, _)| (show(count), why));
        failed.push(vec![name, count, why]);
    }
    (failed, busy)
}

/// Returns the libraries of this crate's own servers, which have no version themselves.
fn built_with(results: &Results, variant: &str) -> Option<String> {
    let family = variant.split('-').next()?;
    let wanted = if family == "floor" { "rustc" } else { family };
    let versions = results.machine.versions.iter();
    let versions = versions.filter(|(name, _)| name.split('-').next() == Some(wanted));
    let versions: Vec<_> = versions.map(|(name, version)| format!("{name} {version}")).collect();
    (!versions.is_empty()).then(|| versions.join(", "))
}

fn cell(results: &Results, variant: &str, experiment: Experiment, figure: &str) -> String {
    if figures::is_counted_up(figure) {
        return results.total(variant, experiment, figure).map_or(NONE.to_owned(), number);
    }
    let Some(found) = results.range(variant, experiment, figure) else {
        return NONE.to_owned();
    };
    let limited =
        figure == figures::HELD && results.median(variant, experiment, figures::LOAD_LIMITED) == Some(1.0);
    let prefix = if limited { "≥ " } else { "" };
    format!("{prefix}{}", range(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::results;

    #[test]
    fn what_failed_and_what_the_load_generator_was_short_of_is_told() {
        let (free, busy) = ([(figures::LOAD_BUSY, 0.4)], [(figures::LOAD_BUSY, 0.95)]);
        let mut results = results(&[
            ("thread", "echo", 500, &free),
            ("loop", "echo", 500, &busy),
            ("loop", "echo", 500, &busy),
            ("loop", "echo", 500, &free),
            ("loop-2", "echo", 500, &busy),
            ("loop-2", "echo", 500, &free),
            ("loop-2", "push", 5000, &[(figures::CONNECT_LOAD_BOUND, 1.0)]),
            ("thread", "push", 5000, &[]),
            ("thread", "push", 5000, &[]),
            ("thread", "push", 5000, &[]),
            ("loop", "push", 5000, &[]),
        ]);
        for (turn, why) in [(7, "silence"), (8, "a | b"), (9, "a | b")] {
            results.samples[turn].failed = Some(why.into());
        }
        let (failed, busy) = turns(&results);
        let text = failed.markdown() + &busy.markdown();
        let rows: Vec<_> = text.lines().filter(|line| line.contains(" of ")).collect();
        let expected = [
            "| push 5,000, `thread` | 3 of 3 | a / b |",
            "| push 5,000, `loop-2` | – | 1 of 1 |",
            "| echo 500, `loop` | 2 of 3 | – |",
        ];
        assert_eq!(rows, expected, "{text}");
    }
}
